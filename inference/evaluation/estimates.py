"""From columns of scores to estimates with intervals; a missing value (None) is left out of every one of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inference.evaluation.bootstrap import Bootstrap, Estimate
from inference.evaluation.scoring import LesionScore

FloatArray = NDArray[np.float64]
Figures = dict[str, Any]


def volumes_of(lesions: Sequence[LesionScore]) -> FloatArray:
    """Return the true volumes, mm³."""
    return np.array([lesion.volume_mm3 for lesion in lesions], float)


def array_of(values: ArrayLike | Sequence[float | None]) -> FloatArray:
    """Return numbers, with NaN for None."""
    return np.array(values, float)


def number_or_none(value: float) -> float | None:
    """Return a finite number, or None."""
    return float(value) if np.isfinite(value) else None


def mean_of(owners: Sequence[str], values: ArrayLike | Sequence[float | None], bootstrap: Bootstrap) -> Estimate:
    """Estimate a mean."""
    return bootstrap.mean(owners, array_of(values)).estimate()


def means_and_medians(
    owners: Sequence[str], columns: Mapping[str, ArrayLike | Sequence[float | None]], bootstrap: Bootstrap
) -> Figures:
    """Estimate mean and median of each column."""
    figures: Figures = {}
    for name, values in columns.items():
        figures[name] = mean_of(owners, values, bootstrap)
        figures[f"{name}_median"] = bootstrap.median(owners, array_of(values)).estimate()
    return figures


def correlations_of(
    owners: Sequence[str], first: ArrayLike, second: ArrayLike, bootstrap: Bootstrap
) -> dict[str, Estimate]:
    """Estimate both correlations."""
    return {
        name: bootstrap.correlation(owners, first, second, ranked=ranked).estimate()
        for name, ranked in (("pearson", False), ("spearman", True))
    }
