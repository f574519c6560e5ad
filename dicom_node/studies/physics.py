"""What the header says of how a series was acquired, as plain values: no interpretation beyond the standard's words."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from dicom_node.studies.enhanced import frame_datasets
from dicom_node.studies.headers import Header, number, text, texts, whole_number

NO_AGENT = {
    "NO",
    "NONE",
    "N",
    "NEIN",
    "NON",
    "NO CONTRAST",
    "WITHOUT",
    "OHNE",
    "SANS",
    "KEIN",
    "KEINES",
    "NIL",
    "NATIV",
    "0",
}
UNKNOWN_AGENT = {"", "N/A", "NA", "UNKNOWN", "?", "-", "UNBEKANNT"}
ORIENTATIONS = ("sagittal", "coronal", "axial")


class SequenceFamily(StrEnum):
    """How the signal was made; two studies of different families measure lesions differently."""

    GRADIENT_ECHO_3D = "3D gradient echo"
    GRADIENT_ECHO_2D = "2D gradient echo"
    SPIN_ECHO_3D = "3D spin echo"
    SPIN_ECHO_2D = "2D spin echo"
    UNKNOWN = "unknown"


class Contrast(StrEnum):
    """Whether contrast agent was given before the series."""

    GIVEN = "given"
    NOT_GIVEN = "not given"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class SeriesPhysics:
    """How one series was acquired, as its header tells; None, empty or unknown where the header is silent.

    Attributes
    ----------
    modality, manufacturer, image_type, scanning_sequence, sequence_variant, scan_options, acquisition_type
        Attributes of the MR Image module (PS3.3 C.8.3.1) in upper case.
    sequence_name, protocol_name
        Free texts of the vendor.
    body_part
        Body Part Examined (0018,0015) in capitals.
    repetition_time_ms, echo_time_ms, inversion_time_ms, echo_train_length, flip_angle_deg, field_strength_t
        Of the first image.
    b_value_s_mm2
        The greatest diffusion weighting in the series.
    angiography
        Angio Flag or the vendor's word for it.
    repeats
        How many images lie at the same place: 1 for a plain volume.
    rows, columns, pixel_spacing_mm
        In-plane grid; the spacing is the larger of both.
    slice_count, slice_thickness_mm, slice_spacing_mm, coverage_mm
        Slices at different places; the spacing is the median distance of their centres along the normal.
    orientation
        ``"axial"``, ``"coronal"`` or ``"sagittal"``: the nearest; empty when the slices differ or have none.
    contrast, contrast_evidence
        What the header says of contrast agent, and with which words.
    family
        How the signal was made.
    acquired
        Acquisition date and time as sortable text.
    """

    modality: str
    manufacturer: str = ""
    image_type: tuple[str, ...] = ()
    scanning_sequence: tuple[str, ...] = ()
    sequence_variant: tuple[str, ...] = ()
    scan_options: tuple[str, ...] = ()
    acquisition_type: str = ""
    sequence_name: str = ""
    protocol_name: str = ""
    body_part: str = ""
    repetition_time_ms: float | None = None
    echo_time_ms: float | None = None
    inversion_time_ms: float | None = None
    echo_train_length: int | None = None
    flip_angle_deg: float | None = None
    field_strength_t: float | None = None
    b_value_s_mm2: float = 0.0
    angiography: bool = False
    repeats: int = 1
    rows: int = 0
    columns: int = 0
    pixel_spacing_mm: float | None = None
    slice_count: int = 0
    slice_thickness_mm: float | None = None
    slice_spacing_mm: float | None = None
    coverage_mm: float = 0.0
    orientation: str = ""
    contrast: Contrast = Contrast.UNKNOWN
    contrast_evidence: str = ""
    family: SequenceFamily = SequenceFamily.UNKNOWN
    acquired: str = ""


def read_physics(headers: Sequence[Header]) -> SeriesPhysics:
    """Summarise the headers of one series.

    Parameters
    ----------
    headers
        Of all instances of one series, at least one; Enhanced MR is understood.
    """
    frames = [frame for header in headers for frame in frame_datasets(header.dataset)]
    first = frames[0] if frames else headers[0].dataset
    contrast, evidence = contrast_of(first)
    return SeriesPhysics(
        **_acquisition(first),
        **_extent(frames),
        b_value_s_mm2=max((b for frame in frames if (b := number(frame, "DiffusionBValue")) is not None), default=0.0),
        contrast=contrast,
        contrast_evidence=evidence,
    )


def contrast_of(dataset: Dataset) -> tuple[Contrast, str]:
    """Interpret the Contrast/Bolus module (PS3.3 C.7.6.4) of one header.

    An agent that is named with a volume of zero is a protocol's default, not evidence. An absent or empty module
    says nothing: it is often left out after an injection by hand.
    """
    agent = text(dataset, "ContrastBolusAgent")
    volume, dose = number(dataset, "ContrastBolusVolume"), number(dataset, "ContrastBolusTotalDose")
    if agent.upper() in NO_AGENT:
        return Contrast.NOT_GIVEN, f"Contrast/Bolus Agent is {agent!r}"
    start, acquired = _time(dataset, "ContrastBolusStartTime"), _time(dataset, "AcquisitionTime")
    if start and acquired and start > acquired:
        return Contrast.NOT_GIVEN, "the bolus started after the acquisition"
    if agent.upper() not in UNKNOWN_AGENT:
        if volume == 0 or (volume is None and dose == 0):
            return Contrast.UNKNOWN, f"Contrast/Bolus Agent is {agent!r} but its volume is 0"
        return Contrast.GIVEN, f"Contrast/Bolus Agent is {agent!r}"
    return _unnamed_agent(dataset, volume or dose or 0.0)


def _unnamed_agent(dataset: Dataset, volume_ml: float) -> tuple[Contrast, str]:
    if volume_ml > 0:
        return Contrast.GIVEN, f"a contrast volume of {volume_ml:g} ml is stated"
    if dataset.get("ContrastBolusAgentSequence"):
        return Contrast.GIVEN, "a Contrast/Bolus Agent Sequence is present"
    return Contrast.UNKNOWN, ""


def _acquisition(dataset: Dataset) -> dict[str, Any]:
    variant, scanning = texts(dataset, "SequenceVariant"), texts(dataset, "ScanningSequence")
    return {
        "modality": text(dataset, "Modality").upper(),
        "manufacturer": text(dataset, "Manufacturer"),
        "image_type": texts(dataset, "ImageType"),
        "scanning_sequence": scanning,
        "sequence_variant": variant,
        "scan_options": texts(dataset, "ScanOptions"),
        "acquisition_type": text(dataset, "MRAcquisitionType").upper(),
        "sequence_name": text(dataset, "SequenceName") or text(dataset, "PulseSequenceName"),
        "protocol_name": text(dataset, "ProtocolName"),
        "body_part": text(dataset, "BodyPartExamined").upper(),
        "repetition_time_ms": number(dataset, "RepetitionTime"),
        "echo_time_ms": number(dataset, "EchoTime"),
        "inversion_time_ms": number(dataset, "InversionTime") or None,
        "echo_train_length": whole_number(dataset, "EchoTrainLength"),
        "flip_angle_deg": number(dataset, "FlipAngle"),
        "field_strength_t": _tesla(number(dataset, "MagneticFieldStrength")),
        "angiography": text(dataset, "AngioFlag").upper() == "Y" or "TOF" in variant,
        "family": family_of(dataset),
        "acquired": _acquired(dataset),
    }


def family_of(dataset: Dataset) -> SequenceFamily:
    """Tell the sequence family from ScanningSequence or, where it says nothing, from times, angle and train."""
    scanning = set(texts(dataset, "ScanningSequence"))
    repetition, flip = number(dataset, "RepetitionTime"), number(dataset, "FlipAngle")
    if "GR" in scanning:
        gradient = True
    elif "SE" in scanning:
        gradient = False
    elif repetition is None:
        return SequenceFamily.UNKNOWN
    else:  # research mode (RM), inversion recovery alone, or empty
        gradient = repetition < 60 or ((flip or 90) < 45 and (whole_number(dataset, "EchoTrainLength") or 1) <= 1)
    volume = text(dataset, "MRAcquisitionType").upper() == "3D"
    if gradient:
        return SequenceFamily.GRADIENT_ECHO_3D if volume else SequenceFamily.GRADIENT_ECHO_2D
    return SequenceFamily.SPIN_ECHO_3D if volume else SequenceFamily.SPIN_ECHO_2D


def _extent(frames: Sequence[Dataset]) -> dict[str, Any]:
    if not frames:
        return {}
    first = frames[0]
    spacing = first.get("PixelSpacing") or []
    extent: dict[str, Any] = {
        "rows": whole_number(first, "Rows") or 0,
        "columns": whole_number(first, "Columns") or 0,
        "pixel_spacing_mm": max((float(one) for one in spacing), default=None),
        "slice_count": len(frames),
        "slice_thickness_mm": number(first, "SliceThickness"),
    }
    placed = [frame for frame in frames if frame.get("ImagePositionPatient") and frame.get("ImageOrientationPatient")]
    return extent | (_places(placed) if placed else {})


def _places(frames: Sequence[Dataset]) -> dict[str, Any]:
    normals = np.array([_normal(frame) for frame in frames])
    if np.abs(normals - normals[0]).max() > 0.02:
        return {"orientation": ""}  # a localizer in several planes
    positions = np.array([[float(v) for v in frame.ImagePositionPatient] for frame in frames])
    along = np.sort(positions @ normals[0])
    steps = np.diff(along)
    distinct = steps[steps > 0.01]
    count = len(distinct) + 1
    spacing = float(np.median(distinct)) if len(distinct) else None
    thickness = number(frames[0], "SliceThickness") or 0.0
    return {
        "orientation": ORIENTATIONS[int(np.argmax(np.abs(normals[0])))],
        "slice_count": count,
        "repeats": round(len(frames) / count),
        "slice_spacing_mm": None if spacing is None else round(spacing, 4),
        "coverage_mm": round(float(along[-1] - along[0]) + (spacing or thickness), 2),
    }


def _normal(frame: Dataset) -> Any:
    cosines = np.array([float(v) for v in frame.ImageOrientationPatient])
    return np.cross(cosines[:3], cosines[3:])


def _tesla(field: float | None) -> float | None:
    """Return tesla; some scanners write gauss."""
    return field / 10_000 if field is not None and field > 100 else field


def _time(dataset: Dataset, keyword: str) -> str:
    digits = text(dataset, keyword).replace(":", "")
    return digits[:6] if digits[:6].isdigit() and len(digits) >= 6 else ""


def _acquired(dataset: Dataset) -> str:
    day = next((d for k in ("AcquisitionDate", "SeriesDate", "StudyDate") if (d := text(dataset, k))), "")
    time = next((t for k in ("AcquisitionTime", "SeriesTime", "StudyTime") if (t := _time(dataset, k))), "")
    return f"{day}{time}"
