"""Diameters of a lesion, exact for the polygon (in plane) or polyhedron (3-D) that its voxels stand for.

Convention of the in-plane axes. A slice of a lesion is the convex hull of the midpoints of its pixels' edges, which
is where a contour at one half would cross them. The longest diameter is the largest distance between two points of
that hull on any slice; the perpendicular diameter is the longest chord of the same hull at a right angle to it, on
the same slice, as RANO-BM measures them (Lin et al., Lancet Oncol 2015). A lesion of one pixel is one pixel wide.
Mean error of the two axes in pixels, on turned ellipsoids 3 to 30 pixels long and 0.6 times as wide: edge midpoints
-0.3 to +0.5, pixel centres -1.2 to -0.5. Spheres come out up to 0.8 too long, as the longest of many equal chords.

The 3-D diameter is the same in space: hull of the midpoints of the voxels' faces.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from tracking.lesion import Axis
from tracking.measurement.label_map import FloatArray, to_patient

Chord = tuple[FloatArray, FloatArray]
Mask = NDArray[np.bool_]

TOLERANCE_MM = 1e-9


def in_plane_axes(mask: Mask, corner: NDArray[np.int64], affine: FloatArray) -> tuple[Axis, Axis]:
    """Return the longest diameter and its perpendicular, on the slice with the longest.

    Parameters
    ----------
    mask
        One lesion (i, j, k), i the image plane; at least one voxel.
    corner
        Index of the mask's first voxel in the volume that ``affine`` describes.
    affine
        From indices to LPS mm; rows and columns at right angles.
    """
    spacing_mm = np.linalg.norm(affine[:3, 1:3], axis=0)
    outlines = [
        _Outline(slice_index=int(corner[0]) + place, hull_mm=_hull_mm(np.argwhere(plane) + corner[1:], spacing_mm))
        for place, plane in enumerate(mask)
        if plane.any()
    ]
    chords = [_longest_chord(outline.hull_mm) for outline in outlines]
    best = int(np.argmax([np.linalg.norm(end - start) for start, end in chords]))
    perpendicular = _longest_chord_along(outlines[best].hull_mm, _right_angle(*chords[best]))
    return _axis(outlines[best], chords[best], affine), _axis(outlines[best], perpendicular, affine)


def longest_diameter_3d_mm(mask: Mask, affine: FloatArray) -> float:
    """Return the largest distance between two points of a lesion in any direction, mm.

    Parameters
    ----------
    mask
        One lesion (i, j, k); at least one voxel.
    affine
        From indices to LPS mm; axes at right angles.
    """
    surface = np.argwhere(mask & ~binary_erosion(mask))  # what lies inside is no corner of the hull
    hull_mm = _hull_mm(surface, np.linalg.norm(affine[:3, :3], axis=0))
    return float(pdist(hull_mm).max())


@dataclass(frozen=True, kw_only=True, eq=False)
class _Outline:
    """Convex hull of one slice: vertices in order, as (row, column) distances in mm from the first pixel's centre."""

    slice_index: int
    hull_mm: FloatArray


def _hull_mm(voxels: NDArray[np.int64], spacing_mm: FloatArray) -> FloatArray:
    """Return the vertices of the hull around the midpoints of all edges (pixels) or faces (voxels)."""
    steps = np.eye(voxels.shape[1]) / 2
    midpoints = np.unique((voxels[:, None, :] + np.concatenate((steps, -steps))).reshape(-1, voxels.shape[1]), axis=0)
    hull_mm: FloatArray = (midpoints * spacing_mm)[ConvexHull(midpoints * spacing_mm).vertices]
    return hull_mm


def _longest_chord(hull_mm: FloatArray) -> Chord:
    """Return the two farthest points of a hull, which are always two of its vertices.

    Rotating callipers would visit only opposite vertices; a slice of a lesion has some dozens of them at most, so all
    pairs in one call are exact too, and quicker.
    """
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
    spacing_mm = np.linalg.norm(affine[:3, 1:3], axis=0)
    start, end = (to_patient(affine, np.array((outline.slice_index, *(point / spacing_mm)))) for point in chord)
    length_mm = float(np.linalg.norm(np.subtract(end, start)))
    return Axis(start_mm=start, end_mm=end, length_mm=length_mm, slice_index=outline.slice_index)
