"""Size and place of each lesion, always on the voxels that the segmentation was made on, never on a warped mask.

Convention of the in-plane axes. A slice of a lesion is the convex hull of the midpoints of its pixels' edges, which
is where a contour at one half would cross them. The longest diameter is the largest distance between two points of
that hull on any slice; the perpendicular diameter is the longest chord of the same hull at a right angle to it, on
the same slice, as RANO-BM measures them (Lin et al., Lancet Oncol 2015). A lesion of one pixel is one pixel wide.
Mean error of the two axes in pixels, on turned ellipsoids 3 to 30 pixels long and 0.6 times as wide: edge midpoints
-0.3 to +0.5, pixel centres -1.2 to -0.5. Spheres come out up to 0.8 too long, as the longest of many equal chords.
"""

from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from tracking.lesion import Axis, Lesion, Point
from tracking.timepoint import Tissue

FloatArray = NDArray[np.float64]
Chord = tuple[FloatArray, FloatArray]
Box = tuple[slice, slice, slice]

# From a pixel's centre to the midpoints of its four edges, in pixels (row, column).
EDGE_MIDPOINTS = np.array([(0.5, 0.0), (-0.5, 0.0), (0.0, 0.5), (0.0, -0.5)])

TOLERANCE_MM = 1e-9

# How far a lesion's edge moves (one standard deviation) from one segmentation to the next on 1 mm voxels.
EDGE_ERROR_MM = 0.3
REFERENCE_SPACING_MM = 1.0
CONFIDENCE_FACTOR = 2.77  # 1.96 * sqrt(2): 95 % limit of the difference of two measurements (Bland and Altman)


def measure_lesions(labels: Volume, probability: Volume | None = None) -> tuple[Lesion, ...]:
    """Measure every lesion of a label volume in its native space.

    Parameters
    ----------
    labels
        Integers, index order (i, j, k) with i the image plane: 0 background, n the lesion with number n.
    probability
        Probability of lesion on the same grid, 0 to 1.

    Returns
    -------
    tuple of Lesion
        In order of their numbers; numbers without a voxel are left out. Volumes are whole lesions
        (`Tissue.ENHANCING`), as labels do not tell tissues apart.

    Raises
    ------
    ValueError
        If the labels are not integers, or the probabilities lie on another grid.
    """
    _check(labels, probability)
    boxes, counts, centroids = _statistics(labels.array)
    return tuple(
        _measure_one(labels, probability, number, boxes[number], centroids[number])
        for number in range(1, len(counts))
        if counts[number]
    )


def minimum_detectable_change_percent(diameter_mm: float, slice_spacing_mm: float) -> float:
    """Smallest relative increase of volume that is beyond the error of two measurements, per cent.

    A change is real only if ``|Δ ln V| > 2.77 σ``. A sphere whose edge is uncertain by ``e`` has
    ``σ = 6 e / d``; ``e`` is 0.3 mm on 1 mm voxels. Assumption: with thicker slices ``e`` grows as the edge of the
    cube that has the voxel's volume, ``e = 0.3 · max(slice spacing, 1)^(1/3)``, 0.51 mm at 5 mm. The coarser
    sampling of spheres alone adds 0.30 mm at 5 mm, so 0.42 mm in quadrature: the assumption is on the safe side.

    Parameters
    ----------
    diameter_mm
        Diameter of the smaller of the two measurements.
    slice_spacing_mm
        Distance between slices; of two studies the larger.

    Returns
    -------
    float
        For example 429 (× 5.3) at 3 mm and 28 (× 1.28) at 20 mm, with slices of 1 mm.

    Raises
    ------
    ValueError
        If a length is not positive.
    """
    if diameter_mm <= 0 or slice_spacing_mm <= 0:
        raise ValueError(f"Lengths must be positive, but the diameter is {diameter_mm} mm and the slice spacing "
                         f"{slice_spacing_mm} mm.")  # fmt: skip
    edge_mm = EDGE_ERROR_MM * max(slice_spacing_mm / REFERENCE_SPACING_MM, 1.0) ** (1 / 3)
    return float(100 * np.expm1(CONFIDENCE_FACTOR * 6 * edge_mm / diameter_mm))


def equivalent_diameter_mm(volume_mm3: float) -> float:
    """Diameter of the sphere of this volume, mm."""
    return float(np.cbrt(6 * volume_mm3 / np.pi))


def within_measurement_error(prior_mm3: float, current_mm3: float, slice_spacing_mm: float) -> bool:
    """Whether two volumes of a lesion differ by no more than two measurements of an unchanged lesion would.

    Parameters
    ----------
    prior_mm3, current_mm3
        Both larger than 0.
    slice_spacing_mm
        The larger spacing of the two studies.
    """
    smaller_mm3, larger_mm3 = sorted((prior_mm3, current_mm3))
    limit = minimum_detectable_change_percent(equivalent_diameter_mm(smaller_mm3), slice_spacing_mm)
    return 100 * (larger_mm3 / smaller_mm3 - 1) <= limit


