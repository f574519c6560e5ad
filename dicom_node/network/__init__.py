"""The service on the network: receiving and storing DICOM."""
