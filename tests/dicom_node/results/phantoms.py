"""MR series written by pydicom, and lesions of known voxels on their grid: the truth that results are held against."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from dicom_node.results.provenance import ResultIdentity
from dicom_node.results.uids import derive_uid
from inference.manifest import Manifest
from tracking.comparison import Comparison
from tracking.lesion import Lesion, Point
from tracking.measurement import measure_lesions
from tracking.timepoint import Tissue
from tracking.track import EmptySite, LesionTrack, TrackState

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"

MODEL = Manifest(
    name="phantom-net",
    version="1.2.3",
    sha256="ab" * 32,
    channels=("T1c",),
    labels=("background", "lesion"),
    spacing_mm=1.0,
    window=(96, 96, 96),
    features=(8, 8, 16, 32, 64, 8),
    threshold=0.5,
    minimum_volume_mm3=10.0,
    training_data="phantoms",
    licence="Apache-2.0",
)
IDENTITY = ResultIdentity(
    revision="first", created=datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC), device_serial_number="node-1"
)

AXIAL = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], float)  # columns: slice, row and column direction in LPS
SAGITTAL = np.array([[-1, 0, 0], [0, 0, 1], [0, -1, 0]], float)


def oblique(axes: NDArray[np.float64] = AXIAL, degrees: tuple[float, float] = (17.0, 5.0)) -> NDArray[np.float64]:
    """Tilt axes about x and turn them about z."""
    tilt, turn = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    return about_z @ about_x @ axes


def grid(
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    axes: NDArray[np.float64] = AXIAL,
    frame_of_reference_uid: str = "1.2.3.4",
) -> Volume:
    """An empty label volume around the point (3, -7, 11) mm, with the numbers rounded as DICOM writes them."""
    affine = np.eye(4)
    axes = np.round(axes, 8)
    affine[:3, :3] = axes * np.asarray(spacing_mm)
    affine[:3, 3] = np.round(np.array([3.0, -7.0, 11.0]) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2), 4)
    return Volume(np.zeros(shape, np.uint16), affine, "PATIENT", frame_of_reference_uid=frame_of_reference_uid)


def with_balls(volume: Volume, balls: Sequence[tuple[tuple[float, float, float], float]]) -> Volume:
    """Draw ball n (centre in voxel indices, radius in mm) as label n; balls must not meet."""
    labels = np.zeros(volume.spatial_shape, np.uint16)
    for number, (centre, radius_mm) in enumerate(balls, start=1):
        inside = _ball(volume, centre, radius_mm)
        assert inside.any()
        assert not labels[inside].any()
        labels[inside] = number
    return volume.with_array(labels)


def _ball(volume: Volume, centre: tuple[float, float, float], radius_mm: float) -> NDArray[np.bool_]:
    steps = [np.arange(n, dtype=float) - c for n, c in zip(volume.spatial_shape, centre, strict=True)]
    squares = [(step * spacing) ** 2 for step, spacing in zip(steps, volume.spacing, strict=True)]
    inside: NDArray[np.bool_] = squares[0][:, None, None] + squares[1][:, None] + squares[2] <= radius_mm**2
    return inside


@dataclass(frozen=True, kw_only=True)
class Patient:
    """What the header says of the patient and the study."""

    name: str = "Phantom^Ada"
    patient_id: str = "P-1"
    character_set: str | list[str] | None = "ISO_IR 100"
    study_uid: str = "1.2.826.0.1.3680043.8.498.1"
    study_date: str = "20240506"
    sex: str = "F"


def mr_series(
    volume: Volume, patient: Patient | None = None, *, pixels: NDArray[np.uint16] | None = None
) -> list[Dataset]:
    """Write one single-frame MR image per slice of ``volume``, in slice order."""
    patient = patient or Patient()
    series_uid = derive_uid("phantom series", patient.study_uid)
    array = np.zeros(volume.spatial_shape, np.uint16) if pixels is None else pixels
    return [_mr_image(volume, patient, series_uid, index, array[index]) for index in range(volume.spatial_shape[0])]


def _mr_image(volume: Volume, patient: Patient, series_uid: str, index: int, pixels: NDArray[np.uint16]) -> Dataset:
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = MR_IMAGE_STORAGE
    if patient.character_set is not None:
        image.SpecificCharacterSet = patient.character_set
    image.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    image.SOPClassUID = MR_IMAGE_STORAGE
    image.SOPInstanceUID = derive_uid("phantom image", series_uid, str(index))
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.StudyDate = image.SeriesDate = image.AcquisitionDate = image.ContentDate = patient.study_date
    image.StudyTime = image.SeriesTime = image.AcquisitionTime = image.ContentTime = "101112"
    image.AccessionNumber = "A-77"
    image.Modality = "MR"
    image.Manufacturer = "Phantom Works"
    image.ManufacturerModelName = "Cylinder 3T"
    image.InstitutionName = "Hospital"
    image.ReferringPhysicianName = "Doe^Jo"
    image.StudyDescription = "MRI head with contrast"
    image.SeriesDescription = "T1 MPRAGE KM"
    image.PatientName = patient.name
    image.PatientID = patient.patient_id
    image.IssuerOfPatientID = "HOSP"
    image.PatientBirthDate = "19500102"
    image.PatientSex = patient.sex
    image.PatientAge = "074Y"
    image.PatientWeight = "70"
    image.ScanningSequence, image.SequenceVariant, image.ScanOptions = "GR", ["SP", "MP"], ""
    image.MRAcquisitionType = "3D"
    image.SliceThickness = round(float(volume.spacing[0]), 6)
    image.RepetitionTime, image.EchoTime, image.InversionTime, image.FlipAngle = "2000", "2.5", "900", "9"
    image.EchoTrainLength = 1
    image.StudyInstanceUID, image.SeriesInstanceUID = patient.study_uid, series_uid
    image.StudyID, image.SeriesNumber, image.InstanceNumber = "S1", 5, index + 1
    image.FrameOfReferenceUID = volume.frame_of_reference_uid
    image.PositionReferenceIndicator = ""
    affine = volume.affine
    image.ImagePositionPatient = [f"{value:.6f}" for value in affine[:3, :3] @ [index, 0, 0] + affine[:3, 3]]
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    image.ImageOrientationPatient = [f"{value:.8f}" for value in (*axes[:, 2], *axes[:, 1])]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = volume.spatial_shape[1:]
    image.PixelSpacing = [round(float(volume.spacing[1]), 6), round(float(volume.spacing[2]), 6)]
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.PixelData = np.ascontiguousarray(pixels).tobytes()
    return image


def tracking_uid(name: str) -> str:
    """The tracking UID of the lesion with this name, in every study."""
    return derive_uid("phantom lesion", name)


def track(name: str, state: TrackState, prior: Sequence[Lesion] = (), current: Sequence[Lesion] = ()) -> LesionTrack:
    """One track of the phantom patient."""
    return LesionTrack(
        tracking_uid=tracking_uid(name),
        tracking_id=name,
        state=state,
        prior=tuple(prior),
        current=tuple(current),
        confidence=0.9,
    )


def gone_from(site_mm: Point, volume_mm3: float | None = 904.8) -> tuple[EmptySite, ...]:
    """Where one lesion was that is not there any more."""
    return (EmptySite(site_mm=site_mm, volume_mm3=volume_mm3),)


def first_study(labels: Volume, *, study_uid: str = Patient.study_uid) -> Comparison:
    """A study without a prior: lesion n is the track Ln."""
    lesions = measure_lesions(labels)
    return Comparison(
        current_study_uid=study_uid,
        current_date=date(2024, 5, 6),
        prior_study_uid=None,
        prior_date=None,
        slice_spacing_mm=1.5,
        tracks=tuple(track(f"L{lesion.number}", TrackState.BASELINE, current=[lesion]) for lesion in lesions),
    )


def new_uid() -> str:
    """A UID that nothing else has."""
    return str(generate_uid())


def follow_up(labels: Volume) -> Comparison:
    """A study with a prior: L1 was 2000 mm³, L2, L3 … are new, and one more, of 904.8 mm³, has resolved."""
    one, *others = measure_lesions(labels)
    before = replace(one, volume_mm3={Tissue.ENHANCING: 2000.0})
    gone = replace(one, volume_mm3={Tissue.ENHANCING: 904.8})
    persistent = replace(track("L1", TrackState.PERSISTENT, [before], [one]), remarks=("verify: prior is 6 mm away",))
    new = [track(f"L{lesion.number}", TrackState.NEW, current=[lesion]) for lesion in others]
    resolved = track(f"L{len(others) + 2}", TrackState.RESOLVED, [gone])
    return Comparison(
        current_study_uid=Patient.study_uid,
        current_date=date(2024, 5, 6),
        prior_study_uid="1.2.3.9",
        prior_date=date(2024, 2, 1),
        slice_spacing_mm=1.5,
        prior_slice_spacing_mm=1.5,
        tracks=(persistent, *new, resolved),
        remarks=("Leptomeningeal disease is not assessed.",),
    )
