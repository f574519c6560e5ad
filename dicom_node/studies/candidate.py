"""One series under examination: everything that the choice between series rests on, gathered once."""

from dataclasses import dataclass

from pydicom.uid import UID

from dicom_node.errors import InvalidGeometryError
from dicom_node.studies.headers import Header, UnreadableHeaderError, is_image, read_headers, text
from dicom_node.studies.hints import Hint, read_hint
from dicom_node.studies.own_results import is_own_result
from dicom_node.studies.physics import SeriesPhysics, read_physics
from dicom_node.studies.sequences import SequenceFinding, find_sequence
from dicom_node.studies.slices import stack_slices
from dicom_node.studies.study import Series

MINIMUM_SLICES = 15
MINIMUM_COVERAGE_MM = 100.0
MAXIMUM_SPACING_MM = 7.5
MINIMUM_MATRIX = 64
# Words of Body Part Examined (PS3.16 table L-1) that no series of the head bears; NECK may hold the brain.
OTHER_BODY_PARTS = (
    "SPINE", "CHEST", "THORAX", "LUNG", "HEART", "BREAST", "ABDOMEN", "LIVER", "KIDNEY", "PELVIS", "PROSTATE", "HIP",
    "KNEE", "LEG", "FOOT", "ANKLE", "SHOULDER", "ARM", "ELBOW", "WRIST", "HAND", "EXTREMITY",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A series, how it was acquired, and what that makes it.

    Attributes
    ----------
    series, physics, hint, finding
        What was read of it.
    rejection
        Why it cannot be used whatever its sequence; empty when it can.
    """

    series: Series
    physics: SeriesPhysics
    hint: Hint
    finding: SequenceFinding
    rejection: str = ""


def examine(series: Series) -> Candidate:
    """Read the headers of a series and judge them; never raises for what a sender may have sent."""
    try:
        headers = read_headers(series.instance_paths)
    except UnreadableHeaderError as error:
        return _rejected(series, f"one of its files cannot be read: {error}")
    if is_own_result(headers[0].dataset):
        return _rejected(series, "it is a result of this node, not an input")
    physics = read_physics(headers)
    hint = read_hint(series.description, physics.protocol_name)
    if physics.modality == "MR" and not all(is_image(header.dataset) for header in headers):
        return _rejected(series, f"it holds no images but {UID(text(headers[0].dataset, 'SOPClassUID')).name!r}")
    finding = find_sequence(physics, hint)
    rejection = "" if finding.sequence or finding.undecided else finding.evidence
    rejection = rejection or _elsewhere(physics) or _too_small(physics) or _irregular(headers)
    return Candidate(series=series, physics=physics, hint=hint, finding=finding, rejection=rejection)


def _rejected(series: Series, reason: str) -> Candidate:
    return Candidate(
        series=series,
        physics=SeriesPhysics(modality=series.modality),
        hint=read_hint(series.description),
        finding=SequenceFinding(sequence=None, evidence=reason),
        rejection=reason,
    )


def _elsewhere(physics: SeriesPhysics) -> str:
    """Say which other part of the body the header names; a header that names none, or several, is not judged."""
    named = physics.body_part
    if any(word in named for word in OTHER_BODY_PARTS) and not any(word in named for word in ("HEAD", "BRAIN")):
        return f"its Body Part Examined is {named!r}; correct the header if it shows the brain"
    return ""


def _too_small(physics: SeriesPhysics) -> str:
    """Say which limit a series misses that a whole brain needs."""
    if physics.slice_count < MINIMUM_SLICES:
        return f"it has {physics.slice_count} slices; at least {MINIMUM_SLICES} are needed"
    if min(physics.rows, physics.columns) < MINIMUM_MATRIX:
        return f"its matrix of {physics.rows} × {physics.columns} is too coarse; at least {MINIMUM_MATRIX} is needed"
    if physics.slice_spacing_mm is not None and physics.slice_spacing_mm > MAXIMUM_SPACING_MM:
        return f"its slices are {physics.slice_spacing_mm:.1f} mm apart; at most {MAXIMUM_SPACING_MM} mm is allowed"
    if physics.slice_spacing_mm is not None and physics.coverage_mm < MINIMUM_COVERAGE_MM:
        return f"it covers {physics.coverage_mm:.0f} mm; at least {MINIMUM_COVERAGE_MM:.0f} mm of the head are needed"
    return ""


def _irregular(headers: tuple[Header, ...]) -> str:
    try:
        stack_slices(headers)
    except InvalidGeometryError as error:
        return str(error).rstrip(".")
    return ""
