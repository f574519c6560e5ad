"""A synthetic study as DICOM files that say in their header what they are: images of nobody.

Geometry is written from each volume's affine and from nowhere else; UIDs derive from the patient identifier and the
date, so the same patient gives the same objects.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from dicom_node import __version__
from dicom_node.demo.protocols import LOCALIZER, Protocol, protocol_of
from dicom_node.results.uids import derive_uid
from inference.synthesis.patient import SyntheticStudy
from tracking.geometry import resample_like
from tracking.timepoint import MRSequence

NOTICE = "SYNTHETIC PATIENT - generated images, not for diagnostic use"
IMAGE_TYPE = ("ORIGINAL", "PRIMARY", "OTHER")
LARGEST_STORED_VALUE = 4095
LOCALIZER_SIZE = 256
LOCALIZER_PIXEL_MM = 1.1
LOCALIZER_SPACING_MM = 10.0
LOCALIZER_THICKNESS_MM = 1.0  # its slices are samples of an image, not averages
STUDY_START = time(9, 30)
# Rows and columns of the axial, coronal and sagittal planes of a localizer, LPS.
LOCALIZER_PLANES = (((1, 0, 0), (0, 1, 0)), ((1, 0, 0), (0, 0, -1)), ((0, 1, 0), (0, 0, -1)))


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who the synthetic patient pretends to be.

    Attributes
    ----------
    patient_id
        Patient ID; every UID derives from it.
    patient_name, birth_date, sex
        The rest of the Patient module (PS3.3 C.7.1.1).
    """

    patient_id: str
    patient_name: str = "SYNTHETIC^PATIENT"
    birth_date: date = date(1961, 4, 12)
    sex: str = "O"


@dataclass(frozen=True, kw_only=True, eq=False)
class _SeriesPlan:
    """One series that is about to be written."""

    protocol: Protocol
    volumes: tuple[Volume, ...]
    frame_of_reference_uid: str
    slice_thickness_mm: float


def identity_for(seed: int) -> Identity:
    """Return the identity of the demonstration's patient with this seed."""
    return Identity(patient_id=f"SYNTHETIC-{seed:06d}")


def study_uid_of(identity: Identity, study_date: date) -> str:
    """Return the Study Instance UID that `write_study` gives the study of this day."""
    return derive_uid("study", identity.patient_id, study_date.isoformat())


def write_study(
    study: SyntheticStudy,
    *,
    identity: Identity,
    folder: Path,
    slice_thickness_mm: Mapping[MRSequence, float] | None = None,
) -> list[Path]:
    """Write a study as MR Image Storage files: one series per image, and a localizer in three planes.

    Parameters
    ----------
    study
        Images with index order (slice, row, column), integers from 0 to 4095.
    identity
        Patient attributes, the same for all studies of one patient.
    folder
        Receives one sub-folder per series; it is created.
    slice_thickness_mm
        Slice Thickness of the images that have gaps between their slices; the others' is their slice spacing.

    Returns
    -------
    list[Path]
        Files in the order in which a scanner would make them.

    Raises
    ------
    ValueError
        If an image holds values that do not fit 12 bits, or no whole numbers.
    """
    start = datetime.combine(study.study_date, STUDY_START)
    study_level = _study_dataset(study, identity, start)
    plans = _series_plans(study, study_level.StudyInstanceUID, slice_thickness_mm or {})
    plans.sort(key=lambda plan: plan.protocol.number)
    return [path for plan in plans for path in _write_series(plan, study_level, folder, start)]


def _series_plans(
    study: SyntheticStudy, study_uid: str, slice_thickness_mm: Mapping[MRSequence, float]
) -> list[_SeriesPlan]:
    frame = study.images[MRSequence.T1C].frame_of_reference_uid or derive_uid("frame", study_uid)
    images = [
        _SeriesPlan(
            protocol=protocol_of(sequence, volume.spacing[0]),
            volumes=(volume,),
            frame_of_reference_uid=frame,
            slice_thickness_mm=slice_thickness_mm.get(sequence, volume.spacing[0]),
        )
        for sequence, volume in study.images.items()
    ]
    source = study.images.get(MRSequence.T1, study.images[MRSequence.T1C])
    localizer = _SeriesPlan(
        protocol=LOCALIZER,
        volumes=tuple(_localizer_stack(source, plane) for plane in range(len(LOCALIZER_PLANES))),
        frame_of_reference_uid=frame,
        slice_thickness_mm=LOCALIZER_THICKNESS_MM,
    )
    return [localizer, *images]


