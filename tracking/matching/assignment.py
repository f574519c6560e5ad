"""Which sites belong together: one-to-one pairs by most evidence, then merges and splits from what is left over.

The evidence for a pair is the logarithm of a likelihood ratio: that one lesion shows this shift and this growth,
against that the prior one went and another came by chance. So the gate widens with the error of registration by
itself, and confidence follows from the rivals' evidence. Nothing here knows which study is the earlier one: with the
two exchanged, the same sites are linked.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import expit

from tracking.matching.sites import VOXEL_MM, Pair, Site, near_pairs, part_within
from tracking.track import LinkKind


@dataclass(frozen=True, kw_only=True)
class MatchSettings:
    """What matching takes for granted.

    Attributes
    ----------
    smallest_gate_mm, gate_sigmas
        Two sites may belong together if the gap between them is at most the smallest gate and so many σ more.
    resolving
        Chance that a lesion of one study is not found in the other.
    appearing_per_mm3
        Chance that a lesion not seen before lies in a certain cubic millimetre near another.
    growth_spread
        Standard deviation of the logarithm of the volume ratio of one lesion in two studies.
    part_of_group
        Part of a left-over lesion that must lie in the other for a merge or split.
    volume_of_group
        The joined lesion must have at least this part of the volume of its parts.
    """

    smallest_gate_mm: float = 1.5
    gate_sigmas: float = 1.5
    resolving: float = 0.15
    appearing_per_mm3: float = 1e-5
    growth_spread: float = 1.2
    part_of_group: float = 0.5
    volume_of_group: float = 0.6

    def gate_mm(self, sigma_mm: float) -> float:
        """Largest gap between two sites that may be one lesion."""
        return self.smallest_gate_mm + self.gate_sigmas * sigma_mm


@dataclass(frozen=True, kw_only=True)
class Link:
    """A prior site and a current site that are one lesion; places in the two sequences.

    Attributes
    ----------
    confidence
        0 to 1: for a pair the chance against its strongest rival, for a part how much of it lies in the whole.
    rivalled
        Another partner would have fitted nearly as well.
    """

    prior: int
    current: int
    kind: LinkKind
    confidence: float
    rivalled: bool = False


Evidence = Mapping[Pair, float]

RIVAL_MARGIN = 1.5  # odds of 4.5
CENTRE_NOISE_MM = 0.4  # of a centroid, by voxels and outlines
CENTRE_NOISE_OF_RADIUS = 0.1
CENTRE_NOISE_OF_GROWTH = 0.35  # of the difference of radii: a lesion grows and shrinks to one side
FURTHER_PART = 1.5  # a whole with a partner is surely the lesion, so further parts are sought so much farther off
SHIFT_WITHIN = 0.5  # chance that a lesion's new centre may be anywhere within its body
USUAL_LOG_MM3, SPREAD_LOG_MM3 = np.log(60.0), 1.6  # volumes of metastases at first sight


def link_sites(
    priors: Sequence[Site], currents: Sequence[Site], settings: MatchSettings | None = None
) -> tuple[Link, ...]:
    """Decide which prior and current sites belong together.

    Parameters
    ----------
    priors, currents
        Sites in the current study's space.

    Returns
    -------
    tuple of Link
        Pairs, at most one for each site; then the parts of merges and splits.
    """
    settings = settings or MatchSettings()
    evidence = _all_evidence(priors, currents, settings)
    pairs = _best_pairs(evidence, (len(priors), len(currents)))
    parts = _Groups(priors, currents, settings).join(pairs)
    allies = {(link.prior, link.current) for link in parts}
    return (*(_pair_link(evidence, (link.prior, link.current), allies) for link in pairs), *parts)


def pair_sites(priors: Sequence[Site], currents: Sequence[Site], settings: MatchSettings) -> tuple[Link, ...]:
    """Pair sites one to one so that the sum of the evidence is greatest; what has none stays alone."""
    return _best_pairs(_all_evidence(priors, currents, settings), (len(priors), len(currents)))


def _best_pairs(evidence: Evidence, counts: Pair) -> tuple[Link, ...]:
    if not evidence:
        return ()
    table = np.zeros(counts)
    for pair, value in evidence.items():
        table[pair] = value
    chosen = [(int(p), int(c)) for p, c in zip(*linear_sum_assignment(-table), strict=True)]
    return tuple(_pair_link(evidence, pair) for pair in chosen if pair in evidence)


def centre_noise_mm(first: Site, second: Site) -> float:
    """Return the standard deviation per axis of the distance of two sights of one lesion, registration apart."""
    radii_mm = first.radius_mm, second.radius_mm
    growth_mm = CENTRE_NOISE_OF_GROWTH * abs(radii_mm[0] - radii_mm[1])
    return float(np.hypot(CENTRE_NOISE_MM + CENTRE_NOISE_OF_RADIUS * max(radii_mm), growth_mm))


def _all_evidence(priors: Sequence[Site], currents: Sequence[Site], settings: MatchSettings) -> dict[Pair, float]:
    """Evidence of each pair of sites that are near enough to be one lesion, where it speaks for the pair."""
    found = {}
    for p, c in near_pairs(priors, currents, _widest_gate_mm(priors, currents, settings)):
        prior, current = priors[p], currents[c]
        gate_mm = settings.gate_mm(_sigma_mm(prior, current))
        small, large = sorted((prior, current), key=lambda site: len(site.cloud.points))
        distances_mm = large.distances_mm(small.points, limit_mm=gate_mm + VOXEL_MM)
        if distances_mm.min() <= gate_mm + VOXEL_MM:
            value = _evidence(prior, current, float((distances_mm <= VOXEL_MM).mean()), settings)
            if value > 0:
                found[p, c] = value
    return found


def _widest_gate_mm(priors: Sequence[Site], currents: Sequence[Site], settings: MatchSettings) -> float:
    return settings.gate_mm(max((site.sigma_mm for site in (*priors, *currents)), default=0.0))


def _sigma_mm(first: Site, second: Site) -> float:
    return float(np.hypot(first.sigma_mm, second.sigma_mm))


def _evidence(prior: Site, current: Site, within: float, settings: MatchSettings) -> float:
    """Logarithm of the likelihood ratio of "one lesion" and "one went, another came".

    Parameters
    ----------
    within
        Part of the smaller site that lies within the larger.
    """
    logs = np.log([prior.volume_mm3, current.volume_mm3])
    one = _log_place(prior, current, within) + _log_normal(logs[1] - logs[0], settings.growth_spread)
    any_size = np.mean([_log_normal(log - USUAL_LOG_MM3, SPREAD_LOG_MM3) for log in logs])
    two = np.log(settings.appearing_per_mm3) + any_size
    return float(one - two + np.log((1 - settings.resolving) / settings.resolving))


def _log_place(prior: Site, current: Site, within: float) -> float:
    """Logarithm of the density, per mm³, of finding one lesion's centre here: near its old one, or within its body."""
    variance_mm2 = _sigma_mm(prior, current) ** 2 / 3 + centre_noise_mm(prior, current) ** 2
    squared_mm2 = float(((prior.centroid_mm - current.centroid_mm) ** 2).sum())
    near = -squared_mm2 / (2 * variance_mm2) - 1.5 * np.log(2 * np.pi * variance_mm2)
    larger_mm3 = max(prior.volume_mm3, current.volume_mm3)
    body = np.log(SHIFT_WITHIN * within / larger_mm3) if within else -np.inf
    return float(np.logaddexp(near, body))


