"""Intervals by drawing patients with replacement: scans and lesions of one patient are no independent evidence.

Every figure is computed for all draws at once, and the same draws serve every figure: the difference of two of them is
a paired bootstrap. Row 0 of the weights takes each patient once, so the sample's own value comes from the same code.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

LIMITS_PERCENT = (2.5, 97.5)
LEAST_USABLE = 0.95  # of the draws must have a value, or there is no interval
CHUNK_ELEMENTS = 4_000_000
CONSTANT = 1e-14  # of the squared size: less spread than this is rounding


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure as it is reported.

    Attributes
    ----------
    value
        Of the sample; None if it has none.
    low, high
        95 % interval; None with fewer than two patients, if too many draws have no value, or if all have the same:
        that every lesion was found does not make it certain that the next one will be.
    n
        Scans, lesions, predictions, changes or patients that it is computed from.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """A figure in the sample (first) and in every draw; NaN where it has no value.

    Attributes
    ----------
    values
        (1 + draws,).
    n
        See `Estimate`.
    patients
        Patients that contribute.
    """

    values: FloatArray
    n: int
    patients: int

    def __sub__(self, other: "Draws") -> "Draws":
        return Draws(values=self.values - other.values, n=self.n, patients=min(self.patients, other.patients))

    def estimate(self) -> Estimate:
        """Return the value with its percentile interval."""
        value, drawn = self.values[0], self.values[1:]
        usable = drawn[np.isfinite(drawn)]
        low = high = None
        if self.patients > 1 and len(usable) >= max(1, LEAST_USABLE * len(drawn)) and np.ptp(usable) > 0:
            low, high = (float(limit) for limit in np.percentile(usable, LIMITS_PERCENT))
        return Estimate(value=float(value) if np.isfinite(value) else None, low=low, high=high, n=self.n)

    def p_value(self) -> float | None:
        """Return the two-sided probability of a value on the other side of 0; None where there is no interval."""
        usable = self.values[1:][np.isfinite(self.values[1:])]
        if self.estimate().low is None:
            return None
        tail = min(int((usable <= 0).sum()), int((usable >= 0).sum()))
        return min(1.0, 2 * (tail + 1) / (len(usable) + 1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Bootstrap:
    """The draws of one evaluation.

    Attributes
    ----------
    patients
        All of them.
    weights
        (1 + draws, patients): how often each patient was drawn; the first row is 1.
    """

    patients: tuple[str, ...]
    weights: FloatArray

    @classmethod
    def drawn(cls, patients: Iterable[str], *, resamples: int, seed: int) -> "Bootstrap":
        """Draw as many patients as there are, with replacement, ``resamples`` times."""
        names = tuple(sorted(set(patients)))
        drawn = np.random.default_rng(seed).multinomial(len(names), [1 / len(names)] * len(names), size=resamples)
        return cls(patients=names, weights=np.vstack([np.ones((1, len(names))), drawn]))

    def ratio(self, owners: Sequence[str], numerators: ArrayLike, denominators: ArrayLike) -> Draws:
        """Return sum of numerators over sum of denominators.

        Parameters
        ----------
        owners
            The patient of each value.
        numerators, denominators
            One per owner; a pair with NaN is left out.
        """
        above, below = np.asarray(numerators, float), np.asarray(denominators, float)
        known = np.isfinite(above) & np.isfinite(below)
        places = self.places(owners)[known]
        total = self.totals(places, below[known])
        values = np.full(len(total), np.nan)
        np.divide(self.totals(places, above[known]), total, out=values, where=total > 0)
        counting = below[known] > 0
        return Draws(values=values, n=int(below[known].sum()), patients=len(np.unique(places[counting])))

    def mean(self, owners: Sequence[str], values: ArrayLike) -> Draws:
        """Return the mean; NaN is left out."""
        return self.ratio(owners, values, np.ones(len(owners)))

    def median(self, owners: Sequence[str], values: ArrayLike) -> Draws:
        """Return the median; NaN is left out."""
        known, places = self._known(owners, values)
        order = np.argsort(known, kind="stable")
        medians = [self._medians(weights[:, order], known[order]) for weights in self._chunks(places)]
        return self._draws(np.concatenate(medians), places)

    def correlation(self, owners: Sequence[str], first: ArrayLike, second: ArrayLike, *, ranked: bool) -> Draws:
        """Return Pearson's correlation, or Spearman's if ranked; pairs with NaN are left out."""
        known = np.isfinite(np.asarray(first, float)) & np.isfinite(np.asarray(second, float))
        places = self.places(owners)[known]
        pair = [np.asarray(one, float)[known] for one in (first, second)]
        results = []
        for weights in self._chunks(places):
            x, y = (_mid_ranks(one, weights) if ranked else one[None] for one in pair)
            results.append(_weighted_correlation(x, y, weights))
        return self._draws(np.concatenate(results), places)

    def totals(self, places: NDArray[np.intp], values: FloatArray) -> FloatArray:
        """Return the sum over all scans or lesions in each draw; further axes of the values are kept."""
        per_patient = np.zeros((len(self.patients), *values.shape[1:]))
        np.add.at(per_patient, places, values)
        return np.asarray(np.tensordot(self.weights, per_patient, axes=1), float)

    def places(self, owners: Sequence[str]) -> NDArray[np.intp]:
        """Return the number of the patient of each value."""
        return np.searchsorted(np.array(self.patients), np.array(owners, dtype=str))

    def _known(self, owners: Sequence[str], values: ArrayLike) -> tuple[FloatArray, NDArray[np.intp]]:
        array = np.asarray(values, float)
        known = np.isfinite(array)
        return array[known], self.places(owners)[known]

    def _draws(self, values: FloatArray, places: NDArray[np.intp]) -> Draws:
        return Draws(values=values, n=len(places), patients=len(np.unique(places)))

    def _chunks(self, places: NDArray[np.intp]) -> Iterator[FloatArray]:
        """Weights of each value, some draws at a time, so that many lesions do not fill the memory."""
        rows = max(1, CHUNK_ELEMENTS // max(1, len(places)))
        for start in range(0, len(self.weights), rows):
            yield self.weights[start : start + rows, places]

    @staticmethod
    def _medians(weights: FloatArray, ordered: FloatArray) -> FloatArray:
        """Medians of values that come as often as their weights say; NaN where nothing was drawn."""
        if not len(ordered):
            return np.full(len(weights), np.nan)
        counted = np.cumsum(weights, axis=1)
        total = counted[:, -1:]
        middles = (np.ceil(total / 2), total // 2 + 1)  # of an odd number of values the same
        lower, upper = (ordered[np.argmax(counted >= middle, axis=1)] for middle in middles)
        return np.where(total[:, 0] > 0, (lower + upper) / 2, np.nan)


def _mid_ranks(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Ranks (draws, values) of a sample in which each value comes as often as its weight says; ties share a rank."""
    if not len(values):
        return weights
    order = np.argsort(values, kind="stable")
    _, starts, group = np.unique(values[order], return_index=True, return_inverse=True)
    sizes = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks = np.empty_like(weights)
    ranks[:, order] = (np.cumsum(sizes, axis=1) - sizes / 2)[:, group]
    return ranks


def _weighted_correlation(x: FloatArray, y: FloatArray, weights: FloatArray) -> FloatArray:
    """Correlation in each draw; NaN where nothing was drawn, or one side is constant."""
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1)
    dx, dy = (one - (weights * one).sum(axis=1, keepdims=True) / total for one in (x, y))
    squares = [((weights * d**2).sum(axis=1), (weights * one**2).sum(axis=1)) for d, one in ((dx, x), (dy, y))]
    varied = np.logical_and.reduce([square > CONSTANT * size for square, size in squares])
    spread = np.sqrt(squares[0][0] * squares[1][0])
    return np.where(varied, (weights * dx * dy).sum(axis=1) / np.where(varied, spread, 1), np.nan)
