"""How sure a model is of a region as a whole: by its log odds, its size and its shape, calibrated on held-out heads.

Design rule: a network's probabilities are no chances, and its highest one says little: nearly every region has a voxel
of which it is sure. The mean over the region tells lesions from vessels far better, see `inference.evaluation.froc`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit, logit

SUREST: Final = 1e-6
"""Probabilities nearer than this to 0 or 1 count as that far away: single precision tells no more apart."""

Spacing = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """Turns traits into the chance that a region is a lesion: logistic regression.

    The chance is that among heads with as many lesions as those it was fitted on
    (`inference.evaluation.calibration`): where lesions are rarer, it is too high.

    Attributes
    ----------
    intercept
        Log odds of a region whose traits are all 0.
    mean_log_odds, ln_mm3, elongation
        By how much these grow with each trait.
    """

    intercept: float
    mean_log_odds: float
    ln_mm3: float
    elongation: float

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if not np.isfinite([self.intercept, self.mean_log_odds, self.ln_mm3, self.elongation]).all():
            raise ValueError(f"{self}: give numbers")
        if self.mean_log_odds <= 0:
            raise ValueError(
                f"mean_log_odds {self.mean_log_odds}: the surer the voxels, the surer the model; give more than 0"
            )

    def of(self, traits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the confidence of every region, 0 to 1, from what `traits_of` returned; index = its number."""
        slopes = np.array([self.mean_log_odds, self.ln_mm3, self.elongation])
        return np.asarray(expit(self.intercept + traits @ slopes), float)

    def log_odds_for(self, confidence: NDArray[np.float64], traits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean log odds that regions need for a confidence, their other traits being what they are."""
        rest = self.intercept + traits[:, 1:] @ np.array([self.ln_mm3, self.elongation])
        return np.asarray((logit(np.clip(confidence, SUREST, 1 - SUREST)) - rest) / self.mean_log_odds, float)


def confidence_of(
    components: NDArray[Any], probability: NDArray[np.float32], *, spacing_mm: Spacing, how: Confidence | None
) -> NDArray[np.float64]:
    """Return how sure a model is of every region.

    Parameters
    ----------
    components
        Numbered regions (slice, row, column).
    probability
        Probability of lesion, same shape.
    spacing_mm
        Distance of voxel centres (slice, row, column).
    how
        Of the model; None for a model that was not calibrated: the highest probability in the region.

    Returns
    -------
    NDArray
        0 to 1, index = number of the region; 0 for the background and for numbers without a voxel.
    """
    present = np.bincount(components.ravel()) > 0
    present[0] = False
    if how is None:
        found = np.asarray(ndimage.maximum(probability, components, np.arange(len(present))), float)
    else:
        found = how.of(traits_of(components, probability, spacing_mm=spacing_mm))
    return np.where(present, found, 0.0)


def traits_of(
    components: NDArray[Any], probability: NDArray[np.float32], *, spacing_mm: Spacing
) -> NDArray[np.float64]:
    """Return what tells lesions from their imitations; parameters as for `confidence_of`.

    Returns
    -------
    NDArray
        (regions, 3), index = number of the region: mean of ln(p / (1 - p)) over its voxels that are lesion more
        likely than not (holes that were filled tell nothing of the wall), logarithm of its volume in mm³, and length /
        breadth (see `elongations`).
    """
    inside = components > 0
    numbers = components[inside].astype(np.int64)
    counts = np.maximum(np.bincount(numbers, minlength=int(components.max(initial=0)) + 1), 1)
    log_odds = logit(np.clip(probability[inside].astype(float), 0.5, 1 - SUREST))
    likely = np.maximum(np.bincount(numbers[log_odds > 0], minlength=len(counts)), 1)
    mean_log_odds = np.bincount(numbers, log_odds, len(counts)) / likely
    return np.stack([mean_log_odds, np.log(counts * np.prod(spacing_mm)), elongations(components, spacing_mm)], axis=1)


def elongations(components: NDArray[Any], spacing_mm: Spacing) -> NDArray[np.float64]:
    """Return length / breadth of every component: the ratio of its first two principal standard deviations.

    Parameters
    ----------
    components
        Numbered regions (slice, row, column).
    spacing_mm
        Distance of voxel centres. Half the largest is added to every extent as blur, so that a small lesion on
        two thick slices is not taken for a long one.

    Returns
    -------
    NDArray
        float64, index = component number; 0 for the background.
    """
    index = np.nonzero(components)
    numbers = components[index].astype(np.int64)
    size = int(components.max(initial=0)) + 1
    counts = np.maximum(np.bincount(numbers, minlength=size), 1)
    points = [axis * step for axis, step in zip(index, spacing_mm, strict=True)]
    means = [np.bincount(numbers, p, size) / counts for p in points]
    offsets = [p - mean[numbers] for p, mean in zip(points, means, strict=True)]
    covariance = np.empty((size, 3, 3))
    for row in range(3):
        for column in range(3):
            covariance[:, row, column] = np.bincount(numbers, offsets[row] * offsets[column], size) / counts
    covariance += np.eye(3) * max(spacing_mm) ** 2 / 4
    principal = np.sqrt(np.linalg.eigvalsh(covariance))
    ratio = principal[:, 2] / principal[:, 1]
    ratio[0] = 0
    return np.asarray(ratio)
