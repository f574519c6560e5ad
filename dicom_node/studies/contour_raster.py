"""How much of each voxel lies within contours, measured on a raster much finer than the voxels.

A contour stands for a slab, its area times the distance to the next contour. Points and boxes are in continuous indices
of the slices' grid: a pixel's centre is a whole number.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from highdicom import Volume
from matplotlib.path import Path as Polygon
from numpy.typing import NDArray

CLOSED, EXCLUSIVE_OR = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"
SAMPLE_MM = 0.1
SAMPLES_ACROSS = 600  # at most, for structures as large as a brain
NESTED = 0.95  # share of a contour that must lie in another one to be a hole in it


@dataclass(frozen=True, kw_only=True, eq=False)
class Contour:
    """A closed contour of one plane.

    Attributes
    ----------
    points
        Continuous (row, column) indices, (n, 2); the last is joined to the first.
    kind
        `CLOSED` or `EXCLUSIVE_OR`, the Contour Geometric Types of PS3.3 C.8.8.6.3.
    """

    points: NDArray[np.float64]
    kind: str = CLOSED


@dataclass(frozen=True, kw_only=True, eq=False)
class Cover:
    """The voxels that a structure touches, those that it covers most first.

    Attributes
    ----------
    voxels
        Flat indices into the volume, (n,).
    shares
        The share of each voxel that is covered, more than 0, at most 1, (n,).
    """

    voxels: NDArray[np.intp]
    shares: NDArray[np.float64]

    @property
    def volume_voxels(self) -> float:
        """The structure's volume in units of a voxel's."""
        return float(self.shares.sum())

    def filled(self) -> "Cover":
        """Return as many voxels as the volume fills, at least one: those that are covered most.

        A fixed threshold would let thin parts vanish and round parts grow; this keeps the volume within half a voxel.
        """
        number = max(1, round(self.volume_voxels))
        return Cover(voxels=self.voxels[:number], shares=self.shares[:number])


def cover(planes: Mapping[int, Sequence[Contour]], *, step: int, volume: Volume) -> Cover:
    """Measure how much of each voxel the slabs of a structure fill.

    Parameters
    ----------
    planes
        Contours by slice index.
    step
        Thickness of a slab in slices; of an even number, it ends in the middle of a slice.
    volume
        Grid, index order (slice, row, column); what lies beyond it is cut.
    """
    raster = _raster([contour.points for contours in planes.values() for contour in contours], volume)
    first, last = max(0, min(planes) - step), min(volume.spatial_shape[0] - 1, max(planes) + step)
    shares = np.zeros((last - first + 1, *(part.stop - part.start for part in raster.box)))
    for plane, contours in planes.items():
        area = raster.shrunk(_joined([(raster.inside(one.points), one.kind) for one in contours]))
        for place in range(first, last + 1):
            shares[place - first] += np.clip((step + 1) / 2 - abs(place - plane), 0, 1) * area
    return _sorted_cover(np.clip(shares, 0, 1), (first, raster.box[0].start, raster.box[1].start), volume)


def _sorted_cover(shares: NDArray[np.float64], start: tuple[int, int, int], volume: Volume) -> Cover:
    touched = np.argwhere(shares)
    values = shares[tuple(touched.T)]
    order = np.argsort(-values, kind="stable")
    voxels = np.ravel_multi_index(tuple((touched + start).T), volume.spatial_shape)
    return Cover(voxels=voxels[order], shares=values[order])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Raster:
    """A fine raster over rows and columns: ``samples`` fall along the height and the width of a pixel."""

    box: tuple[slice, slice]
    samples: tuple[int, int]

    def inside(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which samples lie in a polygon: an odd number of its edges on the way out."""
        lines = [
            np.arange(part.start * n, part.stop * n) / n + (1 / n - 1) / 2
            for part, n in zip(self.box, self.samples, strict=True)
        ]
        grid = np.stack(np.meshgrid(*lines, indexing="ij"), -1)
        return np.asarray(Polygon(points).contains_points(grid.reshape(-1, 2)).reshape(grid.shape[:2]))

    def shrunk(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the share of each pixel that is set."""
        down, across = self.samples
        blocks = mask.reshape(mask.shape[0] // down, down, mask.shape[1] // across, across)
        return np.asarray(blocks.mean((1, 3)))


def _raster(contours: Sequence[NDArray[np.float64]], volume: Volume) -> _Raster:
    points = np.concatenate(contours)
    first = np.maximum(np.floor(points.min(0) + 0.5), 0).astype(int)
    last = np.minimum(np.floor(points.max(0) + 0.5), np.array(volume.spatial_shape[1:]) - 1).astype(int)
    spacing = np.array(volume.spacing[1:])
    sample_mm = max(SAMPLE_MM, float(((last - first + 1) * spacing).max()) / SAMPLES_ACROSS)
    down, across = (max(1, int(np.ceil(step / sample_mm))) for step in spacing)
    rows, columns = (slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
    return _Raster(box=(rows, columns), samples=(down, across))


def _joined(contours: Sequence[tuple[NDArray[np.bool_], str]]) -> NDArray[np.bool_]:
    """Combine the contours of one plane: by exclusive or, or a contour within another one as a hole."""
    closed = [mask for mask, kind in contours if kind == CLOSED]
    joined = np.zeros_like(contours[0][0])
    for mask, kind in contours:
        if kind == EXCLUSIVE_OR:
            joined = joined ^ mask
    for mask in _without_copies(sorted(closed, key=np.sum, reverse=True)):
        hole = (mask & joined).sum() >= NESTED * mask.sum()
        joined = joined & ~mask if hole else joined | mask
    return joined


def _without_copies(masks: Iterable[NDArray[np.bool_]]) -> list[NDArray[np.bool_]]:
    kept: list[NDArray[np.bool_]] = []
    for mask in masks:
        if not any(np.array_equal(mask, other) for other in kept):
            kept.append(mask)
    return kept
