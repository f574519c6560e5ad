"""Kriging of registration's remaining error: from the offsets at some places to the error at every other.

How alike neighbours are is not assumed but chosen by the likelihood of the offsets: where they tell nothing of each
other, nothing is corrected (Gaussian process regression; Rasmussen and Williams 2006, chapters 2 and 5).
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

FloatArray = NDArray[np.float64]

SIZES = (0.1, 0.25, 0.5, 1.0, 1.6, 2.5, 4.0)  # of the error, in parts of the registration's σ
SHARES_OF_SHIFT = (0.1, 0.5, 0.9)  # part of the error's variance that the whole brain has in common
LENGTHS_MM = (15.0, 30.0, 60.0)  # over which the rest changes
SHARES_OF_SCATTER = (0.02, 0.3, 1.0)  # part that each lesion has to itself
SPREAD_OF_SIZE = 0.7  # prior: ln(size) is normal about σ with this standard deviation
ENOUGH = 60  # offsets that choose the kernel


@dataclass(frozen=True, kw_only=True, eq=False)
class Offsets:
    """Where surely paired lesions were expected, and how far from there they were found.

    Attributes
    ----------
    places_mm
        Carried-over centres of the prior lesions, shape (n, 3), LPS mm.
    vectors_mm
        From there to the current lesions' centres, shape (n, 3).
    noise_mm
        Standard deviation per axis that an offset has for other reasons (growth to one side), shape (n,).
    """

    places_mm: FloatArray
    vectors_mm: FloatArray
    noise_mm: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Correction:
    """How far places are to be moved, and how far they may still be off.

    Attributes
    ----------
    shifts_mm
        Shape (n, 3).
    sigmas_mm
        One standard deviation of the length of what remains, shape (n,).
    """

    shifts_mm: FloatArray
    sigmas_mm: FloatArray


@dataclass(frozen=True, kw_only=True)
class _Kernel:
    """Covariance, per axis, of the errors at two places."""

    size_mm: float
    shift: float
    length_mm: float
    scatter: float

    @property
    def variance_mm2(self) -> float:
        return self.size_mm**2 / 3

    def at(self, squares_mm2: FloatArray) -> FloatArray:
        """Return the covariance at squared distances, without the part that each lesion has to itself."""
        alike = self.shift + (1 - self.shift) * np.exp(-squares_mm2 / (2 * self.length_mm**2))
        return np.asarray(self.variance_mm2 * (1 - self.scatter) * alike)

    def of(self, offsets: Offsets, squares_mm2: FloatArray) -> FloatArray:
        """Return the covariance of offsets at these squared distances from each other."""
        own = self.variance_mm2 * self.scatter + offsets.noise_mm**2
        return self.at(squares_mm2) + np.diag(own)


def correct(places_mm: FloatArray, samples: NDArray[np.int64], offsets: Offsets, sigma_mm: float) -> Correction:
    """Tell how far each place is to be moved; a sample never speaks for itself.

    Parameters
    ----------
    places_mm
        Carried-over centres of all prior lesions, shape (n, 3), LPS mm.
    samples
        Rows of ``places_mm`` that the offsets belong to, in their order.
    offsets
        What the sure pairs show.
    sigma_mm
        One standard deviation of registration's error, as far as registration knows.
    """
    kernel = _likeliest(offsets, sigma_mm)
    squares_mm2 = cdist(places_mm, offsets.places_mm, "sqeuclidean")
    inverse = np.linalg.inv(kernel.of(offsets, squares_mm2[samples]))
    weights = inverse @ offsets.vectors_mm
    cross = kernel.at(squares_mm2)
    shifts_mm = cross @ weights
    variances = kernel.variance_mm2 - (cross @ inverse * cross).sum(axis=1)
    # Leaving a sample out of its own prediction has a closed form (Rasmussen and Williams 2006, section 5.4.2).
    own = np.diag(inverse)
    shifts_mm[samples] = offsets.vectors_mm - weights / own[:, None]
    variances[samples] = 1 / own - offsets.noise_mm**2
    return Correction(shifts_mm=shifts_mm, sigmas_mm=np.sqrt(3 * np.maximum(variances, 0.0)))


def _likeliest(offsets: Offsets, sigma_mm: float) -> _Kernel:
    kernels = [
        _Kernel(size_mm=size * sigma_mm, shift=shift, length_mm=length_mm, scatter=scatter)
        for size, shift, length_mm, scatter in product(SIZES, SHARES_OF_SHIFT, LENGTHS_MM, SHARES_OF_SCATTER)
    ]
    step = -(-len(offsets.places_mm) // ENOUGH)
    some = Offsets(
        places_mm=offsets.places_mm[::step],
        vectors_mm=offsets.vectors_mm[::step],
        noise_mm=offsets.noise_mm[::step],
    )
    squares_mm2 = cdist(some.places_mm, some.places_mm, "sqeuclidean")
    return max(kernels, key=lambda kernel: _log_posterior(kernel, some, squares_mm2, sigma_mm))


def _log_posterior(kernel: _Kernel, offsets: Offsets, squares_mm2: FloatArray, sigma_mm: float) -> float:
    factor = cho_factor(kernel.of(offsets, squares_mm2), lower=True)
    fit = float((offsets.vectors_mm * cho_solve(factor, offsets.vectors_mm)).sum())
    log_likelihood = -0.5 * fit - 3 * float(np.log(np.diag(factor[0])).sum())
    return log_likelihood - 0.5 * (float(np.log(kernel.size_mm / sigma_mm)) / SPREAD_OF_SIZE) ** 2
