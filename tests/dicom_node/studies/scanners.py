"""DICOM series as scanners of three vendors write them, from any array, for tests that read them back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4.1"
CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"

SIEMENS_MPRAGE = {
    "Manufacturer": "SIEMENS",
    "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"],
    "ScanningSequence": ["GR", "IR"],
    "SequenceVariant": ["SK", "SP", "MP"],
    "ScanOptions": "IR",
    "MRAcquisitionType": "3D",
    "SequenceName": "*tfl3d1_16ns",
    "RepetitionTime": 2000,
    "EchoTime": 2.52,
    "InversionTime": 900,
    "FlipAngle": 9,
    "EchoTrainLength": 1,
    "MagneticFieldStrength": 3,
    "AngioFlag": "N",
}
GE_BRAVO = {
    "Manufacturer": "GE MEDICAL SYSTEMS",
    "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
    "ScanningSequence": "RM",
    "SequenceVariant": "NONE",
    "ScanOptions": ["FAST_GEMS", "EDR_GEMS"],
    "MRAcquisitionType": "3D",
    "RepetitionTime": 8.4,
    "EchoTime": 3.2,
    "InversionTime": 450,
    "FlipAngle": 12,
    "EchoTrainLength": 1,
    "MagneticFieldStrength": 1.5,
}
PHILIPS_TFE = {
    "Manufacturer": "Philips Medical Systems",
    "ImageType": ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"],
    "ScanningSequence": "GR",
    "SequenceVariant": "MP",
    "ScanOptions": "OTHER",
    "MRAcquisitionType": "3D",
    "RepetitionTime": 8.1,
    "EchoTime": 3.7,
    "FlipAngle": 8,
    "EchoTrainLength": 205,
    "MagneticFieldStrength": 1.5,
    "RescaleSlope": 1.75,
    "RescaleIntercept": 0,
}
SPIN_ECHO_T1 = {
    "Manufacturer": "SIEMENS",
    "ImageType": ["ORIGINAL", "PRIMARY", "M"],
    "ScanningSequence": "SE",
    "SequenceVariant": ["SP", "OSP"],
    "MRAcquisitionType": "2D",
    "RepetitionTime": 550,
    "EchoTime": 9.1,
    "FlipAngle": 90,
    "EchoTrainLength": 1,
    "MagneticFieldStrength": 15000,
}
SPACE_T1 = SPIN_ECHO_T1 | {
    "MRAcquisitionType": "3D",
    "SequenceName": "*spcR_100ns",
    "RepetitionTime": 700,
    "EchoTime": 12,
    "FlipAngle": 120,
    "EchoTrainLength": 40,
    "MagneticFieldStrength": 3,
}
T2_TSE = SPIN_ECHO_T1 | {"RepetitionTime": 5200, "EchoTime": 98, "EchoTrainLength": 15, "FlipAngle": 150}
FLAIR = T2_TSE | {
    "ScanningSequence": ["SE", "IR"],
    "RepetitionTime": 9000,
    "EchoTime": 117,
    "InversionTime": 2500,
}
DIFFUSION = T2_TSE | {"ScanningSequence": ["EP", "SE"], "DiffusionBValue": 1000.0}
SWI = SIEMENS_MPRAGE | {
    "ScanningSequence": "GR",
    "RepetitionTime": 27,
    "EchoTime": 20,
    "InversionTime": None,
    "FlipAngle": 15,
}
TIME_OF_FLIGHT = SIEMENS_MPRAGE | {
    "ScanningSequence": "GR",
    "SequenceVariant": ["SP", "MTC"],
    "RepetitionTime": 21,
    "EchoTime": 3.4,
    "InversionTime": None,
    "FlipAngle": 18,
}

AXIAL = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])  # columns: directions of slice, row and column index


def grid(
    shape: tuple[int, int, int] = (20, 64, 64),
    spacing_mm: tuple[float, float, float] = (6.0, 3.5, 3.5),
    directions: NDArray[np.float64] = AXIAL,
) -> Volume:
    """A volume of distinct voxels around the origin, with a frame of reference of its own."""
    array = (np.arange(np.prod(shape)) % 4001).reshape(shape).astype(np.uint16)
    affine = np.eye(4)
    affine[:3, :3] = directions * np.array(spacing_mm)
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return Volume(array, affine, "PATIENT", frame_of_reference_uid=generate_uid())


def turned(angles_degrees: Sequence[float]) -> NDArray[np.float64]:
    """Oblique directions: the axial ones turned about x, then y, then z."""
    rotation = np.eye(3)
    for axis, angle in enumerate(np.radians(angles_degrees)):
        turn = np.eye(3)
        one, two = [k for k in range(3) if k != axis]
        turn[one, one] = turn[two, two] = np.cos(angle)
        turn[one, two], turn[two, one] = -np.sin(angle), np.sin(angle)
        rotation = turn @ rotation
    return rotation @ AXIAL


def series(volume: Volume, scanner: Mapping[str, Any], **attributes: Any) -> list[Dataset]:
    """One classic MR series: a data set per slice, in shuffled order as PACS send them.

    ``attributes`` are set on every instance (None leaves one out); StudyInstanceUID and the like have defaults.
    """
    common = _common(volume) | {"SeriesInstanceUID": generate_uid()} | dict(scanner) | attributes
    datasets = [_slice(volume, index, common) for index in range(volume.spatial_shape[0])]
    order = np.random.default_rng(0).permutation(len(datasets))
    return [datasets[i] for i in order]


def save(datasets: Sequence[Dataset], folder: Path) -> list[Path]:
    """Write data sets as DICOM files named by their SOP Instance UIDs."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for dataset in datasets:
        path = folder / f"{dataset.SOPInstanceUID}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def enhanced(volume: Volume, **attributes: Any) -> Dataset:
    """One Enhanced MR instance: a T1-weighted inversion-prepared 3D gradient echo of all slices."""
    dataset = _common_dataset(_common(volume) | {"SeriesInstanceUID": generate_uid()} | attributes)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = ENHANCED_MR_IMAGE_STORAGE
    dataset.EchoPulseSequence, dataset.MRAcquisitionType, dataset.Spoiling = "GRADIENT", "3D", "RF"
    dataset.MagneticFieldStrength, dataset.ImageType = 3.0, ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = volume.spatial_shape
    shared = Dataset()
    shared.PixelMeasuresSequence = _item(
        PixelSpacing=list(volume.pixel_spacing), SliceThickness=volume.spacing_between_slices
    )
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=_cosines(volume))
    shared.MRTimingAndRelatedParametersSequence = _item(RepetitionTime=2300.0, FlipAngle=8.0, EchoTrainLength=1)
    shared.MREchoSequence = _item(EffectiveEchoTime=2.9)
    shared.MRModifierSequence = _item(InversionRecovery="YES", InversionTimes=[900.0])
    shared.PixelValueTransformationSequence = _item(RescaleIntercept=0, RescaleSlope=2, RescaleType="US")
    dataset.SharedFunctionalGroupsSequence = DicomSequence([shared])
    order = np.random.default_rng(1).permutation(volume.spatial_shape[0])
    frames = []
    for index in order:
        frame = Dataset()
        frame.PlanePositionSequence = _item(ImagePositionPatient=_position(volume, int(index)))
        frame.FrameContentSequence = _item(DimensionIndexValues=int(index) + 1)
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = DicomSequence(frames)
    dataset.DimensionOrganizationSequence = _item(DimensionOrganizationUID=generate_uid())
    dataset.DimensionIndexSequence = _item(
        DimensionIndexPointer=0x00200032,
        FunctionalGroupPointer=0x00209113,
        DimensionOrganizationUID=dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID,
    )
    dataset.PixelData = volume.array[order].astype("<u2").tobytes()
    return dataset


