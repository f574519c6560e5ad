"""How well two registered brains lie on each other, in figures that do not depend on the engine."""

from dataclasses import dataclass

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from scipy.spatial.transform import Rotation

from tracking.registration.preparation import Head, centre_of_mass_mm
from tracking.registration.transform import Transform

HISTOGRAM_BINS = 32
RIM_MM = 4.0
JACOBIAN_STEP = 5  # every fifth voxel tells the range


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Agreement inside the fixed brain, as far as the moving image reaches.

    Attributes
    ----------
    correlation
        Pearson correlation of the intensities, without the outer 4 mm of the brain, -1 to 1.
    mutual_information
        Normalised mutual information (H(a) + H(b)) / H(a, b) there, 1 to 2 (Studholme et al., Pattern Recognit 1999).
    brain_dice
        Overlap of the two brain masks, 0 to 1.
    coverage
        Part of the fixed brain that the moving image covers, 0 to 1.
    rotation_deg, translation_mm
        Rigid motion: angle, and how far the centre of the fixed brain moves.
    jacobian
        Local volume change inside the brain, 0.1th and 99.9th percentile; (1, 1) for a rigid transform.
    """

    correlation: float
    mutual_information: float
    brain_dice: float
    coverage: float
    rotation_deg: float
    translation_mm: float
    jacobian: tuple[float, float] = (1.0, 1.0)


def assess(fixed: Head, moving: Head, transform: Transform) -> Quality:
    """Measure the agreement of two heads under a transform."""
    warped = transform.warp(moving.image, fixed.image, fill=np.nan).array
    covered = np.isfinite(warped)
    inside = _interior(fixed.brain) & covered
    moved_brain = transform.warp(moving.brain, fixed.brain, interpolation="nearest").array
    centre_mm = centre_of_mass_mm(fixed.brain)
    return Quality(
        correlation=_correlation(fixed.image.array[inside], warped[inside]),
        mutual_information=mutual_information(fixed.image.array[inside], warped[inside]),
        brain_dice=_dice(fixed.brain.array & covered, moved_brain),
        coverage=float((fixed.brain.array & covered).sum() / fixed.brain.array.sum()),
        rotation_deg=float(np.rad2deg(Rotation.from_matrix(transform.matrix[:3, :3]).magnitude())),
        translation_mm=float(np.linalg.norm(_rigid(transform, centre_mm) - centre_mm)),
        jacobian=_jacobian_range(fixed, transform),
    )


def _interior(brain: Volume) -> NDArray[np.bool_]:
    """Brain without its rim, where partial voxels and the two masks' own errors outweigh everything else."""
    steps = max(1, round(RIM_MM / brain.spacing[0]))
    return np.asarray(binary_erosion(brain.array, iterations=steps))


def _rigid(transform: Transform, point_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    return transform.matrix[:3, :3] @ point_mm + transform.matrix[:3, 3]


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    if first.size < 2 or not first.std() or not second.std():
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def mutual_information(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the normalised mutual information of two samples of equal length, 1 to 2."""
    if first.size < 2:
        return 1.0
    levels = [np.clip(values, *np.percentile(values, (0.5, 99.5))) for values in (first, second)]
    joint = np.histogram2d(levels[0], levels[1], bins=HISTOGRAM_BINS)[0] / first.size
    both = _entropy(joint)
    return float((_entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))) / both) if both else 1.0


def _entropy(probabilities: NDArray[np.float64]) -> float:
    present = probabilities[probabilities > 0]
    return float(-(present * np.log(present)).sum())


def _dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    total = first.sum() + second.sum()
    return float(2 * (first & second).sum() / total) if total else 0.0


def _jacobian_range(fixed: Head, transform: Transform) -> tuple[float, float]:
    if transform.displacement is None:
        return 1.0, 1.0
    indices = np.argwhere(fixed.brain.array)[::JACOBIAN_STEP]
    points_mm = indices @ fixed.brain.affine[:3, :3].T + fixed.brain.affine[:3, 3]
    low, high = np.percentile(transform.displacement.jacobian_at(points_mm), (0.1, 99.9))
    return float(low), float(high)
