"""Where lesions lie in the current study's space, as voxels of one lattice: all points with whole LPS millimetres.

One lattice for both studies makes overlaps and gaps comparable, whatever the grids of the studies. Masks are carried
over softly, one by one, since label maps warped as a whole lose small lesions. Volumes never come from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
Pair = tuple[int, int]

VOXEL_MM = 1.0  # of the lattice
CORNERS = np.indices((2, 2, 2)).reshape(3, 8).T.astype(bool)
MARGIN_MM = 3.0  # how much further than its carried corners a deformed lesion may reach


class Cloud:
    """The points of one lesion, with what is costly to work out kept.

    Parameters
    ----------
    points
        Lattice points inside, shape (n, 3), at least one; LPS mm.
    """

    def __init__(self, points: FloatArray) -> None:
        self.points = points
        self.low, self.high = points.min(axis=0), points.max(axis=0)

    @cached_property
    def tree(self) -> KDTree:
        """Search tree of the points."""
        return KDTree(self.points)


@dataclass(frozen=True, kw_only=True, eq=False)
class Site:
    """The place of a lesion in the current study's space.

    Attributes
    ----------
    centroid_mm
        Its centre, LPS mm.
    volume_mm3
        Measured in its own study, never here.
    cloud
        Its points before ``shift_mm``.
    sigma_mm
        One standard deviation of the length of its misplacement; 0 for the current study's own lesions.
    shift_mm
        How far it was moved since it was placed.
    """

    centroid_mm: FloatArray
    volume_mm3: float
    cloud: Cloud
    sigma_mm: float = 0.0
    shift_mm: FloatArray = field(default_factory=lambda: np.zeros(3))

    @property
    def points(self) -> FloatArray:
        """Points inside, LPS mm, shape (n, 3)."""
        return self.cloud.points + self.shift_mm

    @property
    def radius_mm(self) -> float:
        """Radius of the sphere with its volume."""
        return ball_radius_mm(self.volume_mm3)

    @property
    def box(self) -> tuple[FloatArray, FloatArray]:
        """Lowest and highest coordinates of its points."""
        return self.cloud.low + self.shift_mm, self.cloud.high + self.shift_mm

    def distances_mm(self, points: FloatArray, *, limit_mm: float = np.inf, norm: float = 2.0) -> FloatArray:
        """Distance from points (n, 3) to the nearest of the site's; infinite beyond the limit."""
        nearest, _ = self.cloud.tree.query(points - self.shift_mm, p=norm, distance_upper_bound=limit_mm)
        return np.asarray(nearest)

    def moved(self, shift_mm: FloatArray, sigma_mm: float) -> "Site":
        """Return the site moved by a vector, its place now known to within another error."""
        return replace(
            self,
            centroid_mm=self.centroid_mm + shift_mm,
            shift_mm=self.shift_mm + shift_mm,
            sigma_mm=sigma_mm,
        )


def ball_radius_mm(volume_mm3: float) -> float:
    """Radius of the sphere of this volume, mm."""
    return float(np.cbrt(3 * volume_mm3 / (4 * np.pi)))


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
    found = find_objects(labels.array.astype(np.int32, copy=False))
    boxes = [_box(found, lesion.number) for lesion in lesions]
    centroids = transform.to_fixed([lesion.centroid_mm for lesion in lesions])
    grid = _Grid(labels, transform)
    sites = []
    for lesion, centroid_mm, box, corners_mm in zip(lesions, centroids, boxes, grid.corners_mm(boxes), strict=True):
        points, volume_mm3 = grid.soft_mask(lesion.number, box, corners_mm), lesion.total_volume_mm3
        if len(points):
            sites.append(Site(centroid_mm=centroid_mm, volume_mm3=volume_mm3, cloud=Cloud(points)))
        else:  # smaller than the lattice
            sites.append(ball_at(centroid_mm, volume_mm3))
    return tuple(sites)