def _log_normal(deviation: float, spread: float) -> float:
    return float(-0.5 * (deviation / spread) ** 2 - np.log(spread * np.sqrt(2 * np.pi)))


def _pair_link(evidence: Evidence, pair: Pair, allies: Collection[Pair] = ()) -> Link:
    """Judge a pair by its strongest rival: another partner of either site, or none; parts of one lesion are allies."""
    rivals = [
        value
        for other, value in evidence.items()
        if (other[0] == pair[0]) != (other[1] == pair[1]) and other not in allies
    ]
    strongest = max(rivals, default=0.0)
    return Link(
        prior=pair[0],
        current=pair[1],
        kind=LinkKind.PAIR,
        confidence=float(expit(evidence[pair] - strongest)),
        rivalled=strongest > max(evidence[pair] - RIVAL_MARGIN, 0.0),
    )


class _Groups:
    """Sites of both studies that are being joined; a site is (0, place) among the priors, (1, place) today."""

    def __init__(self, priors: Sequence[Site], currents: Sequence[Site], settings: MatchSettings) -> None:
        self.sites = priors, currents
        self.settings = settings
        self.partners: dict[tuple[int, int], list[int]] = defaultdict(list)

    def join(self, pairs: Iterable[Link]) -> list[Link]:
        """Add each site without a partner, the largest first, to the larger one of the other study that holds it."""
        for link in pairs:
            self._link(link.prior, link.current)
        priors, currents = self.sites
        wholes: dict[tuple[int, int], list[int]] = defaultdict(list)
        for p, c in near_pairs(priors, currents, _widest_gate_mm(priors, currents, self.settings)):
            if priors[p].volume_mm3 <= currents[c].volume_mm3:
                wholes[0, p].append(c)
            else:
                wholes[1, c].append(p)
        left_over = [part for part in wholes if not self.partners[part]]
        left_over.sort(key=lambda part: -self.sites[part[0]][part[1]].volume_mm3)
        return [link for part in left_over for link in self._added(part, wholes[part])]

    def _link(self, prior: int, current: int) -> None:
        self.partners[0, prior].append(current)
        self.partners[1, current].append(prior)

    def _added(self, part: tuple[int, int], wholes: Sequence[int]) -> list[Link]:
        study, place = part
        inside = {whole: self._inside(part, whole) for whole in wholes}
        whole = max(inside, key=lambda one: inside[one])
        if inside[whole] < self.settings.part_of_group:
            return []
        alone = not self.partners[1 - study, whole]
        kind = LinkKind.PAIR if alone else (LinkKind.MERGE, LinkKind.SPLIT)[study]
        prior, current = (place, whole) if study == 0 else (whole, place)
        self._link(prior, current)
        return [Link(prior=prior, current=current, kind=kind, confidence=inside[whole])]

    def _inside(self, part: tuple[int, int], whole: int) -> float:
        """How much of a part lies in the whole; 0 if that is too small to hold all its parts.

        All parts together are laid on the whole first, as far as the error of registration allows.
        """
        study, place = part
        parts, outer = self.sites[study], self.sites[1 - study][whole]
        others = self.partners[1 - study, whole]
        together = [parts[one] for one in (*others, place)]
        volume_mm3 = sum(site.volume_mm3 for site in together)
        if outer.volume_mm3 < self.settings.volume_of_group * volume_mm3:
            return 0.0
        reach = FURTHER_PART if others else 1.0
        sigma_mm = reach * _sigma_mm(parts[place], outer)
        shift_mm = outer.centroid_mm - sum(site.volume_mm3 * site.centroid_mm for site in together) / volume_mm3
        shift_mm *= min(1.0, sigma_mm / max(float(np.linalg.norm(shift_mm)), 1e-9))
        tolerance_mm = min(sigma_mm, reach * 0.6 * parts[place].radius_mm) + 0.5
        return part_within(parts[place], outer, tolerance_mm, shift_mm=shift_mm)