def _item(**attributes: Any) -> DicomSequence:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return DicomSequence([item])


def _common(volume: Volume) -> dict[str, Any]:
    return {
        "StudyInstanceUID": generate_uid(),
        "StudyDate": "20240305",
        "StudyTime": "101500",
        "PatientName": "Doe^Jane",
        "PatientID": "P-1",
        "Modality": "MR",
        "SeriesNumber": 3,
        "FrameOfReferenceUID": volume.frame_of_reference_uid,
    }


def _common_dataset(attributes: Mapping[str, Any]) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = MR_IMAGE_STORAGE
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for keyword, value in attributes.items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    return dataset


def _slice(volume: Volume, index: int, attributes: Mapping[str, Any]) -> Dataset:
    dataset = _common_dataset(attributes)
    dataset.InstanceNumber = index + 1
    dataset.Rows, dataset.Columns = volume.spatial_shape[1:]
    dataset.PixelSpacing = [round(float(value), 6) for value in volume.pixel_spacing]
    dataset.SliceThickness = attributes.get("SliceThickness", round(float(volume.spacing_between_slices), 4))
    dataset.ImagePositionPatient = _position(volume, index)
    dataset.ImageOrientationPatient = _cosines(volume)
    dataset.PixelData = np.ascontiguousarray(volume.array[index]).astype("<u2").tobytes()
    return dataset


def _position(volume: Volume, index: int) -> list[float]:
    return [round(float(value), 6) for value in (volume.affine @ [index, 0, 0, 1])[:3]]


def _cosines(volume: Volume) -> list[float]:
    """Row direction (along columns), then column direction (along rows), as DICOM orders them."""
    return [round(float(value), 8) for value in (*volume.direction[:, 2], *volume.direction[:, 1])]