def ball_at(centre_mm: FloatArray, volume_mm3: float, *, sigma_mm: float = 0.0) -> Site:
    """Place a lesion of which only centre and volume are known: a ball, at least the lattice point nearest to it."""
    radius_mm = ball_radius_mm(volume_mm3)
    nearest = np.rint(centre_mm)
    reach = int(np.ceil(radius_mm))
    around = nearest + np.indices((2 * reach + 1,) * 3).reshape(3, -1).T - reach
    inside = np.linalg.norm(around - centre_mm, axis=1) <= radius_mm
    inside |= (around == nearest).all(axis=1)
    return Site(centroid_mm=centre_mm, volume_mm3=volume_mm3, cloud=Cloud(around[inside]), sigma_mm=sigma_mm)


def near_pairs(first: Sequence[Site], second: Sequence[Site], limit_mm: float) -> tuple[Pair, ...]:
    """Places (in ``first``, in ``second``) of sites whose boxes are at most so far apart; no others can be nearer."""
    if not first or not second:
        return ()
    low, high = (np.array([site.box[end] for site in first]) for end in (0, 1))
    other_low, other_high = (np.array([site.box[end] for site in second]) for end in (0, 1))
    free = np.maximum(low[:, None] - other_high, other_low - high[:, None]).max(axis=2)
    rows, columns = np.nonzero(free <= limit_mm + 1)
    return tuple(zip(rows.tolist(), columns.tolist(), strict=True))


def shared_points(first: Site, second: Site) -> int:
    """Lattice points that lie in both sites."""
    return int((second.distances_mm(first.points, limit_mm=1.0, norm=np.inf) <= 0.5).sum())


def part_within(inner: Site, outer: Site, distance_mm: float, *, shift_mm: FloatArray | float = 0.0) -> float:
    """Part of the inner site, moved by a vector, that lies inside the outer one or so near to its surface, 0 to 1."""
    nearest = outer.distances_mm(inner.points + shift_mm, limit_mm=distance_mm + 1)
    return float((nearest <= distance_mm + VOXEL_MM / 2).mean())


def covers(volume: Volume, point_mm: FloatArray) -> bool:
    """Whether a point (LPS mm) of the volume's own study lies inside its field of view."""
    index = volume.inverse_affine[:3, :3] @ point_mm + volume.inverse_affine[:3, 3]
    return bool(np.all(index >= -0.5) and np.all(index <= np.array(volume.spatial_shape) - 0.5))


def _box(boxes: Sequence[Box | None], number: int) -> Box:
    box = boxes[number - 1] if 0 < number <= len(boxes) else None
    if box is None:
        raise ValueError(f"Lesion number {number} is not in the label volume; pass the volume that was measured.")
    return box


class _Grid:
    """The voxels of a study, with the matrices between its indices and the current study's points kept."""

    def __init__(self, labels: Volume, transform: Transform) -> None:
        self.labels = labels
        self.transform = transform
        self.to_patient = labels.affine
        self.to_index = labels.inverse_affine

    def corners_mm(self, boxes: Sequence[Box]) -> FloatArray:
        """Return the corners of boxes in the current study's space, shape (n, 8, 3)."""
        low = np.array([[axis.start for axis in box] for box in boxes]).reshape(-1, 1, 3)
        high = np.array([[axis.stop for axis in box] for box in boxes]).reshape(-1, 1, 3)
        corners = np.where(CORNERS, high, low) - 0.5
        return self.transform.to_fixed(_apply(self.to_patient, corners.reshape(-1, 3))).reshape(-1, 8, 3)

    def soft_mask(self, number: int, box: Box, corners_mm: FloatArray) -> FloatArray:
        """Lattice points of the current study at which a lesion's mask, sampled linearly, is above one half."""
        low = np.array([axis.start for axis in box])
        mask = np.pad((self.labels.array[box] == number).astype(np.float32), 1)
        margin_mm = MARGIN_MM if self.transform.displacement is not None else 0.0
        first = np.floor(corners_mm.min(axis=0) - margin_mm).astype(int)
        last = np.ceil(corners_mm.max(axis=0) + margin_mm).astype(int)
        points = np.indices(last + 1 - first).reshape(3, -1).T + first
        indices = _apply(self.to_index, self.transform.to_moving(points)) - low + 1
        inside = map_coordinates(mask, indices.T, order=1, output=np.float32) > 0.5
        return np.asarray(points[inside], float)


def _apply(affine: FloatArray, points: FloatArray) -> FloatArray:
    moved: FloatArray = points @ affine[:3, :3].T + affine[:3, 3]
    return moved
