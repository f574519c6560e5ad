"""Published and plain ways to match lesions, kept to measure ours against; none of them is used for patients.

All see the same carried-over sites as `tracking.matching.assignment` does, and answer with pairs of places
(prior, current). "IoR" is intersection over reference: shared voxels over the voxels of the earlier lesion.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from tracking.matching.sites import Site, near_pairs, shared_points

FloatArray = NDArray[np.float64]
Pairs = frozenset[tuple[int, int]]
Baseline = Callable[[Sequence[Site], Sequence[Site]], Pairs]

HUNGARIAN_LIMIT_MM = 10.0


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """One of the three contradictory sets that NYUMets published (Nat Commun 2024)."""

    distance_mm: float
    overlap: float


NYUMETS = (
    Thresholds(distance_mm=10.0, overlap=0.2),
    Thresholds(distance_mm=1.0, overlap=0.1),
    Thresholds(distance_mm=1000.0, overlap=0.001),
)


def dilated_overlap(priors: Sequence[Site], currents: Sequence[Site]) -> Pairs:
    """Link all that share a voxel once the prior lesion has grown by one voxel on every side."""
    return frozenset(
        (p, c) for p, c in near_pairs(priors, currents, 1.0) if _nearest_voxels(priors[p], currents[c]) <= 1
    )


def registration_only(priors: Sequence[Site], currents: Sequence[Site]) -> Pairs:
    """Give each lesion the name of the warped prior lesion that covers most of it."""
    shared = _shared(priors, currents)
    best = {c: max((p for p, other in shared if other == c), key=lambda p: shared[p, c]) for _, c in shared}
    return frozenset((p, c) for c, p in best.items())


def hungarian(priors: Sequence[Site], currents: Sequence[Site]) -> Pairs:
    """Pair centres one to one at the least total distance, none farther than 10 mm."""
    if not priors or not currents:
        return frozenset()
    distance_mm = _centre_distances(priors, currents)
    cost = np.minimum(distance_mm, 10 * HUNGARIAN_LIMIT_MM)
    rows, columns = linear_sum_assignment(cost)
    return frozenset(
        (int(p), int(c)) for p, c in zip(rows, columns, strict=True) if distance_mm[p, c] <= HUNGARIAN_LIMIT_MM
    )


def nyumets_greatest(priors: Sequence[Site], currents: Sequence[Site], *, limits: Thresholds) -> Pairs:
    """For each current lesion the prior one of the greatest IoR among those within both thresholds (the paper)."""
    passed = _passed(priors, currents, limits)
    best = {c: max((p for p, other in passed if other == c), key=lambda p: passed[p, c]) for _, c in passed}
    return frozenset((p, c) for c, p in best.items())


def nyumets_mutual(priors: Sequence[Site], currents: Sequence[Site], *, limits: Thresholds) -> Pairs:
    """Pairs within both thresholds that are each other's best by distance and by IoR (the code)."""
    passed = _passed(priors, currents, limits)
    if not passed:
        return frozenset()
    distance_mm = _centre_distances(priors, currents)
    return frozenset(
        (p, c)
        for (p, c), ratio in passed.items()
        if distance_mm[p, c] <= min(distance_mm[p].min(), distance_mm[:, c].min())
        and ratio >= max(other for (q, d), other in passed.items() if q == p or d == c)
    )


BASELINES: Mapping[str, Baseline] = {
    "overlap, dilated 1 voxel": dilated_overlap,
    "Hungarian": hungarian,
    "registration only": registration_only,
    **{
        f"NYUMets {name}, {limits.distance_mm:g} mm / {limits.overlap:g}": partial(method, limits=limits)
        for name, method in (("greatest", nyumets_greatest), ("mutual", nyumets_mutual))
        for limits in NYUMETS
    },
}


def _centre_distances(priors: Sequence[Site], currents: Sequence[Site]) -> FloatArray:
    return np.asarray(cdist([site.centroid_mm for site in priors], [site.centroid_mm for site in currents]))


def _nearest_voxels(first: Site, second: Site) -> float:
    """Count the steps between the nearest voxels, diagonal ones counting as one."""
    return float(first.distances_mm(second.points, norm=np.inf).min())


def _shared(priors: Sequence[Site], currents: Sequence[Site]) -> dict[tuple[int, int], int]:
    """Voxels that two sites share, of those that share any."""
    counts = {(p, c): shared_points(priors[p], currents[c]) for p, c in near_pairs(priors, currents, 0.0)}
    return {pair: count for pair, count in counts.items() if count}


def _passed(priors: Sequence[Site], currents: Sequence[Site], limits: Thresholds) -> dict[tuple[int, int], float]:
    distance_mm = _centre_distances(priors, currents) if priors and currents else np.empty((0, 0))
    ratios = {(p, c): count / len(priors[p].cloud.points) for (p, c), count in _shared(priors, currents).items()}
    return {
        pair: ratio
        for pair, ratio in ratios.items()
        if ratio >= limits.overlap and distance_mm[pair] <= limits.distance_mm
    }
