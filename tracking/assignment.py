"""Which sites belong together: one-to-one pairs by least total cost, then merges and splits from what is left over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.optimize import linear_sum_assignment

from tracking.sites import Site, gap_mm, overlap, part_within


@dataclass(frozen=True, kw_only=True)
class MatchSettings:
    """Limits of matching.

    Attributes
    ----------
    smallest_gate_mm, largest_gate_mm
        Two sites may belong together if the gap between them is at most 1.5 σ, kept within these limits.
    unmatched_cost
        A pair that costs more is no pair.
    overlap_weight, size_weight
        Weights of missing overlap and of the radius ratio beside the centre distance.
    part_of_group
        Part of a left-over lesion that must lie in the other for a merge or split.
    volume_of_group
        The joined lesion must have at least this part of the volume of its parts.
    """

    smallest_gate_mm: float = 1.5
    largest_gate_mm: float = 4.0
    unmatched_cost: float = 1.6
    overlap_weight: float = 0.5
    size_weight: float = 0.15
    part_of_group: float = 0.5
    volume_of_group: float = 0.8

    def gate_mm(self, sigma_mm: float) -> float:
        """Largest gap between two sites that may be one lesion."""
        return float(np.clip(1.5 * sigma_mm, self.smallest_gate_mm, self.largest_gate_mm))


class LinkKind(StrEnum):
    """Why two sites belong together."""

    PAIR = "pair"
    MERGE = "merge"
    SPLIT = "split"


@dataclass(frozen=True, kw_only=True)
class Link:
    """A prior site and a current site that are one lesion; places in the two sequences.

    Attributes
    ----------
    cost
        0 for the same place and size.
    ambiguous
        Another partner would have cost nearly as little.
    """

    prior: int
    current: int
    kind: LinkKind
    cost: float
    ambiguous: bool = False


Costs = Mapping[tuple[int, int], float]

AMBIGUOUS_MARGIN = 0.3


def link_sites(
    priors: Sequence[Site], currents: Sequence[Site], sigma_mm: float, settings: MatchSettings
) -> tuple[Link, ...]:
    """Decide which prior and current sites belong together.

    Parameters
    ----------
    priors, currents
        Sites in the current study's space.
    sigma_mm
        One standard deviation of the registration error.

    Returns
    -------
    tuple of Link
        Pairs first, at most one for each site; then merges (left-over priors) and splits (left-over currents).
    """
    costs = _costs(priors, currents, sigma_mm, settings)
    pairs = _pairs(costs, settings)
    transposed = {(current, prior): cost for (prior, current), cost in costs.items()}
    merges = _join(priors, currents, {link.current: link.prior for link in pairs}, costs, (sigma_mm, settings))
    splits = _join(currents, priors, {link.prior: link.current for link in pairs}, transposed, (sigma_mm, settings))
    return (
        *pairs,
        *(Link(prior=p, current=c, kind=LinkKind.MERGE, cost=costs[p, c]) for p, c in merges),
        *(Link(prior=p, current=c, kind=LinkKind.SPLIT, cost=costs[p, c]) for c, p in splits),
    )


def _costs(
    priors: Sequence[Site], currents: Sequence[Site], sigma_mm: float, settings: MatchSettings
) -> dict[tuple[int, int], float]:
    """Cost of each pair of sites that are near enough to be one lesion."""
    gate_mm = settings.gate_mm(sigma_mm)
    return {
        (p, c): _cost(prior, current, sigma_mm, settings)
        for p, prior in enumerate(priors)
        for c, current in enumerate(currents)
        if gap_mm(prior, current, gate_mm) <= gate_mm
    }


def _cost(prior: Site, current: Site, sigma_mm: float, settings: MatchSettings) -> float:
    distance_mm = float(np.linalg.norm(prior.centroid_mm - current.centroid_mm))
    radii_mm = prior.radius_mm, current.radius_mm
    return (
        distance_mm / (max(radii_mm) + sigma_mm)
        + settings.overlap_weight * (1 - overlap(prior, current))
        + settings.size_weight * abs(float(np.log(radii_mm[0] / radii_mm[1])))
    )


def _pairs(costs: Costs, settings: MatchSettings) -> tuple[Link, ...]:
    """Pair sites one to one by least total cost; staying alone costs ``unmatched_cost`` (a dummy partner)."""
    if not costs:
        return ()
    priors, currents = (sorted(set(places)) for places in zip(*costs, strict=True))
    impossible = 1e6
    table = np.full((len(priors), len(currents) + len(priors)), impossible)
    for (p, c), cost in costs.items():
        table[priors.index(p), currents.index(c)] = cost
    table[:, len(currents) :][np.diag_indices(len(priors))] = settings.unmatched_cost
    chosen = zip(*linear_sum_assignment(table), strict=True)
    pairs = [(priors[row], currents[column]) for row, column in chosen if column < len(currents)]
    return tuple(
        Link(prior=p, current=c, kind=LinkKind.PAIR, cost=costs[p, c], ambiguous=_ambiguous(costs, p, c))
        for p, c in pairs
    )


def _ambiguous(costs: Costs, prior: int, current: int) -> bool:
    rivals = [cost for (p, c), cost in costs.items() if (p == prior) != (c == current)]
    return any(cost <= costs[prior, current] + AMBIGUOUS_MARGIN for cost in rivals)


def _join(
    parts: Sequence[Site],
    wholes: Sequence[Site],
    partners: Mapping[int, int],
    costs: Costs,
    limits: tuple[float, MatchSettings],
) -> list[tuple[int, int]]:
    """Add left-over parts, the largest first, to wholes that have a partner; (part, whole) of each that fits."""
    groups = {whole: [part] for whole, part in partners.items()}
    left_over = {part for part, _ in costs} - set(partners.values())
    joined = []
    for part in sorted(left_over, key=lambda place: -_volume_mm3(parts[place])):
        nearest_first = sorted((cost, whole) for (p, whole), cost in costs.items() if p == part and whole in groups)
        for _, whole in nearest_first:
            together = [parts[place] for place in (*groups[whole], part)]
            if _fits(together, wholes[whole], *limits):
                groups[whole].append(part)
                joined.append((part, whole))
                break
    return joined


def _fits(parts: Sequence[Site], whole: Site, sigma_mm: float, settings: MatchSettings) -> bool:
    """Whether the last of the parts lies in the whole, and the whole is large enough to hold them all."""
    tolerance_mm = min(sigma_mm, 0.6 * parts[-1].radius_mm + 0.5)
    large_enough = _volume_mm3(whole) >= settings.volume_of_group * sum(map(_volume_mm3, parts))
    return large_enough and part_within(parts[-1], whole, tolerance_mm) >= settings.part_of_group


def _volume_mm3(site: Site) -> float:
    return site.lesion.total_volume_mm3
