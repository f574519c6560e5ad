"""How well two masks agree, voxel by voxel and surface by surface; what has no value is None (NaN in arrays), never 0.

Dice, 2|A∩B|/(|A|+|B|), is `inference.evaluation.metrics.dice`; here are the counts behind it and what else they give.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

Box = tuple[slice, ...]
FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Voxels that are positive in both, only in the second, only in the first, and in neither."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def dice(self) -> float | None:
        """2 TP / (2 TP + FP + FN); None if both masks are empty."""
        return share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def positives(self) -> int:
        """Voxels of the truth."""
        return self.tp + self.fn

    @property
    def voxels(self) -> int:
        """All."""
        return self.tp + self.fp + self.fn + self.tn


def share(part: float, whole: float) -> float | None:
    """Return part / whole; None if the whole is nothing."""
    return part / whole if whole else None


def confusion(truth: Mask, prediction: Mask, domain: Mask) -> Confusion:
    """Count the voxels of a domain."""
    both = int((truth & prediction & domain).sum())
    true, predicted = int((truth & domain).sum()), int((prediction & domain).sum())
    return Confusion(tp=both, fp=predicted - both, fn=true - both, tn=int(domain.sum()) - true - predicted + both)


def f_beta(precision: ArrayLike, recall: ArrayLike, *, beta: float = 1.0) -> FloatArray:
    """Return (1 + β²) P R / (β² P + R), van Rijsbergen's weighted harmonic mean.

    Parameters
    ----------
    precision, recall
        Numbers or arrays; NaN where one has no value: no prediction, or nothing to find.
    beta
        How many times as much recall weighs.

    Returns
    -------
    NDArray
        NaN where neither has a value, 0 where one has none.
    """
    p, r = np.asarray(precision, float), np.asarray(recall, float)
    known_p, known_r = np.nan_to_num(p), np.nan_to_num(r)
    weight = beta**2 * known_p + known_r
    score = (1 + beta**2) * known_p * known_r / np.where(weight > 0, weight, 1)
    return np.where(np.isnan(p) & np.isnan(r), np.nan, score)


def ndsc(counts: Confusion, *, odds: float, rate: float) -> float | None:
    """Return the normalised Dice of Raina et al. (2023): false positives weigh as if all scans had one lesion load.

    Parameters
    ----------
    counts
        Voxels of the scan.
    odds
        h, positive over negative voxels of the scan: of the truth (Raina et al.), or of the prediction (as the CHUV
        paper words it). See `truth_odds`, `prediction_odds`.
    rate
        r, the share of positive voxels over the whole test set, above 0.

    Returns
    -------
    float or None
        2 / (2 + κ FP/TP + FN/TP) with κ = h (1/r - 1); None if both masks are empty.
    """
    kappa = odds * (1 / rate - 1)
    if counts.tp + counts.fp + counts.fn == 0:
        return None
    return 2 * counts.tp / (2 * counts.tp + kappa * counts.fp + counts.fn) if counts.tp else 0.0


def truth_odds(counts: Confusion) -> float:
    """Return truly positive over truly negative voxels."""
    return counts.positives / max(counts.voxels - counts.positives, 1)


def prediction_odds(counts: Confusion) -> float:
    """Return predicted over not predicted voxels."""
    predicted = counts.tp + counts.fp
    return predicted / max(counts.voxels - predicted, 1)


def joint_box(*masks: Mask) -> Box | None:
    """Return the smallest box that holds all masks; None if all are empty."""
    boxes = ndimage.find_objects(np.logical_or.reduce(masks).astype(np.uint8))
    return cast(Box, boxes[0]) if boxes else None


def boxes_of(numbers: NDArray[np.int32]) -> list[Box | None]:
    """Return the box of every number from 1 to the highest; None for one that does not occur."""
    return cast(list[Box | None], ndimage.find_objects(numbers))


def union_box(first: Box | None, second: Box | None) -> Box:
    """Return the smallest box that holds both; an absent one holds nothing.

    Raises
    ------
    ValueError
        If both are absent.
    """
    if first is None or second is None:
        if only := first or second:
            return only
        raise ValueError("There is no box around nothing; give at least one.")
    axes = zip(first, second, strict=True)
    return tuple(slice(min(one.start, other.start), max(one.stop, other.stop)) for one, other in axes)


def surface_distances_mm(
    first: Mask, second: Mask, spacing_mm: tuple[float, ...]
) -> tuple[FloatArray, FloatArray] | None:
    """Return how far each surface voxel of one mask is from the other's surface, and the other way round.

    Parameters
    ----------
    first, second
        Masks on one grid. A voxel is on the surface if one of its six neighbours is outside.
    spacing_mm
        Of the axes.

    Returns
    -------
    tuple of NDArray or None
        mm; None if a mask is empty.
    """
    box = joint_box(first, second)
    if box is None or not first.any() or not second.any():
        return None
    ours, theirs = (_surface_mm(mask[box], spacing_mm) for mask in (first, second))
    return cKDTree(theirs).query(ours)[0], cKDTree(ours).query(theirs)[0]


def _surface_mm(mask: Mask, spacing_mm: tuple[float, ...]) -> FloatArray:
    points: FloatArray = np.argwhere(mask & ~ndimage.binary_erosion(mask)) * np.asarray(spacing_mm)
    return points


def hd95_mm(first: Mask, second: Mask, spacing_mm: tuple[float, ...]) -> float | None:
    """Return the 95 % Hausdorff distance: the greater of the two directed 95th percentiles; None if a mask is empty.

    MONAI has the same definition; BraTS takes one percentile over both directions (`inference.evaluation.brats`).
    """
    distances = surface_distances_mm(first, second, spacing_mm)
    return None if distances is None else max(float(np.percentile(one, 95)) for one in distances)
