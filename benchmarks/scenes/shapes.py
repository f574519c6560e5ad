"""Forms of lesions: each is a signed distance on a small cube, so that growing and shrinking are one subtraction."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cc3d
import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

CUBE = 41  # voxels along an edge
SMALLEST_PART = 40  # voxels of the cube: parts of a split below this are debris
TUMOUR_CORE = (1, 3)  # non-enhancing core and enhancing tumour of the expert label maps
SMALLEST_REAL_VOXELS = 30


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """A form without size.

    Attributes
    ----------
    distance
        Signed distance to the surface in voxels of the cube, negative inside; its middle is the form's centre.
    volume
        Voxels of the cube inside.
    reach
        Largest distance of a voxel inside from the middle.
    """

    distance: NDArray[np.float32]
    volume: float
    reach: float

    @classmethod
    def of(cls, mask: Mask) -> "Shape":
        """Build the form of a mask, centred on its centre of mass."""
        where = np.argwhere(mask)
        shift = np.rint((np.array(mask.shape) - 1) // 2 - where.mean(axis=0)).astype(int)
        about = where + shift - (np.array(mask.shape) - 1) // 2
        half = int(np.abs(about).max()) + 3
        centred = np.zeros((2 * half + 1,) * 3, bool)
        centred[tuple((about + half).T)] = True
        outside, inside = distance_transform_edt(~centred), distance_transform_edt(centred)
        return cls(
            distance=(outside - inside).astype(np.float32),
            volume=float(len(where)),
            reach=float(np.linalg.norm(about, axis=1).max()) + 1,
        )

    def at(self, points: FloatArray) -> FloatArray:
        """Signed distance at points (n, 3) about the centre, in voxels of the cube; beyond it, at least so far."""
        middle = (np.array(self.distance.shape) - 1) / 2
        held = np.clip(points, -middle, middle)
        inside = map_coordinates(self.distance, (held + middle).T, order=1, output=float)
        return np.asarray(inside + np.linalg.norm(points - held, axis=1))

    @cached_property
    def parts(self) -> tuple[tuple["Shape", FloatArray], ...]:
        """Erode until the form breaks: each part with its centre about this one's; none if it never breaks."""
        for depth in np.arange(0.5, -float(self.distance.min()), 0.5):
            labels, _ = cc3d.connected_components(self.distance < -depth, connectivity=26, return_N=True)
            counts = np.bincount(labels.ravel())
            large = [label for label in range(1, len(counts)) if counts[label] >= SMALLEST_PART]
            if len(large) > 1:
                return tuple(self._part(labels == label) for label in large)
        return ()

    def _part(self, mask: Mask) -> tuple["Shape", FloatArray]:
        middle = (np.array(mask.shape) - 1) / 2
        return Shape.of(mask), np.rint(np.argwhere(mask).mean(axis=0)) - middle


def ball() -> Shape:
    """Return the plainest form."""
    return Shape.of(np.linalg.norm(_cube_points(), axis=-1) < CUBE * 0.35)


def bumpy(rng: np.random.Generator, *, lobes: int = 1) -> Shape:
    """Draw the union of ellipsoids of differing axes, its surface warped by smooth noise."""
    points = _cube_points() / (CUBE / 2)
    noise = gaussian_filter(rng.normal(size=(CUBE,) * 3), CUBE / 10)
    noise *= rng.uniform(0.04, 0.14) / noise.std()
    radius = (0.55, 0.36, 0.28)[lobes - 1]
    centres = np.zeros((1, 3)) if lobes == 1 else _beside_each_other(rng, lobes, radius)
    level = np.min([_ellipsoid(points - centre, rng, radius) for centre in centres], axis=0)
    labels = cc3d.connected_components(level + noise < 0, connectivity=26)
    largest = int(np.bincount(labels.ravel())[1:].argmax()) + 1
    return Shape.of(labels == largest)


def real(folder: Path) -> tuple[Shape, ...]:
    """Take every larger tumour core of the expert label maps in a folder; none if it is absent."""
    return tuple(shape for path in sorted(folder.glob("*-seg.nii.gz")) for shape in _cores(path))


def library(rng: np.random.Generator, folder: Path | None = None) -> tuple[Shape, ...]:
    """Draw forms of one to three lobes, and add the real ones of a folder."""
    drawn = [bumpy(rng, lobes=lobes) for lobes in (1, 1, 2, 2, 2, 3) for _ in range(6)]
    return (*drawn, *(real(folder) if folder else ()))


def _cube_points() -> FloatArray:
    return np.asarray(np.moveaxis(np.indices((CUBE,) * 3), 0, -1) - (CUBE - 1) / 2)


def _beside_each_other(rng: np.random.Generator, lobes: int, radius: float) -> FloatArray:
    along = rng.normal(size=3)
    along /= np.linalg.norm(along)
    steps = (np.arange(lobes) - (lobes - 1) / 2) * radius * rng.uniform(1.6, 1.9)
    return np.asarray(steps[:, None] * along + rng.normal(0, 0.05, (lobes, 3)))


def _ellipsoid(points: FloatArray, rng: np.random.Generator, radius: float) -> FloatArray:
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    axes = radius * rng.uniform(0.7, 1.25, 3)
    return np.asarray(radius * (np.linalg.norm(points @ turn / axes, axis=-1) - 1))


def _cores(path: Path) -> list[Shape]:
    core = np.isin(np.asanyarray(nib.load(path).dataobj), TUMOUR_CORE)  # type: ignore[attr-defined]  # untyped library
    labels = cc3d.connected_components(core, connectivity=26)
    boxes = cc3d.statistics(labels)
    return [
        Shape.of(labels[box] == number)
        for number, box in enumerate(boxes["bounding_boxes"])
        if number and boxes["voxel_counts"][number] >= SMALLEST_REAL_VOXELS
    ]
