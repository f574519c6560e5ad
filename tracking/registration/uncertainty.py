"""How far a warped point may be off, measured on the images: the shift that still improves small blocks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracking.registration.preparation import Head
from tracking.registration.transform import Transform

FloatArray = NDArray[np.float64]

BLOCK_MM = 16.0
SEARCH_MM = 6.0
MINIMUM_BRAIN_PART = 0.7
MINIMUM_BLOCKS = 8
MINIMUM_CORRELATION = 0.5
UNMEASURED_SIGMA_MM = 10.0
REACH_MM = 12.0  # blocks further away than this say little of a point


@dataclass(frozen=True, kw_only=True, eq=False)
class _Blocks:
    """Where the blocks are, and their half width, in voxels of the fixed head."""

    centres: NDArray[np.int64]
    half_width: int
    search: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Residuals:
    """What blocks of the brain are still off after registration.

    Attributes
    ----------
    centres_mm
        Middles of the blocks that could be compared, (n, 3), LPS mm in the fixed study.
    lengths_mm
        How far each is off, (n,).
    overall_mm
        One standard deviation for the whole brain: their 68th percentile, or `UNMEASURED_SIGMA_MM` where too few blocks
        agree at any shift to tell.
    """

    centres_mm: FloatArray
    lengths_mm: FloatArray
    overall_mm: float

    def at(self, points_mm: FloatArray) -> FloatArray:
        """Return one standard deviation at points (n, 3) of the fixed study, mm, shape (n,).

        The blocks within two or three centimetres decide, the nearer the more; without any the whole brain does.
        """
        distance = np.linalg.norm(points_mm[:, None] - self.centres_mm[None], axis=-1)
        weights = np.exp(-0.5 * (distance / REACH_MM) ** 2)
        squares = weights @ self.lengths_mm**2 + self.overall_mm**2
        return np.asarray(np.sqrt(squares / (weights.sum(axis=1) + 1)))


def measure_residuals(fixed: Head, moving: Head, transform: Transform) -> Residuals:
    """Measure what blocks of the brain are still off after registration.

    Each block of 16 mm of the fixed head is compared (correlation) with the warped moving head at every shift up to
    6 mm; the peak, refined by a parabola, is the block's residual. Lesions of both studies are left out.
    """
    warped = transform.warp(moving.image, fixed.image, fill=np.nan).array
    lesions = fixed.lesions.array | transform.warp(moving.lesions, fixed.lesions, interpolation="nearest").array
    usable = fixed.brain.array & np.isfinite(warped) & ~lesions
    blocks = _blocks(usable, float(fixed.image.spacing[0]))
    shifts = [_best_shift(fixed.image.array, np.nan_to_num(warped), centre, blocks) for centre in blocks.centres]
    clear = [place for place, shift in enumerate(shifts) if shift is not None]
    lengths_mm = np.array([np.linalg.norm(shift) for shift in shifts if shift is not None]) * fixed.image.spacing[0]
    measured = len(clear) >= max(MINIMUM_BLOCKS, len(shifts) / 2)
    return Residuals(
        centres_mm=blocks.centres[clear] @ fixed.image.affine[:3, :3].T + fixed.image.affine[:3, 3],
        lengths_mm=lengths_mm if measured else np.full(len(clear), UNMEASURED_SIGMA_MM),
        overall_mm=float(np.percentile(lengths_mm, 68)) if measured else UNMEASURED_SIGMA_MM,
    )


def _blocks(usable: NDArray[np.bool_], spacing_mm: float) -> _Blocks:
    half_width, search = round(BLOCK_MM / spacing_mm / 2), round(SEARCH_MM / spacing_mm)
    margin = half_width + search
    axes = [np.arange(margin, size - margin, 2 * half_width) for size in usable.shape]
    centres = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    parts = np.array([usable[_around(centre, half_width)].mean() for centre in centres])
    return _Blocks(centres=centres[parts >= MINIMUM_BRAIN_PART], half_width=half_width, search=search)


def _around(centre: NDArray[np.int64], half_width: int) -> tuple[slice, slice, slice]:
    i, j, k = (slice(int(c) - half_width, int(c) + half_width + 1) for c in centre)
    return i, j, k


def _best_shift(
    fixed: NDArray[np.float32], warped: NDArray[np.float32], centre: NDArray[np.int64], blocks: _Blocks
) -> FloatArray | None:
    """Return the shift (voxels) of the correlation's peak; None without a clear one."""
    template = fixed[_around(centre, blocks.half_width)]
    wide = warped[_around(centre, blocks.half_width + blocks.search)]
    windows = np.lib.stride_tricks.sliding_window_view(wide, template.shape)
    correlation = _correlations(template, windows)
    peak = np.unravel_index(int(correlation.argmax()), correlation.shape)
    if correlation[peak] < MINIMUM_CORRELATION:
        return None
    return np.array([_refined(correlation, peak, axis) for axis in range(3)]) - blocks.search


def _correlations(template: NDArray[np.float32], windows: NDArray[np.float32]) -> FloatArray:
    centred = template - template.mean()
    product = np.einsum("abcijk,ijk->abc", windows, centred, dtype=np.float64)
    count = template.size
    total = np.einsum("abcijk->abc", windows, dtype=np.float64)
    squares = np.einsum("abcijk,abcijk->abc", windows, windows, dtype=np.float64)
    spread = np.sqrt(np.maximum(squares - total**2 / count, 1e-6) * float((centred**2).sum()) + 1e-6)
    correlations: FloatArray = product / spread
    return correlations


def _refined(correlation: FloatArray, peak: tuple[np.intp, ...], axis: int) -> float:
    """Fit a parabola through the peak and its two neighbours along an axis."""
    place = int(peak[axis])
    if not 0 < place < correlation.shape[axis] - 1:
        return float(place)
    step = np.eye(3, dtype=int)[axis]
    before, top, after = (correlation[tuple(np.array(peak) + shift * step)] for shift in (-1, 0, 1))
    bend = before - 2 * top + after
    return float(place + (0.5 * (before - after) / bend if bend else 0.0))