def _localizer_stack(source: Volume, plane: int) -> Volume:
    """Cut three slices through the middle of the head."""
    row, column = (np.asarray(axis, float) for axis in LOCALIZER_PLANES[plane])
    steps = np.stack(
        [np.cross(row, column) * LOCALIZER_SPACING_MM, column * LOCALIZER_PIXEL_MM, row * LOCALIZER_PIXEL_MM], axis=1
    )
    shape = (3, LOCALIZER_SIZE, LOCALIZER_SIZE)
    affine = np.eye(4)
    affine[:3, :3] = steps
    affine[:3, 3] = np.asarray(source.center_position) - steps @ ((np.asarray(shape) - 1) / 2)
    empty = Volume(np.zeros(shape, np.uint8), affine, "PATIENT")
    sampled = resample_like(source, empty)
    return sampled.with_array(np.clip(np.rint(sampled.array), 0, LARGEST_STORED_VALUE).astype(np.uint16))


def _write_series(plan: _SeriesPlan, study_level: Dataset, folder: Path, start: datetime) -> list[Path]:
    series_level = _series_dataset(plan, study_level, start)
    target = folder / f"{plan.protocol.number:02d}_{plan.protocol.description.replace(' ', '_')}"
    target.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for volume in plan.volumes:
        geometry = _geometry_dataset(volume)
        positions = volume.get_plane_positions()
        for plane, position in zip(_stored(volume), positions, strict=True):
            instance = Dataset()
            for level in (study_level, series_level, geometry):
                instance.update(level)
            _add_image(instance, plane, position[0].ImagePositionPatient, number=len(paths) + 1)
            paths.append(target / f"IM{len(paths) + 1:04d}.dcm")
            _save(instance, paths[-1])
    return paths


def _stored(volume: Volume) -> NDArray[np.uint16]:
    """Return the pixels as DICOM stores them, or refuse what would not survive."""
    array = volume.array
    if array.min() < 0 or array.max() > LARGEST_STORED_VALUE or not np.array_equal(array, np.rint(array)):
        raise ValueError(
            f"an image has values from {array.min()} to {array.max()}; "
            f"give whole numbers from 0 to {LARGEST_STORED_VALUE}"
        )
    return np.ascontiguousarray(array.astype(np.uint16))


