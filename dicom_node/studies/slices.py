"""Whether a series is a regular volume, told by its headers alone; every refusal names the values that it found.

Tolerances: direction cosines 0.001 (0.06 degrees), slice places 5 % of the spacing (at least 0.05 mm) from an even
row, sideways drift over the whole stack half a pixel, pixel spacing 0.1 %. Gaps between slices are normal: the
spacing of the centres may exceed the slice thickness. Slices missing at an end of the stack cannot be noticed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_node.errors import InvalidGeometryError
from dicom_node.studies.enhanced import frame_datasets, is_enhanced
from dicom_node.studies.headers import Header, text, whole_number

COSINE_TOLERANCE = 1e-3
PLACE_TOLERANCE = 0.05
MINIMUM_PLACE_TOLERANCE_MM = 0.05
DRIFT_TOLERANCE_PIXELS = 0.5
PIXEL_SPACING_TOLERANCE = 1e-3
SAME_PLACE_MM = 0.01
NAMED_GAPS = 5

# What may legitimately differ between images at one place, and how a person calls such a series.
REPEATING_ATTRIBUTES = {
    "EchoTime": "a multi-echo series: echo times",
    "DiffusionBValue": "a diffusion series: b-values",
    "InversionTime": "a series with several inversion times:",
    "TemporalPositionIdentifier": "a dynamic series: temporal positions",
    "ImageType": "a series of several image types:",
    "AcquisitionNumber": "a series of several acquisitions:",
    "AcquisitionTime": "a dynamic series: acquisition times",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """One slice: where it lies, and in which file."""

    path: Path
    sop_instance_uid: str
    frame_number: int
    position_mm: NDArray[np.float64]
    cosines: NDArray[np.float64]
    grid: tuple[int, int]
    spacing_mm: tuple[float, float]
    dataset: Dataset

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit normal of the slice: row direction × column direction."""
        return np.asarray(np.cross(self.cosines[:3], self.cosines[3:]), dtype=np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class SliceStack:
    """Slices of a regular volume in order along their normal.

    Attributes
    ----------
    slices
        At least two, evenly spaced, in rising order along ``normal``.
    spacing_mm
        Distance of the centres of neighbouring slices.
    """

    slices: tuple[Slice, ...]
    spacing_mm: float


def stack_slices(headers: Sequence[Header]) -> SliceStack:
    """Order the slices of a series, or say why they are no regular volume.

    Parameters
    ----------
    headers
        Of all instances of one series, classic or Enhanced MR.

    Raises
    ------
    InvalidGeometryError
        A file is truncated, an attribute is missing, or the slices differ in frame of reference, orientation, matrix
        or pixel spacing, lie at the same place, unevenly, askew, or with slices missing between them.
    """
    _check_files(headers)
    slices = [one for header in headers for one in _slices(header)]
    if len(slices) < 2:
        raise InvalidGeometryError(f"it has {len(slices)} slice; a volume needs at least 2.")
    _check_frame_of_reference(headers)
    _check_axes(slices[0])
    _check_alike(slices)
    normal = slices[0].normal
    slices.sort(key=lambda one: float(one.position_mm @ normal))
    _check_repeats(slices)
    spacing = _check_places(slices)
    _check_drift(slices)
    return SliceStack(slices=tuple(slices), spacing_mm=spacing)


def _check_files(headers: Sequence[Header]) -> None:
    for header in headers:
        if header.defect:
            uid = text(header.dataset, "SOPInstanceUID")
            raise InvalidGeometryError(f"instance {uid}: {header.defect}; send it again.")
    if len(headers) > 1 and any(is_enhanced(header.dataset) for header in headers):
        raise InvalidGeometryError(f"it has {len(headers)} multi-frame instances; one volume per series is expected.")


def _slices(header: Header) -> list[Slice]:
    uid = text(header.dataset, "SOPInstanceUID")
    found = []
    for index, frame in enumerate(frame_datasets(header.dataset), start=1):
        found.append(
            Slice(
                path=header.path,
                sop_instance_uid=uid,
                frame_number=index,
                position_mm=_vector(frame, "ImagePositionPatient", 3, uid),
                cosines=_vector(frame, "ImageOrientationPatient", 6, uid),
                grid=(whole_number(frame, "Rows") or 0, whole_number(frame, "Columns") or 0),
                spacing_mm=_spacing(frame, uid),
                dataset=frame,
            )
        )
    return found


def _vector(dataset: Dataset, keyword: str, length: int, uid: str) -> NDArray[np.float64]:
    values: Any = dataset.get(keyword)
    if not values or len(values) != length:
        raise InvalidGeometryError(f"instance {uid} has no {keyword} with {length} values.")
    return np.array([float(value) for value in values])


def _spacing(dataset: Dataset, uid: str) -> tuple[float, float]:
    down, across = _vector(dataset, "PixelSpacing", 2, uid)
    if not (down > 0 and across > 0):
        raise InvalidGeometryError(f"instance {uid} has the pixel spacing {down:g} × {across:g} mm.")
    return float(down), float(across)


def _check_frame_of_reference(headers: Sequence[Header]) -> None:
    uids = Counter(text(header.dataset, "FrameOfReferenceUID") for header in headers)
    if "" in uids:
        raise InvalidGeometryError(f"{uids['']} of {len(headers)} instances name no frame of reference.")
    if len(uids) > 1:
        counts = ", ".join(f"{uid} ({count} instances)" for uid, count in uids.most_common())
        raise InvalidGeometryError(f"its instances lie in {len(uids)} frames of reference: {counts}.")


def _check_axes(first: Slice) -> None:
    row, column = first.cosines[:3], first.cosines[3:]
    if abs(float(row @ column)) > COSINE_TOLERANCE:
        angle = np.degrees(np.arccos(np.clip(row @ column, -1, 1)))
        raise InvalidGeometryError(f"its rows and columns are not orthogonal: they meet at {angle:.2f} degrees.")
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(length - 1) for length in lengths) > COSINE_TOLERANCE:
        raise InvalidGeometryError(
            f"its direction cosines have the lengths {lengths[0]:.4f} and {lengths[1]:.4f}, not 1."
        )


