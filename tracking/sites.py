"""Where lesions lie in the current study's space, as voxels of one lattice: all points with whole LPS millimetres.

One lattice for both studies makes overlaps and gaps comparable, whatever the grids of the studies. Masks are carried
over softly, one by one, since label maps warped as a whole lose small lesions. Volumes never come from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy.ndimage import find_objects, map_coordinates
from scipy.spatial import KDTree

from tracking.lesion import Lesion
from tracking.registration.transform import Transform

FloatArray = NDArray[np.float64]
Box = tuple[slice, slice, slice]

MARGIN_MM = 3.0  # how much further than its carried corners a deformed lesion may reach
LATTICE_SPAN = 2**20  # lattice coordinates lie within half of it on either side


@dataclass(frozen=True, kw_only=True, eq=False)
class Site:
    """A lesion in the current study's space.

    Attributes
    ----------
    lesion
        The lesion as measured in its own study.
    centroid_mm
        Its centre in the current study's space, LPS mm.
    radius_mm
        Radius of the sphere with its native volume.
    voxels
        Lattice points inside, shape (n, 3), at least one.
    """

    lesion: Lesion
    centroid_mm: FloatArray
    radius_mm: float
    voxels: NDArray[np.int64]

    @cached_property
    def box(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Lowest and highest lattice coordinates."""
        return self.voxels.min(axis=0), self.voxels.max(axis=0)

    @cached_property
    def tree(self) -> KDTree:
        """Search tree of the voxels."""
        return KDTree(self.voxels)


def sites_of(lesions: Sequence[Lesion], labels: Volume, carried_by: Transform | None = None) -> tuple[Site, ...]:
    """Place lesions on the lattice.

    Parameters
    ----------
    lesions, labels
        Lesions of one study and the volume that holds their numbers.
    carried_by
        For a prior study, the transform from the current study to it; None for the current study itself.

    Raises
    ------
    ValueError
        If a lesion's number is not in the label volume.
    """
    transform = carried_by or Transform(matrix=np.eye(4))
    boxes = find_objects(labels.array.astype(np.int32, copy=False))
    centroids = transform.to_fixed([lesion.centroid_mm for lesion in lesions])
    return tuple(
        _site(lesion, labels, _box(boxes, lesion.number), (transform, centroid))
        for lesion, centroid in zip(lesions, centroids, strict=True)
    )


def overlap(first: Site, second: Site) -> float:
    """Shared voxels over the voxels of the smaller site, 0 to 1."""
    shared = np.intersect1d(_keys(first.voxels), _keys(second.voxels), assume_unique=True).size
    return shared / min(len(first.voxels), len(second.voxels))


def gap_mm(first: Site, second: Site, limit_mm: float) -> float:
    """Free distance between the surfaces of two sites; 0 if they touch, infinite if beyond the limit."""
    low = np.maximum(first.box[0], second.box[0])
    high = np.minimum(first.box[1], second.box[1])
    if (low - high).max() > limit_mm + 1:  # the boxes are too far apart already
        return float("inf")
    nearest, _ = first.tree.query(second.voxels, distance_upper_bound=limit_mm + 1)
    return max(float(nearest.min()) - 1.0, 0.0)


def part_within(inner: Site, outer: Site, distance_mm: float) -> float:
    """Part of the inner site that lies inside the outer one or within a distance of its surface, 0 to 1."""
    nearest, _ = outer.tree.query(inner.voxels)
    return float((nearest - 0.5 <= distance_mm).mean())


def covers(volume: Volume, point_mm: FloatArray) -> bool:
    """Whether a point (LPS mm) of the volume's own study lies inside its field of view."""
    index = volume.inverse_affine[:3, :3] @ point_mm + volume.inverse_affine[:3, 3]
    return bool(np.all(index >= -0.5) and np.all(index <= np.array(volume.spatial_shape) - 0.5))


def _box(boxes: Sequence[Box | None], number: int) -> Box:
    box = boxes[number - 1] if 0 < number <= len(boxes) else None
    if box is None:
        raise ValueError(f"Lesion number {number} is not in the label volume; pass the volume that was measured.")
    return box


def _site(lesion: Lesion, labels: Volume, box: Box, carried: tuple[Transform, FloatArray]) -> Site:
    transform, centroid_mm = carried
    radius_mm = float(np.cbrt(3 * lesion.total_volume_mm3 / (4 * np.pi)))
    voxels = _soft_mask(lesion.number, labels, box, transform)
    if not len(voxels):  # smaller than the lattice
        voxels = _ball(centroid_mm, radius_mm)
    return Site(lesion=lesion, centroid_mm=centroid_mm, radius_mm=radius_mm, voxels=voxels)


def _soft_mask(number: int, labels: Volume, box: Box, transform: Transform) -> NDArray[np.int64]:
    """Lattice points of the current study at which the lesion's mask, sampled linearly, is above one half."""
    low = np.array([axis.start for axis in box])
    mask = np.pad((labels.array[box] == number).astype(np.float32), 1)
    corners = np.stack(np.meshgrid(*((axis.start - 0.5, axis.stop - 0.5) for axis in box), indexing="ij"), axis=-1)
    corners_mm = transform.to_fixed(_apply(labels.affine, corners.reshape(-1, 3)))
    margin_mm = MARGIN_MM if transform.displacement is not None else 0.0
    first = np.floor(corners_mm.min(axis=0) - margin_mm).astype(int)
    last = np.ceil(corners_mm.max(axis=0) + margin_mm).astype(int)
    points = np.stack(np.meshgrid(*map(np.arange, first, last + 1), indexing="ij"), axis=-1).reshape(-1, 3)
    indices = _apply(labels.inverse_affine, transform.to_moving(points)) - low + 1
    inside = map_coordinates(mask, indices.T, order=1, output=np.float32) > 0.5
    return np.asarray(points[inside], np.int64)


def _ball(centre_mm: FloatArray, radius_mm: float) -> NDArray[np.int64]:
    """Lattice points of a ball, at least the one nearest to its centre."""
    nearest = np.rint(centre_mm).astype(np.int64)
    reach = int(np.ceil(radius_mm))
    around = nearest + np.argwhere(np.ones((2 * reach + 1,) * 3)) - reach
    inside = np.linalg.norm(around - centre_mm, axis=1) <= radius_mm
    inside |= (around == nearest).all(axis=1)
    return np.asarray(around[inside])


def _apply(affine: FloatArray, points: FloatArray) -> FloatArray:
    moved: FloatArray = points @ affine[:3, :3].T + affine[:3, 3]
    return moved


def _keys(voxels: NDArray[np.int64]) -> NDArray[np.int64]:
    i, j, k = (voxels + LATTICE_SPAN // 2).T
    keys: NDArray[np.int64] = (i * LATTICE_SPAN + j) * LATTICE_SPAN + k
    return keys