def _study_dataset(study: SyntheticStudy, identity: Identity, start: datetime) -> Dataset:
    """Patient, study, equipment and what else is the same in every instance of the study."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID = MRImageStorage
    ds.Modality = "MR"
    ds.PatientName = identity.patient_name
    ds.PatientID = identity.patient_id
    ds.PatientBirthDate = identity.birth_date.strftime("%Y%m%d")
    ds.PatientSex = identity.sex
    ds.PatientComments = NOTICE
    ds.StudyInstanceUID = study_uid_of(identity, study.study_date)
    ds.StudyDate = start.strftime("%Y%m%d")
    ds.StudyTime = start.strftime("%H%M%S")
    ds.StudyID = start.strftime("%y%m%d")
    ds.StudyDescription = "MR brain with and without contrast (synthetic)"
    ds.AccessionNumber = f"SYN{ds.StudyID}"
    ds.ReferringPhysicianName = ""
    ds.Manufacturer = "Synthetic"
    ds.ManufacturerModelName = "brainmets-dicom-node synthesis"
    ds.SoftwareVersions = __version__
    ds.MagneticFieldStrength = "3"
    ds.ImagedNucleus = "1H"
    ds.PatientPosition = "HFS"
    ds.BodyPartExamined = "BRAIN"
    ds.ImageComments = NOTICE
    _add_pixel_format(ds)
    return ds


def _add_pixel_format(ds: Dataset) -> None:
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = 16
    ds.BitsStored = 12
    ds.HighBit = 11
    ds.PixelRepresentation = 0


def _series_dataset(plan: _SeriesPlan, study_level: Dataset, start: datetime) -> Dataset:
    """Attributes of one series: identity, time, physics and display window."""
    protocol = plan.protocol
    begun = start + timedelta(minutes=protocol.minutes)
    ds = Dataset()
    ds.SeriesInstanceUID = derive_uid("series", study_level.StudyInstanceUID, str(protocol.number))
    ds.SeriesNumber = protocol.number
    ds.AcquisitionNumber = 1
    ds.SeriesDescription = ds.ProtocolName = protocol.description
    ds.ImageType = list(IMAGE_TYPE)
    ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = ds.InstanceCreationDate = begun.strftime("%Y%m%d")
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = ds.InstanceCreationTime = begun.strftime("%H%M%S")
    ds.FrameOfReferenceUID = plan.frame_of_reference_uid
    ds.PositionReferenceIndicator = ""
    ds.SliceThickness = _decimal(plan.slice_thickness_mm)
    _add_physics(ds, protocol)
    _add_window(ds, plan.volumes)
    return ds


def _add_physics(ds: Dataset, protocol: Protocol) -> None:
    ds.ScanningSequence = list(protocol.scanning_sequence)
    ds.SequenceVariant = list(protocol.sequence_variant)
    ds.ScanOptions = list(protocol.scan_options)
    ds.MRAcquisitionType = protocol.acquisition_type
    ds.RepetitionTime = _decimal(protocol.repetition_time_ms)
    ds.EchoTime = _decimal(protocol.echo_time_ms)
    ds.FlipAngle = _decimal(protocol.flip_angle_deg)
    ds.EchoTrainLength = protocol.echo_train_length
    ds.NumberOfAverages = "1"
    if protocol.inversion_time_ms is not None:
        ds.InversionTime = _decimal(protocol.inversion_time_ms)
    if protocol.contrast_agent:
        ds.ContrastBolusAgent = protocol.contrast_agent
        ds.ContrastBolusRoute = "IV"


def _add_window(ds: Dataset, volumes: tuple[Volume, ...]) -> None:
    sample = np.concatenate([volume.array[:, ::4, ::4].ravel() for volume in volumes])
    high = max(float(np.percentile(sample, 99.5)), 2.0)
    ds.WindowCenter = _decimal(round(high / 2))
    ds.WindowWidth = _decimal(round(high))


def _geometry_dataset(volume: Volume) -> Dataset:
    """Image plane attributes that all slices of a stack share (PS3.3 C.7.6.2)."""
    between, *in_plane = volume.spacing
    ds = Dataset()
    ds.Rows, ds.Columns = volume.spatial_shape[1:]
    orientation = volume.get_plane_orientation()[0].ImageOrientationPatient
    ds.ImageOrientationPatient = [_decimal(cosine) for cosine in orientation]
    ds.PixelSpacing = [_decimal(spacing) for spacing in in_plane]
    ds.SpacingBetweenSlices = _decimal(between)
    return ds


def _add_image(ds: Dataset, plane: NDArray[np.uint16], position: list[float], *, number: int) -> None:
    ds.InstanceNumber = number
    ds.SOPInstanceUID = derive_uid("instance", ds.SeriesInstanceUID, str(number))
    ds.ImagePositionPatient = [_decimal(coordinate) for coordinate in position]
    ds.SmallestImagePixelValue = int(plane.min())
    ds.LargestImagePixelValue = int(plane.max())
    ds.PixelData = plane.tobytes()


def _save(ds: Dataset, path: Path) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta = meta
    ds.save_as(path, enforce_file_format=True)


def _decimal(number: float) -> str:
    """Format as Decimal String: 16 characters hold about 1e-12 mm."""
    return format_number_as_ds(float(number))
