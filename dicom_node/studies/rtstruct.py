"""From contours to lesions: an RTSTRUCT becomes a label volume that holds as much volume as its contours enclose.

Counting every voxel that a contour touches makes small lesions many times too large. Here a contour is a slab as thick
as the contours are apart, its share of every voxel is measured on a fine raster, and a lesion is given as many voxels
as its volume fills, those that it covers most: its volume is right within half a voxel.

What contours do not hold cannot be regained: the slabs of a small ball on thick slices are not the ball. A ball of
3 mm on slices of 3 mm has one contour or none, and measures 1.5 times its volume or nothing; on average over where the
slices happen to lie, the slabs are right.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pydicom
from highdicom import Volume
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_node.errors import InvalidGeometryError, InvalidStudyError
from dicom_node.studies.contour_raster import CLOSED, EXCLUSIVE_OR, Contour, Cover, cover
from dicom_node.studies.headers import UnreadableHeaderError, read_header, text
from dicom_node.studies.volumes import SeriesVolume

RT_STRUCTURE_SET_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
PLANE_TOLERANCE = 0.1  # of the slice spacing
SAME_LESION = 0.5  # share of the smaller of two ROIs

Points = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ContouredLesion:
    """One ROI of an RTSTRUCT as a lesion.

    Attributes
    ----------
    number
        Its value in the label volume, from 1.
    name, roi_number, colour_rgb
        As the ROI says; None where it has no display colour.
    volume_mm3
        Of its voxels in the label volume.
    contour_volume_mm3
        Of its contours: the sum of their areas times the distance from one to the next.
    contour_spacing_mm
        That distance: the smallest step between two of its planes; of an ROI with one plane, the smallest step in the
        other ROIs, or that of the slices.
    gaps
        How often two neighbouring planes are farther apart than that; nothing is drawn between them.
    ignored_contours
        Contours of fewer than three points: they enclose nothing.
    """

    number: int
    name: str
    roi_number: int
    colour_rgb: tuple[int, int, int] | None
    volume_mm3: float
    contour_volume_mm3: float
    contour_spacing_mm: float
    gaps: int
    ignored_contours: int


@dataclass(frozen=True, kw_only=True, eq=False)
class ImportedContours:
    """The lesions of an RTSTRUCT.

    Attributes
    ----------
    volume
        uint16 (slice, row, column) on the grid of the series: 0 background, n the lesion with number n. What kind of
        tissue a voxel is, contours do not tell.
    lesions
        In the order of their numbers.
    """

    volume: Volume
    lesions: tuple[ContouredLesion, ...]


def read_rtstruct(path: Path) -> Dataset:
    """Read a structure set.

    Raises
    ------
    InvalidStudyError
        The file cannot be read, or is something else.
    """
    try:
        read_header(path)
        dataset: Dataset = pydicom.dcmread(path)
    except UnreadableHeaderError as error:
        raise InvalidStudyError(f"The RTSTRUCT cannot be read: {error}.") from error
    if text(dataset, "SOPClassUID") != RT_STRUCTURE_SET_STORAGE:
        kind = dataset.get("SOPClassUID", "without SOP class")
        raise InvalidStudyError(f"{path.name} is no RTSTRUCT but {getattr(kind, 'name', kind)}.")
    return dataset


def import_lesions(structures: Dataset, series: SeriesVolume, *, names: str) -> ImportedContours:
    """Draw the ROIs whose names match a pattern on the grid of the series that they were contoured on.

    Contours of one ROI in one plane: of the type CLOSEDPLANAR_XOR they are combined by exclusive or; of the type
    CLOSED_PLANAR one within another is a hole (the same contour twice is one contour), others are joined; a keyhole's
    channel has no width (PS3.3 C.8.8.6.3).

    Parameters
    ----------
    structures
        RT Structure Set, see `read_rtstruct`.
    series
        The images that the contours were drawn on, see `dicom_node.studies.volumes.read_volume`.
    names
        Regular expression, found anywhere in an ROI's name whatever its case: ``"^gtv|met"``.

    Raises
    ------
    InvalidStudyError
        No ROI's name matches, an ROI is no closed contour or empty, or two are largely the same place (a GTV and its
        PTV): the message names them.
    InvalidGeometryError
        An ROI lies in another frame of reference, was drawn on another series, or a contour lies between the slices,
        askew to them or outside the image: the message names ROI and values.
    """
    drafts = [_draft(roi, structures, series) for roi in _chosen(structures, names)]
    smallest_step = min((draft.step for draft in drafts if draft.step), default=1)
    steps = [draft.step or smallest_step for draft in drafts]
    covers = [_cover(draft, step, series.volume) for draft, step in zip(drafts, steps, strict=True)]
    filled = [one.filled() for one in covers]
    for (one, first), (other, second) in combinations(zip(drafts, filled, strict=True), 2):
        _check_distinct(one, first, other, second)
    labels = _labelled(filled, series.volume)
    lesions = [_lesion(*parts, labels) for parts in zip(range(1, len(drafts) + 1), drafts, steps, covers, strict=True)]
    return ImportedContours(volume=labels, lesions=tuple(lesions))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Draft:
    """An ROI's contours by slice index; ``step`` is the smallest step between two planes, 0 if it has only one."""

    name: str
    roi_number: int
    colour_rgb: tuple[int, int, int] | None
    planes: Mapping[int, Sequence[Contour]]
    step: int
    ignored: int


