"""Merges and splits: sites that found no partner are joined to the one of the other study that they are part of.

A part must lie in the whole once all parts together are laid on it, and the whole must look more like all of them
than like those without the part: a lesion that went beside another one that stayed as it was has not merged into it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from tracking.matching.evidence import MatchSettings, joint_sigma_mm, widest_gate_mm
from tracking.matching.link import Link
from tracking.matching.sites import VOXEL_MM, FloatArray, Pair, Site, near_pairs, part_within, shared_points
from tracking.track import LinkKind

FURTHER_PART = 1.5  # a whole with a partner is surely the lesion, so further parts are sought so much farther off
CLEARLY, CLEARLY_PER_MM = 1.15, 0.15  # times as like, by σ: a likeness is worth less where places are uncertain
Node = tuple[int, int]  # (0, place) among the priors, (1, place) today


def joined(
    priors: Sequence[Site],
    currents: Sequence[Site],
    pairs: Iterable[Pair],
    settings: MatchSettings,
    *,
    taken: Collection[int] = (),
    contested: Collection[int] = (),
) -> list[Link]:
    """Add each site without a partner, the largest first, to the one of the other study that holds most of it.

    Parameters
    ----------
    priors, currents
        Sites in the current study's space.
    pairs
        Places of those that are one lesion already.
    taken
        Places of current sites that belong to none of these priors.
    contested
        Places of current sites that another claims too: they may only be parts of a prior one that has a partner.

    Returns
    -------
    list of Link
        The links that came to the pairs.
    """
    sites = priors, currents
    partners: dict[Node, list[int]] = defaultdict(list)
    for p, c in pairs:
        partners[0, p].append(c)
        partners[1, c].append(p)
    wholes: dict[Node, list[int]] = defaultdict(list)
    for p, c in near_pairs(priors, currents, widest_gate_mm(priors, currents, settings)):
        if c in taken:
            continue
        if c not in contested:
            wholes[0, p].append(c)
        if c not in contested or partners[0, p]:  # what a lesion that goes on has broken off comes before a return
            wholes[1, c].append(p)
    left_over = sorted((part for part in wholes if not partners[part]), key=lambda part: -_site(sites, part).volume_mm3)
    links = []
    for study, place in left_over:
        if partners[study, place]:
            continue  # another one has joined it meanwhile
        held = {}
        for whole in wholes[study, place]:
            others = [sites[study][one] for one in partners[1 - study, whole]]
            held[whole] = share_within(sites[study][place], sites[1 - study][whole], others, settings)
        whole = max(held, key=lambda one: held[one])
        if held[whole] < settings.part_of_group:
            continue
        kind = (LinkKind.MERGE, LinkKind.SPLIT)[study] if partners[1 - study, whole] else LinkKind.PAIR
        prior, current = (place, whole) if study == 0 else (whole, place)
        partners[0, prior].append(current)
        partners[1, current].append(prior)
        sure = (held[whole] - settings.part_of_group) / (1 - settings.part_of_group)
        links.append(Link(prior=prior, current=current, kind=kind, confidence=sure))
    return links


def share_within(part: Site, whole: Site, others: Sequence[Site], settings: MatchSettings) -> float:
    """How much of a part lies in a whole that has other parts, 0 to 1; 0 if the whole is none of this part's."""
    together = [*others, part]
    if whole.volume_mm3 < settings.volume_of_group * sum(site.volume_mm3 for site in together):
        return 0.0
    reach = FURTHER_PART if others else 1.0
    sigma_mm = reach * joint_sigma_mm(part, whole)
    shift_mm = _laid_on(together, whole, sigma_mm)
    if others:
        clearly = CLEARLY + CLEARLY_PER_MM * joint_sigma_mm(part, whole)
        alone_mm = _laid_on(others, whole, sigma_mm)
        if _likeness(others, whole, alone_mm) > clearly * _likeness(together, whole, shift_mm):
            return 0.0
    tolerance_mm = min(sigma_mm, reach * 0.6 * part.radius_mm) + VOXEL_MM / 2
    return part_within(part, whole, tolerance_mm, shift_mm=shift_mm)


def exchanges_a_part(prior: Site, current: Site, remainder: Site, addition: Site, settings: MatchSettings) -> bool:
    """Whether a prior lesion fell in two, of which one part has taken in another lesion.

    Parameters
    ----------
    prior, current
        What is to be one lesion in the main.
    remainder
        The other part today.
    addition
        The other lesion of before.
    """
    sigma_mm = FURTHER_PART * joint_sigma_mm(prior, current)
    before, today = (prior, addition), (current, remainder)
    to_today_mm = _capped(_centre(today) - _centre(before), sigma_mm)
    parts = (
        part_within(addition, current, VOXEL_MM / 2, shift_mm=to_today_mm),
        part_within(remainder, prior, VOXEL_MM / 2, shift_mm=-to_today_mm),
    )
    return min(parts) >= settings.part_of_group


def _site(sites: tuple[Sequence[Site], Sequence[Site]], node: Node) -> Site:
    return sites[node[0]][node[1]]


def _laid_on(parts: Sequence[Site], whole: Site, limit_mm: float) -> FloatArray:
    """Return the shift, at most so long, that brings the common centre of parts to that of the whole."""
    return _capped(whole.centroid_mm - _centre(parts), limit_mm)


def _capped(vector_mm: FloatArray, longest_mm: float) -> FloatArray:
    """Return the vector, shortened if it is longer than that."""
    return vector_mm * min(1.0, longest_mm / max(float(np.linalg.norm(vector_mm)), 1e-9))


def _centre(sites: Sequence[Site]) -> FloatArray:
    """Return the common centre of sites, LPS mm."""
    volume_mm3 = sum(site.volume_mm3 for site in sites)
    return np.asarray(sum(site.volume_mm3 * site.centroid_mm for site in sites) / volume_mm3)


def _likeness(parts: Sequence[Site], whole: Site, shift_mm: FloatArray) -> float:
    """Intersection over union of parts, moved by a vector, and the whole."""
    size = sum(len(site.cloud.points) for site in parts)
    shared = sum(shared_points(site.moved(shift_mm, site.sigma_mm), whole) for site in parts)
    return shared / (size + len(whole.cloud.points) - shared)
