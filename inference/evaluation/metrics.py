"""Detection and overlap, with every formula named: a lesion is found when a candidate overlaps it [Rudie 2021]."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# The last is a part of the one before it: large lesions fail for reasons of their own.
SIZE_LIMITS_MM = {
    "<3 mm": (0.0, 3.0),
    "3-6 mm": (3.0, 6.0),
    ">6 mm": (6.0, float("inf")),
    ">12 mm": (12.0, float("inf")),
}


def sphere_diameter_mm(volume_mm3: float) -> float:
    """Return the diameter of the sphere of this volume, by which lesions are sorted into sizes (Rudie et al. 2021)."""
    return float((6 * volume_mm3 / np.pi) ** (1 / 3))


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A connected region that a model takes for a lesion.

    Attributes
    ----------
    number
        Its number among the regions.
    score
        By which it is kept or dropped: its highest probability, or how sure a model is of it.
    volume_mm3
        Its volume.
    found
        Numbers of the true lesions that it overlaps.
    unknown
        Whether it touches a region in which nothing is known: then it counts neither for nor against the model.
    """

    number: int
    score: float
    volume_mm3: float
    found: tuple[int, ...]
    unknown: bool


@dataclass(frozen=True, kw_only=True)
class ScanResult:
    """What was there and what was found in one scan at one probability threshold.

    Attributes
    ----------
    lesions_mm3
        True volume per lesion number.
    candidates
        Every candidate, before score and volume are judged.
    dice
        Overlap of all voxels outside unknown regions; None if there is neither lesion nor candidate.
    """

    lesions_mm3: dict[int, float]
    candidates: tuple[Candidate, ...]
    dice: float | None


@dataclass(frozen=True, kw_only=True)
class FrocPoint:
    """One point of a free-response curve.

    Attributes
    ----------
    least_score
        Candidates below it are dropped.
    sensitivity
        Share of lesions found, per size and for ``"all"``; None where there is no lesion of the size.
    false_positives_per_scan
        Kept candidates that overlap no lesion and no unknown region, per scan.
    """

    least_score: float
    sensitivity: dict[str, float | None]
    false_positives_per_scan: float


def scan_result(
    probability: NDArray[np.float32],
    components: NDArray[Any],
    truth: NDArray[np.int16],
    unknown: NDArray[np.bool_],
    *,
    voxel_mm3: float,
) -> ScanResult:
    """Compare one segmentation with the truth; candidates are scored by their highest probability.

    Parameters
    ----------
    probability, components
        Probability of lesion, and the numbered regions that may be lesions (slice, row, column).
    truth
        0 background, n lesion; same shape.
    unknown
        Where the truth is not known; same shape.
    voxel_mm3
        Volume of one voxel.
    """
    volumes = np.bincount(truth.ravel()) * voxel_mm3
    return ScanResult(
        lesions_mm3={n: float(v) for n, v in enumerate(volumes) if n and v},
        candidates=_candidates(probability, components, truth, unknown, voxel_mm3),
        dice=dice((components > 0) & ~unknown, (truth > 0) & ~unknown),
    )


def _candidates(
    probability: NDArray[np.float32],
    components: NDArray[Any],
    truth: NDArray[np.int16],
    unknown: NDArray[np.bool_],
    voxel_mm3: float,
) -> tuple[Candidate, ...]:
    counts = np.bincount(components.ravel())
    numbers = np.flatnonzero(counts[1:]) + 1
    if not len(numbers):
        return ()
    inside = components > 0
    peaks = np.atleast_1d(ndimage.maximum(probability[inside], components[inside], numbers))
    met = {(int(c), int(t)) for c, t in zip(components[truth > 0], truth[truth > 0], strict=True) if c}
    touching = set(np.unique(components[unknown]).tolist())
    return tuple(
        Candidate(
            number=int(number),
            score=float(peak),
            volume_mm3=float(counts[number] * voxel_mm3),
            found=tuple(sorted(t for c, t in met if c == number)),
            unknown=int(number) in touching,
        )
        for number, peak in zip(numbers, peaks, strict=True)
    )


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float | None:
    """Return 2|A∩B| / (|A| + |B|); None when both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else None


def froc_point(results: Sequence[ScanResult], *, least_score: float, minimum_volume_mm3: float) -> FrocPoint:
    """Judge all scans at one operating point."""
    false_positives = 0
    sizes: dict[str, list[bool]] = {name: [] for name in ("all", *SIZE_LIMITS_MM)}
    for result in results:
        kept = [c for c in result.candidates if c.score >= least_score and c.volume_mm3 >= minimum_volume_mm3]
        false_positives += sum(not c.found and not c.unknown for c in kept)
        found = {number for c in kept for number in c.found}
        for number, volume_mm3 in result.lesions_mm3.items():
            for name in ("all", *size_classes(volume_mm3)):
                sizes[name].append(number in found)
    return FrocPoint(
        least_score=least_score,
        sensitivity={name: float(np.mean(hits)) if hits else None for name, hits in sizes.items()},
        false_positives_per_scan=false_positives / len(results),
    )


def size_classes(volume_mm3: float) -> tuple[str, ...]:
    """Return the names of the size classes that a lesion belongs to."""
    diameter = sphere_diameter_mm(volume_mm3)
    return tuple(name for name, (low, high) in SIZE_LIMITS_MM.items() if low <= diameter < high)


def volume_ratios(results: Sequence[ScanResult], *, least_score: float) -> list[float]:
    """Return found volume / true volume of every lesion that one candidate overlaps which overlaps no other lesion."""
    ratios = []
    for result in results:
        kept = [c for c in result.candidates if c.score >= least_score and not c.unknown]
        for number, volume_mm3 in result.lesions_mm3.items():
            mine = [c for c in kept if number in c.found]
            if len(mine) == 1 and mine[0].found == (number,):
                ratios.append(mine[0].volume_mm3 / volume_mm3)
    return ratios
