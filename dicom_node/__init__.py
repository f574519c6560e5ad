"""The DICOM service: it receives studies, runs the analysis and writes SEG and SR back."""

__version__ = "0.1.0"
