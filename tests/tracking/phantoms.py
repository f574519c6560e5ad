"""Bodies of known size and place: balls on any grid, and a head whose motion is known at every point."""

from collections.abc import Callable, Sequence
from datetime import date

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from tracking.timepoint import MRSequence, Timepoint

FloatArray = NDArray[np.float64]
PointMap = Callable[[FloatArray], FloatArray]

CURRENT_UID, PRIOR_UID = "1.2.826.1", "1.2.826.2"
BRAIN_RADII_MM = np.array([38.0, 47.0, 35.0])


def empty_grid(
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    *,
    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
    centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    frame_of_reference_uid: str | None = None,
) -> Volume:
    """Axial planes turned by Euler angles about x, y, z; ``centre_mm`` is the middle of the box."""
    axial = np.array([(0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)])  # columns: steps along i, j, k
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix() @ axial * spacing_mm
    affine[:3, 3] = np.array(centre_mm) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Volume(np.zeros(shape, np.uint16), affine, "PATIENT", frame_of_reference_uid=frame_of_reference_uid)


def voxel_centres_mm(volume: Volume) -> FloatArray:
    indices = np.stack(np.indices(volume.spatial_shape), axis=-1)
    return np.asarray(indices @ volume.affine[:3, :3].T + volume.affine[:3, 3])


def with_balls(volume: Volume, balls: Sequence[tuple[Sequence[float], float]]) -> Volume:
    """Number balls (centre LPS mm, radius mm) from 1; later balls cover earlier ones."""
    labels = volume.array.copy()
    for number, (centre, radius) in enumerate(balls, start=1):
        middle = volume.inverse_affine[:3, :3] @ np.asarray(centre, float) + volume.inverse_affine[:3, 3]
        reach = radius / np.asarray(volume.spacing)
        first = np.clip(np.floor(middle - reach), 0, volume.spatial_shape).astype(int)
        last = np.clip(np.ceil(middle + reach) + 1, 0, volume.spatial_shape).astype(int)
        indices = np.stack(np.meshgrid(*map(np.arange, first, last), indexing="ij"), axis=-1)
        points = indices @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        box = tuple(slice(low, high) for low, high in zip(first, last, strict=True))
        labels[box][np.linalg.norm(points - np.asarray(centre), axis=-1) < radius] = number
    return volume.with_array(labels)


def timepoint(labels: Volume, study_uid: str, day: date = date(2024, 5, 1)) -> Timepoint:
    """A study that is only its labels, for matching."""
    return Timepoint(study_uid=study_uid, study_date=day, images={MRSequence.T1C: labels}, lesions=labels)


class Head:
    """A textured ellipsoid in a shell, defined at every point of its own space; the origin is its centre."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        noise = gaussian_filter(np.random.default_rng(seed).normal(size=(64, 72, 64)), 1.0)
        self.texture = (noise / noise.std()).astype(np.float32)

    def intensity(self, points_mm: FloatArray) -> FloatArray:
        reach = np.linalg.norm(points_mm / BRAIN_RADII_MM, axis=-1)
        index = (points_mm / 2.5 + np.array(self.texture.shape) / 2).reshape(-1, 3).T
        texture = map_coordinates(self.texture, index, order=1, mode="grid-wrap").reshape(reach.shape)
        brain = (100 + 25 * texture) * soft_step(1.0 - reach)
        shell = 160.0 * soft_step(reach - 1.1) * soft_step(1.25 - reach)
        return np.asarray(brain + shell)

    def study(self, grid: Volume, to_head: PointMap, study_uid: str, *, bright: Sequence[FloatArray] = ()) -> Timepoint:
        """Scan the head; ``to_head`` maps the scanner's points to the head's, ``bright`` are lesions of 6 mm radius."""
        points = to_head(voxel_centres_mm(grid))
        rng = np.random.default_rng(self.seed + int(study_uid.rsplit(".", 1)[-1]))
        image = self.intensity(points)
        labels = np.zeros(grid.spatial_shape, np.uint16)
        for number, centre in enumerate(bright, start=1):
            labels[np.linalg.norm(points - centre, axis=-1) < 6] = number
        image = np.where(labels > 0, 220.0, image) + rng.normal(0, 2, grid.spatial_shape)
        brain = np.linalg.norm(points / BRAIN_RADII_MM, axis=-1) < 1
        return Timepoint(
            study_uid=study_uid,
            study_date=date(2024, 5, 1),
            images={MRSequence.T1C: grid.with_array(image.astype(np.float32))},
            brain=grid.with_array(brain),
            lesions=grid.with_array(labels),
        )


def soft_step(inside: FloatArray) -> FloatArray:
    """0 outside, 1 inside, with a ramp of about 2 mm as a scanner's voxels make it."""
    return np.asarray(np.clip(inside * 40 / 2 + 0.5, 0, 1))


def rigid(turn_deg: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> tuple[PointMap, PointMap]:
    """A motion and its inverse."""
    turn = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix()
    return (lambda p: p @ turn.T + shift_mm), (lambda p: (p - shift_mm) @ turn)


def bulge(centre_mm: Sequence[float], shift_mm: Sequence[float], width_mm: float) -> PointMap:
    """A smooth local displacement, the largest at its centre."""

    def move(points: FloatArray) -> FloatArray:
        fall = np.exp(-((points - np.asarray(centre_mm)) ** 2).sum(axis=-1) / (2 * width_mm**2))
        return np.asarray(points + fall[..., None] * np.asarray(shift_mm))

    return move


def brain_points(study: Timepoint, step: int = 61) -> FloatArray:
    assert study.brain is not None
    return np.asarray(voxel_centres_mm(study.brain)[study.brain.array][::step])
