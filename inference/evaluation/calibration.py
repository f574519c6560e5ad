"""How a model's confidence is fitted, and whether it keeps its word."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from inference.confidence import Confidence

RIDGE = 1.0
"""Weight of the squared coefficients against the sum of logarithmic losses: a handful of regions must not say much."""
BINS = (0.0, 0.2, 0.5, 0.8, 0.95, 1.0)


def fit_confidence(traits: NDArray[np.float64], true: NDArray[np.bool_]) -> Confidence:
    """Fit the chance that a region is a lesion to its traits, by logistic regression.

    Parameters
    ----------
    traits
        From `inference.confidence.traits_of`, (regions, 3).
    true
        Which regions are lesions, (regions,).

    Raises
    ------
    ValueError
        If all regions are lesions, or none is.
    """
    if true.all() or not true.any():
        raise ValueError(f"{int(true.sum())} of {len(true)} regions are lesions: confidence needs both")
    mean, spread = traits.mean(axis=0), np.maximum(traits.std(axis=0), 1e-6)
    scaled = (traits - mean) / spread

    def loss(weights: NDArray[np.float64]) -> float:
        odds = weights[0] + scaled @ weights[1:]
        return float(np.logaddexp(0, np.where(true, -odds, odds)).sum() + RIDGE * (weights[1:] ** 2).sum())

    fitted = optimize.minimize(loss, np.zeros(1 + traits.shape[1])).x
    slopes = fitted[1:] / spread
    return Confidence(
        intercept=float(fitted[0] - slopes @ mean),
        mean_log_odds=float(slopes[0]),
        ln_mm3=float(slopes[1]),
        elongation=float(slopes[2]),
    )


def reliability(confidence: Sequence[float], true: Sequence[bool]) -> list[dict[str, float]]:
    """Return, for each range of confidence, how many regions have it and which share of them are lesions."""
    said, right = np.array(confidence, float), np.array(true, bool)
    rows = []
    for low, high in pairwise(BINS):
        here = (said >= low) & ((said < high) | (high == BINS[-1]))
        if here.any():
            mean = float(said[here].mean())
            rows.append(
                {"from": low, "to": high, "regions": int(here.sum()), "mean": mean, "true": float(right[here].mean())}
            )
    return rows