def _check_alike(slices: Sequence[Slice]) -> None:
    first = slices[0]
    grids = Counter(f"{one.grid[0]} × {one.grid[1]}" for one in slices)
    if len(grids) > 1:
        found = ", ".join(f"{grid} ({count})" for grid, count in grids.most_common())
        raise InvalidGeometryError(f"its slices differ in rows × columns: {found}.")
    turned = [one for one in slices if np.abs(one.cosines - first.cosines).max() > COSINE_TOLERANCE]
    if turned:
        angle = max(_angle_degrees(first.normal, one.normal) for one in turned)
        raise InvalidGeometryError(
            f"its slices differ in orientation: {len(turned)} of {len(slices)} are turned against the first, "
            f"their normals by up to {angle:.1f} degrees."
        )
    for one in slices:
        if not np.allclose(one.spacing_mm, first.spacing_mm, rtol=PIXEL_SPACING_TOLERANCE):
            a, b = first.spacing_mm, one.spacing_mm
            raise InvalidGeometryError(f"its pixel spacing differs: {a[0]:g} × {a[1]:g} and {b[0]:g} × {b[1]:g} mm.")


def _angle_degrees(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    return float(np.degrees(np.arccos(np.clip(first @ second, -1, 1))))


def _check_repeats(slices: Sequence[Slice]) -> None:
    places = _places(slices)
    repeated = [(a, b) for (a, b), step in zip(pairwise(slices), np.diff(places), strict=True) if step < SAME_PLACE_MM]
    if not repeated:
        return
    first, second = repeated[0]
    kind = _kind_of_repeat(slices, first, second)
    raise InvalidGeometryError(
        f"{len(repeated)} of {len(slices)} images lie at the place of another one (the first at "
        f"{float(first.position_mm @ slices[0].normal):.2f} mm along the normal): {kind}."
    )


def _kind_of_repeat(slices: Sequence[Slice], first: Slice, second: Slice) -> str:
    for keyword, kind in REPEATING_ATTRIBUTES.items():
        if text(first.dataset, keyword) != text(second.dataset, keyword):
            values = sorted({text(one.dataset, keyword) for one in slices})
            shown = ", ".join(values[:4]) + (f" and {len(values) - 4} more" if len(values) > 4 else "")
            return f"it is {kind} {shown}"
    return "the same slice twice, under different SOP Instance UIDs"


def _places(slices: Sequence[Slice]) -> NDArray[np.float64]:
    """Return distances along the normal from the first slice, in mm."""
    positions = np.array([one.position_mm for one in slices])
    return np.asarray((positions - positions[0]) @ slices[0].normal)


def _check_places(slices: Sequence[Slice]) -> float:
    """Return the spacing of evenly spaced slices; tell missing ones from an uneven row."""
    places = _places(slices)
    steps = np.diff(places)
    smallest = float(steps[steps < 1.5 * steps.min()].mean())
    multiples = np.round(steps / smallest)
    if multiples.max() > 1 and np.abs(steps / smallest - multiples).max() < 2 * PLACE_TOLERANCE:
        raise InvalidGeometryError(_missing(slices, steps, multiples.astype(int), smallest))
    spacing = float(places[-1] / (len(places) - 1))
    deviation = float(np.abs(places - spacing * np.arange(len(places))).max())
    if deviation > max(PLACE_TOLERANCE * spacing, MINIMUM_PLACE_TOLERANCE_MM):
        raise InvalidGeometryError(
            f"its slices are spaced unevenly: from {steps.min():.3f} to {steps.max():.3f} mm, "
            f"up to {deviation:.3f} mm from an even row of {spacing:.3f} mm."
        )
    return spacing


def _missing(slices: Sequence[Slice], steps: NDArray[np.float64], multiples: NDArray[np.int_], spacing: float) -> str:
    count = int((multiples - 1).sum())
    start = float(slices[0].position_mm @ slices[0].normal)
    edges = start + np.concatenate([[0.0], np.cumsum(steps)])
    gaps = [f"{edges[i]:.2f} and {edges[i + 1]:.2f} mm" for i in np.flatnonzero(multiples > 1)]
    more = f" and in {len(gaps) - NAMED_GAPS} more gaps" if len(gaps) > NAMED_GAPS else ""
    slices_are = "1 slice is" if count == 1 else f"{count} slices are"
    between = "; ".join(gaps[:NAMED_GAPS])
    return (
        f"{slices_are} missing (spacing {spacing:.2f} mm): between {between}{more} along the normal; "
        "send the whole series."
    )


def _check_drift(slices: Sequence[Slice]) -> None:
    """Refuse a stack that leans, like that of a tilted gantry: its voxels are no boxes."""
    positions = np.array([one.position_mm for one in slices])
    span = positions - positions[0]
    sideways = span - np.outer(span @ slices[0].normal, slices[0].normal)
    drift = float(np.linalg.norm(sideways, axis=1).max())
    if drift > DRIFT_TOLERANCE_PIXELS * min(slices[0].spacing_mm):
        angle = np.degrees(np.arctan2(drift, abs(float(span[-1] @ slices[0].normal))))
        raise InvalidGeometryError(
            f"its axes are not orthogonal: the slices drift sideways by {drift:.2f} mm over the stack, "
            f"{angle:.2f} degrees from their normal, as with a tilted gantry."
        )
