"""Read earlier results back from the archive: it is the node's only memory, so nothing is taken on trust.

Our own SEG and SR are read, and so is a SEG that a radiologist has corrected with another program: on another grid, cut
to its lesions, or without tracking identifiers.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from highdicom import Volume
from highdicom.seg import Segmentation, segread
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.sr.coding import Code

from dicom_node.errors import InvalidGeometryError, InvalidStudyError
from dicom_node.results import codes
from dicom_node.results.content import (
    SEGMENTATION_CLASSES,
    child_named,
    descendants,
    described_segmentations,
    is_named,
    is_point_3d,
    measured,
    site_mm,
)
from dicom_node.results.uids import derive_uid, is_uid
from tracking.geometry import resample_like
from tracking.lesion import Point

SAME_GRID_TOLERANCE = 1e-3  # relative spacing and cosines; the decimals that DICOM writes


@dataclass(frozen=True, kw_only=True)
class LesionIdentity:
    """Who lesion ``number`` of a prior's label volume is."""

    number: int
    tracking_uid: str
    tracking_id: str


@dataclass(frozen=True, kw_only=True)
class AbsentLesion:
    """A lesion, or a part of one, that was followed before and not there any more in the prior.

    Attributes
    ----------
    site_mm
        Its last known site in the prior's space, LPS mm.
    volume_mm3
        When it was last seen; None if the report does not say.
    """

    tracking_uid: str
    tracking_id: str
    site_mm: Point
    volume_mm3: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class PriorResults:
    """What the results of an earlier study say.

    Attributes
    ----------
    lesions
        uint16 volume on the grid of that study's T1c: 0 background, n the lesion of segment n.
    identities
        One for each number that occurs in ``lesions``, in their order; the parts of a lesion that has split share
        one tracking UID.
    absent
        Lesions known by their site alone, from the SR.
    days_since_baseline
        Days from the patient's first study to that one, from the SR; None when it does not say.
    """

    lesions: Volume
    identities: tuple[LesionIdentity, ...]
    absent: tuple[AbsentLesion, ...]
    days_since_baseline: int | None


def read_prior_results(seg_path: Path | None, sr_path: Path | None, t1c: Volume) -> PriorResults:
    """Read SEG and SR of an earlier study onto the grid of its T1c.

    Parameters
    ----------
    seg_path
        SEG file; None when the study had no lesion.
    sr_path
        SR file; None when there is none (a SEG of another program).
    t1c
        The study's T1c (i = slice, j = row, k = column), LPS mm, with its frame of reference.

    Raises
    ------
    InvalidStudyError
        When a file is no SEG or no SR that can be read, or the SR describes a SEG that is not there.
    InvalidGeometryError
        When a file names another frame of reference, or the SEG is no regular volume.
    """
    empty = t1c.with_array(np.zeros(t1c.spatial_shape, np.uint16))
    lesions, identities = (empty, ()) if seg_path is None else _read_segmentation(seg_path, t1c)
    report = None if sr_path is None else _read(sr_path, "SR")
    if report is not None and seg_path is None and described_segmentations(report):
        raise InvalidStudyError("The prior's SR describes a SEG that the archive does not hold; store it again.")
    shown = {identity.tracking_uid for identity in identities}
    return PriorResults(
        lesions=lesions,
        identities=identities,
        absent=() if report is None else tuple(_absent(report, t1c, shown)),
        days_since_baseline=None if report is None else _days_since_baseline(report),
    )


def _read(path: Path, kind: str) -> Dataset:
    try:
        dataset = dcmread(path)
    except (OSError, InvalidDicomError) as error:
        raise InvalidStudyError(f"The prior's {kind} {path.name} cannot be read as DICOM: {error}.") from error
    if dataset.get("Modality") != kind:
        raise InvalidStudyError(f"{path.name} was taken for the prior's {kind}, but is {dataset.get('Modality')}.")
    return dataset


