"""How surely two sites are one lesion: the evidence that assignment weighs.

The evidence for a pair is the logarithm of a likelihood ratio: that one lesion shows this shift and this growth,
against that the prior one went and another came by chance. So the gate widens with the error of registration by
itself, and confidence follows from the rivals' evidence. Nothing here knows which study is the earlier one: with the
two exchanged, the evidence is the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tracking.matching.sites import VOXEL_MM, Pair, Site, near_pairs


@dataclass(frozen=True, kw_only=True)
class MatchSettings:
    """What matching takes for granted.

    Attributes
    ----------
    smallest_gate_mm, gate_sigmas
        Two sites may belong together if the gap between them is at most the smallest gate and so many σ more.
    resolving
        Chance that a lesion of one study is not found in the other.
    staying_away
        Chance that a lesion that had gone is not found in a certain later study either.
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
    staying_away: float = 0.9
    appearing_per_mm3: float = 1e-5
    growth_spread: float = 1.2
    part_of_group: float = 0.5
    volume_of_group: float = 0.6

    def gate_mm(self, sigma_mm: float) -> float:
        """Largest gap between two sites that may be one lesion."""
        return self.smallest_gate_mm + self.gate_sigmas * sigma_mm


Evidence = Mapping[Pair, float]

CENTRE_NOISE_MM = 0.4  # of a centroid, by voxels and outlines
CENTRE_NOISE_OF_RADIUS = 0.1
CENTRE_NOISE_OF_GROWTH = 0.35  # of the difference of radii: a lesion grows and shrinks to one side
SHIFT_WITHIN = 0.5  # chance that a lesion's new centre may be anywhere within its body
USUAL_LOG_MM3, SPREAD_LOG_MM3 = np.log(60.0), 1.6  # volumes of metastases at first sight


def evidence_of(
    priors: Sequence[Site], currents: Sequence[Site], settings: MatchSettings, *, missing: float
) -> dict[Pair, float]:
    """Evidence of each pair of sites that are near enough to be one lesion, where it speaks for the pair.

    Parameters
    ----------
    priors, currents
        Sites in the current study's space.
    missing
        Chance that a prior site's lesion is not found today.
    """
    found = {}
    odds = np.log((1 - missing) / missing)
    for p, c in near_pairs(priors, currents, widest_gate_mm(priors, currents, settings)):
        prior, current = priors[p], currents[c]
        gate_mm = settings.gate_mm(joint_sigma_mm(prior, current))
        small, large = sorted((prior, current), key=lambda site: len(site.cloud.points))
        distances_mm = large.distances_mm(small.points, limit_mm=gate_mm + VOXEL_MM)
        if distances_mm.min() <= gate_mm + VOXEL_MM:
            value = odds + _log_ratio(prior, current, float((distances_mm <= VOXEL_MM).mean()), settings)
            if value > 0:
                found[p, c] = float(value)
    return found


def widest_gate_mm(priors: Sequence[Site], currents: Sequence[Site], settings: MatchSettings) -> float:
    """Largest gap between any two sites that may be one lesion."""
    return settings.gate_mm(max((site.sigma_mm for site in (*priors, *currents)), default=0.0))


def joint_sigma_mm(first: Site, second: Site) -> float:
    """Return the standard deviation of the length of the misplacement of one site against the other."""
    return float(np.hypot(first.sigma_mm, second.sigma_mm))


def centre_noise_mm(first: Site, second: Site) -> float:
    """Return the standard deviation per axis of the distance of two sights of one lesion, registration apart."""
    radii_mm = first.radius_mm, second.radius_mm
    growth_mm = CENTRE_NOISE_OF_GROWTH * abs(radii_mm[0] - radii_mm[1])
    return float(np.hypot(CENTRE_NOISE_MM + CENTRE_NOISE_OF_RADIUS * max(radii_mm), growth_mm))


def _log_ratio(prior: Site, current: Site, within: float, settings: MatchSettings) -> float:
    """Logarithm of the likelihood ratio of "one lesion" and "one went, another came", before the odds of going.

    Parameters
    ----------
    within
        Part of the smaller site that lies within the larger.
    """
    logs = np.log([prior.volume_mm3, current.volume_mm3])
    one = _log_place(prior, current, within) + _log_normal(logs[1] - logs[0], settings.growth_spread)
    any_size = np.mean([_log_normal(log - USUAL_LOG_MM3, SPREAD_LOG_MM3) for log in logs])
    two = np.log(settings.appearing_per_mm3) + any_size
    return float(one - two)


def _log_place(prior: Site, current: Site, within: float) -> float:
    """Logarithm of the density, per mm³, of finding one lesion's centre here: near its old one, or within its body."""
    variance_mm2 = joint_sigma_mm(prior, current) ** 2 / 3 + centre_noise_mm(prior, current) ** 2
    squared_mm2 = float(((prior.centroid_mm - current.centroid_mm) ** 2).sum())
    near = -squared_mm2 / (2 * variance_mm2) - 1.5 * np.log(2 * np.pi * variance_mm2)
    larger_mm3 = max(prior.volume_mm3, current.volume_mm3)
    body = np.log(SHIFT_WITHIN * within / larger_mm3) if within else -np.inf
    return float(np.logaddexp(near, body))


def _log_normal(deviation: float, spread: float) -> float:
    return float(-0.5 * (deviation / spread) ** 2 - np.log(spread * np.sqrt(2 * np.pi)))