def _chosen(structures: Dataset, names: str) -> list[Dataset]:
    try:
        pattern = re.compile(names, re.IGNORECASE)
    except re.error as error:
        raise InvalidStudyError(f"The name pattern {names!r} is no regular expression: {error}.") from error
    rois = list(structures.get("StructureSetROISequence") or [])
    found = [roi for roi in rois if pattern.search(text(roi, "ROIName"))]
    if not found:
        present = ", ".join(repr(text(roi, "ROIName")) for roi in rois) or "none"
        raise InvalidStudyError(f"No ROI's name matches {names!r}; the RTSTRUCT has: {present}.")
    return found


def _draft(roi: Dataset, structures: Dataset, series: SeriesVolume) -> _Draft:
    name, number = text(roi, "ROIName"), int(roi.ROINumber)
    frame = text(roi, "ReferencedFrameOfReferenceUID")
    if frame != series.volume.frame_of_reference_uid:
        raise InvalidGeometryError(
            f"ROI {name!r} lies in the frame of reference {frame or 'without UID'}, the series in "
            f"{series.volume.frame_of_reference_uid}; give the series that it was drawn on."
        )
    item = _contours_of(structures, number, name)
    planes, ignored = _planes(item.ContourSequence, series, name)
    colour = item.get("ROIDisplayColor")
    return _Draft(
        name=name,
        roi_number=number,
        colour_rgb=None if colour is None else (int(colour[0]), int(colour[1]), int(colour[2])),
        planes=planes,
        step=int(min(np.diff(sorted(planes)), default=0)),
        ignored=ignored,
    )


def _planes(contours: Sequence[Dataset], series: SeriesVolume, name: str) -> tuple[dict[int, list[Contour]], int]:
    """Return an ROI's contours by slice index, and how many were left out because they have fewer than three points."""
    planes: dict[int, list[Contour]] = defaultdict(list)
    for one in contours:
        _check_source(one, series, name)
        kind, points = _kind(one, name), _points(one, name)
        if len(points) >= 3:
            indices = series.volume.map_reference_to_indices(points)
            planes[_slice_of(indices, series.volume, name)].append(Contour(points=indices[:, 1:], kind=kind))
    kept = sum(map(len, planes.values()))
    if not kept:
        raise InvalidStudyError(f"ROI {name!r} encloses nothing: none of its {len(contours)} contours has 3 points.")
    return planes, len(contours) - kept


def _contours_of(structures: Dataset, number: int, name: str) -> Dataset:
    items: Sequence[Dataset] = structures.get("ROIContourSequence") or []
    for item in items:
        if int(item.ReferencedROINumber) == number and item.get("ContourSequence"):
            return item
    raise InvalidStudyError(f"ROI {name!r} has no contours; choose another name pattern.")


def _check_source(contour: Dataset, series: SeriesVolume, name: str) -> None:
    named = [text(image, "ReferencedSOPInstanceUID") for image in contour.get("ContourImageSequence") or []]
    if named and not set(named) & set(series.sop_instance_uids):
        raise InvalidGeometryError(
            f"ROI {name!r} was drawn on another series: its image {named[0]} is not among the "
            f"{len(series.sop_instance_uids)} of this one; give the series that it was drawn on."
        )