def _read_segmentation(path: Path, t1c: Volume) -> tuple[Volume, tuple[LesionIdentity, ...]]:
    header = _read(path, "SEG")
    if header.get("SOPClassUID") not in SEGMENTATION_CLASSES:
        raise InvalidStudyError(f"{path.name} is no voxel segmentation (SOP class {header.get('SOPClassUID')}).")
    _check_frame_of_reference(header.get("FrameOfReferenceUID"), t1c, "SEG")
    segmentation = segread(path)
    try:
        # Segments of other programs may overlap; the later one is drawn over the earlier then.
        cropped = segmentation.get_volume(combine_segments=True, skip_overlap_checks=True, dtype=np.uint16)
    except (RuntimeError, ValueError) as error:
        raise InvalidGeometryError(f"The prior's SEG {path.name} is no regular volume: {error}") from error
    lesions = _onto(cropped, t1c)
    present = np.unique(lesions.array)
    identities = tuple(_identity(segmentation, int(number)) for number in present if number)
    return lesions, identities


def _onto(labels: Volume, t1c: Volume) -> Volume:
    """Bring labels onto the grid of the T1c: only moved where the voxels are the same, else sampled."""
    same_spacing = np.allclose(sorted(labels.spacing), sorted(t1c.spacing), rtol=SAME_GRID_TOLERANCE)
    if same_spacing:
        try:
            matched = labels.match_geometry(t1c, tol=SAME_GRID_TOLERANCE)
            return t1c.with_array(matched.array)
        except RuntimeError:  # turned or shifted by parts of a voxel
            pass
    return t1c.with_array(resample_like(labels, t1c, interpolation="nearest").array.astype(np.uint16))


def _identity(segmentation: Segmentation, number: int) -> LesionIdentity:
    segment = segmentation.get_segment_description(number)
    uid = str(segment.get("TrackingUID", ""))
    return LesionIdentity(
        number=number,
        tracking_uid=uid if is_uid(uid) else derive_uid("segment", str(segmentation.SOPInstanceUID), str(number)),
        tracking_id=str(segment.get("TrackingID") or segment.get("SegmentLabel") or f"segment {number}"),
    )


def _absent(report: Dataset, t1c: Volume, shown: Collection[str]) -> Iterator[AbsentLesion]:
    """Find the groups that mark a site, lesions told of in words alone, and places where parts of lesions were.

    What the SEG shows has come back there by a reader's hand, unless a part of it is meant.
    """
    for group in filter(_is_lesion, descendants(report)):
        uid, site = _value(group, codes.TRACKING_UID, "UID"), site_mm(group)
        if not uid or site is None or (uid in shown and not is_named(group, codes.EMPTY_SITE)):
            continue
        point = next(filter(is_point_3d, descendants(group)))
        _check_frame_of_reference(point.get("ReferencedFrameOfReferenceUID"), t1c, "SR")
        name = _value(group, codes.TRACKING_IDENTIFIER, "TextValue") or uid
        volume_mm3 = measured(group, codes.LAST_VOLUME) or measured(group, codes.PRIOR_VOLUME)
        yield AbsentLesion(tracking_uid=uid, tracking_id=name, site_mm=site, volume_mm3=volume_mm3)


def _is_lesion(item: Dataset) -> bool:
    return any(is_named(item, name) for name in (codes.MEASUREMENT_GROUP, codes.UNSHOWN_LESION, codes.EMPTY_SITE))


def _value(group: Dataset, name: Code, keyword: str) -> str:
    item = child_named(group, name)
    return "" if item is None else str(item.get(keyword, ""))


def _days_since_baseline(report: Dataset) -> int | None:
    if report.get("LongitudinalTemporalEventType") != "BASELINE" or "LongitudinalTemporalOffsetFromEvent" not in report:
        return None
    return round(float(report.LongitudinalTemporalOffsetFromEvent))


def _check_frame_of_reference(uid: str | None, t1c: Volume, kind: str) -> None:
    if str(uid) != str(t1c.frame_of_reference_uid):
        raise InvalidGeometryError(
            f"The prior's {kind} lies in the frame of reference {uid}, but its T1c in {t1c.frame_of_reference_uid}; the"
            " file does not belong to these images."
        )
