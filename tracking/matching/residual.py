"""What registration has left over, learnt from the lesions themselves: neighbours are off in the same direction.

Lesions that are surely paired show how far registration is off at their places. Every other lesion is moved by what
its neighbours show, and paired anew; none ever speaks for itself, or a wrong pair would confirm itself.
"""

from collections.abc import Sequence

import numpy as np

from tracking.matching.assignment import pair_sites
from tracking.matching.evidence import MatchSettings, centre_noise_mm
from tracking.matching.kriging import Offsets, correct
from tracking.matching.sites import Site

ROUNDS = 6
SURE = 0.9
FEWEST_PAIRS = 2
SMALLEST_SIGMA_MM = 0.3


def settle(
    priors: Sequence[Site], currents: Sequence[Site], others: Sequence[Site] = (), settings: MatchSettings | None = None
) -> tuple[tuple[Site, ...], tuple[Site, ...]]:
    """Move prior sites to where their neighbours say that they are.

    Parameters
    ----------
    priors, currents
        Sites of both studies in the current study's space, the priors as registration carried them.
    others
        Sites that were carried over in the same way, but have no partner today that could tell of them.

    Returns
    -------
    tuple of Site, tuple of Site
        The priors and the others in their order, each with what is left of its σ. With fewer than two sure pairs
        nothing is moved.
    """
    carried, settings = (*priors, *others), settings or MatchSettings()
    settled: tuple[Site, ...] = carried
    sure: tuple[tuple[int, int], ...] = ()
    for _ in range(ROUNDS):
        before, sure = sure, _sure_pairs(settled[: len(priors)], currents, settings)
        if len(sure) < FEWEST_PAIRS or sure == before:
            break
        settled = _moved(carried, sure, currents)
    return settled[: len(priors)], settled[len(priors) :]


def _sure_pairs(
    priors: Sequence[Site], currents: Sequence[Site], settings: MatchSettings
) -> tuple[tuple[int, int], ...]:
    links = pair_sites(priors, currents, settings)
    return tuple((link.prior, link.current) for link in links if link.confidence > SURE and not link.rivalled)


def _moved(carried: Sequence[Site], sure: Sequence[tuple[int, int]], currents: Sequence[Site]) -> tuple[Site, ...]:
    samples = np.array([prior for prior, _ in sure])
    partners = [currents[current] for _, current in sure]
    places_mm = np.array([site.centroid_mm for site in carried])
    offsets = Offsets(
        places_mm=places_mm[samples],
        vectors_mm=np.array([site.centroid_mm for site in partners]) - places_mm[samples],
        noise_mm=np.array([centre_noise_mm(carried[p], c) for p, c in zip(samples, partners, strict=True)]),
    )
    sigma_mm = max(float(np.mean([site.sigma_mm for site in carried])), SMALLEST_SIGMA_MM)
    correction = correct(places_mm, samples, offsets, sigma_mm)
    return tuple(
        site.moved(shift_mm, max(left_mm, SMALLEST_SIGMA_MM))
        for site, shift_mm, left_mm in zip(carried, correction.shifts_mm, correction.sigmas_mm, strict=True)
    )