def _kind(contour: Dataset, name: str) -> str:
    kind = text(contour, "ContourGeometricType")
    if kind not in {CLOSED, EXCLUSIVE_OR}:
        raise InvalidStudyError(
            f"ROI {name!r} has a contour of the type {kind!r}, which encloses no volume; choose the names of ROIs with"
            f" {CLOSED} contours."
        )
    if any(float(value) for value in contour.get("ContourOffsetVector") or []):
        raise InvalidGeometryError(
            f"A contour of ROI {name!r} is shifted by {list(contour.ContourOffsetVector)} mm (Contour Offset Vector,"
            " retired); write the structure set without it."
        )
    return kind


def _points(contour: Dataset, name: str) -> Points:
    values = np.array([float(value) for value in contour.get("ContourData") or []])
    stated = contour.get("NumberOfContourPoints")
    if values.size % 3 or (stated is not None and int(stated) * 3 != values.size):
        raise InvalidStudyError(
            f"A contour of ROI {name!r} has {values.size} coordinates for {stated} points; it is damaged."
        )
    return values.reshape(-1, 3)


def _slice_of(indices: Points, volume: Volume, name: str) -> int:
    """Return the slice that all points lie on, told by their continuous (slice, row, column) indices, (n, 3).

    Raises
    ------
    InvalidGeometryError
        They lie on none, or outside the image.
    """
    lowest, highest = indices.min(0), indices.max(0)
    spacing = volume.spacing
    if highest[0] - lowest[0] > 2 * PLANE_TOLERANCE:
        raise InvalidGeometryError(
            f"A contour of ROI {name!r} is not parallel to the slices: it reaches through "
            f"{(highest[0] - lowest[0]) * spacing[0]:.2f} mm along their normal; give the series that it was drawn on."
        )
    place = float(lowest[0] + highest[0]) / 2
    nearest = round(place)
    if abs(place - nearest) > PLANE_TOLERANCE:
        raise InvalidGeometryError(
            f"A contour of ROI {name!r} lies between the slices: {abs(place - nearest) * spacing[0]:.2f} mm from the "
            f"nearest one (spacing {spacing[0]:.2f} mm); give the series that it was drawn on."
        )
    last = np.array(volume.spatial_shape) - 1
    if not 0 <= nearest <= last[0] or (lowest[1:] < -0.5).any() or (highest[1:] > last[1:] + 0.5).any():
        raise InvalidGeometryError(
            f"A contour of ROI {name!r} reaches outside the image: indices {np.round(lowest, 1)} to "
            f"{np.round(highest, 1)} of at most {last}; give the series that it was drawn on."
        )
    return nearest


def _cover(draft: _Draft, step: int, volume: Volume) -> Cover:
    found = cover(draft.planes, step=step, volume=volume)
    if not len(found.voxels):
        raise InvalidStudyError(f"ROI {draft.name!r} encloses nothing: its contours have no area.")
    return found


def _lesion(number: int, draft: _Draft, step: int, whole: Cover, labels: Volume) -> ContouredLesion:
    return ContouredLesion(
        number=number,
        name=draft.name,
        roi_number=draft.roi_number,
        colour_rgb=draft.colour_rgb,
        volume_mm3=float((labels.array == number).sum()) * labels.voxel_volume,
        contour_volume_mm3=whole.volume_voxels * labels.voxel_volume,
        contour_spacing_mm=step * labels.spacing[0],
        gaps=int((np.diff(sorted(draft.planes)) > step).sum()),
        ignored_contours=draft.ignored,
    )


def _check_distinct(one: _Draft, first: Cover, other: _Draft, second: Cover) -> None:
    smaller = min(len(first.voxels), len(second.voxels))
    shared = len(np.intersect1d(first.voxels, second.voxels)) / smaller
    if shared > SAME_LESION:
        raise InvalidStudyError(
            f"ROIs {one.name!r} and {other.name!r} are largely the same place: {shared:.0%} of the smaller one lies in "
            "the other; choose a name pattern that matches only one of them."
        )


def _labelled(covers: Sequence[Cover], volume: Volume) -> Volume:
    """Give every voxel the number of its structure; one that two claim goes to the one that covers it more."""
    labels = np.zeros(volume.spatial_shape, np.uint16)
    best = np.zeros(volume.spatial_shape, np.float32)
    for number, one in enumerate(covers, start=1):
        won = one.shares > best.flat[one.voxels]
        labels.flat[one.voxels[won]] = number
        best.flat[one.voxels[won]] = one.shares[won]
    return volume.with_array(labels)