def _check(labels: Volume, probability: Volume | None) -> None:
    if not np.issubdtype(labels.array.dtype, np.integer):
        raise ValueError(f"Lesion labels must be integers, but their type is {labels.array.dtype}.")
    if labels.array.max(initial=0) >= labels.array.size:
        raise ValueError(f"Lesion number {labels.array.max()} is larger than the number of voxels; renumber from 1.")
    if probability is not None and not probability.geometry_equal(labels):
        raise ValueError("Probabilities must lie on the grid of the lesion labels; resample them first.")


def _statistics(labels: NDArray[np.generic]) -> tuple[list[Box], NDArray[np.unsignedinteger[Any]], FloatArray]:
    # cc3d reads unsigned integers only.
    statistics = cc3d.statistics(np.ascontiguousarray(labels).astype(np.uint32, copy=False))
    return statistics["bounding_boxes"], statistics["voxel_counts"], statistics["centroids"]


def _measure_one(labels: Volume, probability: Volume | None, number: int, box: Box, centroid: FloatArray) -> Lesion:
    mask = labels.array[box] == number
    longest, perpendicular = _axes(mask, box, labels.affine)
    inside = None if probability is None else float(probability.array[box][mask].mean(dtype=np.float64))
    return Lesion(
        number=number,
        centroid_mm=_point(labels.affine, centroid),
        volume_mm3={Tissue.ENHANCING: float(mask.sum() * labels.voxel_volume)},
        longest_diameter=longest,
        perpendicular_diameter=perpendicular,
        mean_probability=inside,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Outline:
    """Convex hull of one slice: vertices in order, as (row, column) distances in mm from the first pixel's centre."""

    slice_index: int
    hull_mm: FloatArray


def _axes(mask: NDArray[np.bool_], box: Box, affine: FloatArray) -> tuple[Axis, Axis]:
    spacing_mm = np.linalg.norm(affine[:3, 1:3], axis=0)  # rows and columns are at right angles
    corner = np.array((box[1].start, box[2].start))
    outlines = [
        _Outline(slice_index=index, hull_mm=_hull(np.argwhere(plane) + corner, spacing_mm))
        for index, plane in enumerate(mask, start=box[0].start)
        if plane.any()
    ]
    chords = [_longest_chord(outline.hull_mm) for outline in outlines]
    best = int(np.argmax([np.linalg.norm(end - start) for start, end in chords]))
    perpendicular = _longest_chord_along(outlines[best].hull_mm, _right_angle(*chords[best]))
    return _axis(outlines[best], chords[best], affine), _axis(outlines[best], perpendicular, affine)


def _hull(pixels: NDArray[np.int64], spacing_mm: FloatArray) -> FloatArray:
    points_mm = (pixels[:, None, :] + EDGE_MIDPOINTS).reshape(-1, 2) * spacing_mm
    hull_mm: FloatArray = points_mm[ConvexHull(points_mm).vertices]
    return hull_mm


def _longest_chord(hull_mm: FloatArray) -> Chord:
    """Return the two farthest points of a hull: always two of its vertices, so trying all pairs is exact."""
    distances = squareform(pdist(hull_mm))
    start, end = np.unravel_index(int(distances.argmax()), distances.shape)
    return hull_mm[start], hull_mm[end]


def _right_angle(start: FloatArray, end: FloatArray) -> FloatArray:
    along = (end - start) / np.linalg.norm(end - start)
    return np.array((-along[1], along[0]))


def _longest_chord_along(hull_mm: FloatArray, direction: FloatArray) -> Chord:
    """Return the longest chord with this direction; one end of it is always a vertex, so each vertex is tried."""
    across = np.array((direction[1], -direction[0]))
    offset, height = hull_mm @ across, hull_mm @ direction
    edges = np.column_stack((offset, height)), np.column_stack((np.roll(offset, -1), np.roll(height, -1)))
    lengths = [np.ptp(_crossings(*edges, position)) for position in offset]
    position = offset[int(np.argmax(lengths))]
    crossings = _crossings(*edges, position)
    low, high = (position * across + height * direction for height in (crossings.min(), crossings.max()))
    return low, high


def _crossings(start: FloatArray, end: FloatArray, position: float) -> FloatArray:
    """Heights at which the edges (offset, height) of a hull cross the line of this offset."""
    low, high = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    met = (low - TOLERANCE_MM <= position) & (position <= high + TOLERANCE_MM)
    run = end[met, 0] - start[met, 0]
    upright = np.abs(run) < TOLERANCE_MM
    part = np.where(upright, 0.0, (position - start[met, 0]) / np.where(upright, 1.0, run))
    heights = start[met, 1] + part * (end[met, 1] - start[met, 1])
    return np.concatenate((heights, end[met][upright, 1]))


def _axis(outline: _Outline, chord: Chord, affine: FloatArray) -> Axis:
    start, end = (_in_patient(affine, outline.slice_index, point_mm) for point_mm in chord)
    length_mm = float(np.linalg.norm(np.subtract(end, start)))
    return Axis(start_mm=start, end_mm=end, length_mm=length_mm, slice_index=outline.slice_index)


def _in_patient(affine: FloatArray, slice_index: int, point_mm: FloatArray) -> Point:
    row, column = point_mm / np.linalg.norm(affine[:3, 1:3], axis=0)
    return _point(affine, np.array((slice_index, row, column)))


def _point(affine: FloatArray, index: FloatArray) -> Point:
    x, y, z = affine[:3, :3] @ index + affine[:3, 3]
    return float(x), float(y), float(z)
