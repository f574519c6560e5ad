"""Which sites belong together: one-to-one pairs by most evidence, then merges and splits from what is left over.

Lesions of the prior study and the places of lesions that had gone before it compete for today's lesions, so that a
lesion that returns is not taken for its neighbour, nor the neighbour for it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import expit

from tracking.matching.evidence import Evidence, MatchSettings, evidence_of
from tracking.matching.groups import exchanges_a_part, joined
from tracking.matching.link import Link
from tracking.matching.sites import Pair, Site
from tracking.track import LinkKind

RIVAL_MARGIN = 1.5  # odds of 4.5


@dataclass(frozen=True, kw_only=True)
class Links:
    """What belongs together.

    Attributes
    ----------
    going_on
        From prior sites to current ones: pairs, at most one for each site, then the parts of merges and splits.
    returning
        The same from the empty sites.
    """

    going_on: tuple[Link, ...]
    returning: tuple[Link, ...]


def link_sites(
    priors: Sequence[Site],
    currents: Sequence[Site],
    empty: Sequence[Site] = (),
    settings: MatchSettings | None = None,
) -> Links:
    """Decide which prior and current sites belong together.

    Parameters
    ----------
    priors, currents
        Sites in the current study's space.
    empty
        Where lesions had been that the prior study did not show any more.
    """
    settings, first = settings or MatchSettings(), len(priors)
    evidence = evidence_of(priors, currents, settings, missing=settings.resolving)
    of_empty = evidence_of(empty, currents, settings, missing=settings.staying_away)
    evidence |= {(first + e, c): value for (e, c), value in of_empty.items()}
    pairs = _best_pairs(evidence, (first + len(empty), len(currents)))
    pairs = _with_exchanges(pairs, evidence, priors, currents, settings)
    stayed = [(p, c) for p, c in pairs if p < first]
    returned = [(p - first, c) for p, c in pairs if p >= first]
    parts = joined(priors, currents, stayed, settings, contested={c for _, c in returned})
    known = {c for _, c in stayed} | {part.current for part in parts}
    returned = [(e, c) for e, c in returned if c not in known]
    further = joined(empty, currents, returned, settings, taken=known)
    back = [*returned, *((part.prior, part.current) for part in further)]
    swallowed = _swallowed(priors, currents, [*stayed, *_places(parts)], [(empty[e], c) for e, c in back], settings)
    allies = {*_places(parts), *_places(swallowed), *((first + e, c) for e, c in back)}
    return Links(
        going_on=(*(_pair_link(evidence, pair, allies) for pair in stayed), *parts, *swallowed),
        returning=(*(_return_link(evidence, pair, allies, first) for pair in returned), *further),
    )


def pair_sites(priors: Sequence[Site], currents: Sequence[Site], settings: MatchSettings) -> tuple[Link, ...]:
    """Pair sites one to one so that the sum of the evidence is greatest; what has none stays alone."""
    evidence = evidence_of(priors, currents, settings, missing=settings.resolving)
    return tuple(_pair_link(evidence, pair) for pair in _best_pairs(evidence, (len(priors), len(currents))))


def _best_pairs(evidence: Evidence, counts: Pair) -> list[Pair]:
    if not evidence:
        return []
    table = np.zeros(counts)
    for pair, value in evidence.items():
        table[pair] = value
    chosen = [(int(p), int(c)) for p, c in zip(*linear_sum_assignment(-table), strict=True)]
    return [pair for pair in chosen if pair in evidence]


def _with_exchanges(
    pairs: Sequence[Pair], evidence: Evidence, priors: Sequence[Site], currents: Sequence[Site], settings: MatchSettings
) -> list[Pair]:
    """Pair a lesion with its larger part, where the sum of the evidence had given that part to a lesion it took in.

    Both other lesions are left over then, and may be joined as parts.
    """
    kept = set(pairs)
    for (p, c), value in sorted(evidence.items(), key=lambda item: -item[1]):
        rivals = [pair for pair in kept if (pair[0] == p) != (pair[1] == c)]
        if len(rivals) != 2 or max(p, *(one for one, _ in rivals)) >= len(priors):
            continue
        if value <= max(evidence[pair] for pair in rivals):
            continue
        remainder = next(current for prior, current in rivals if prior == p)
        addition = next(prior for prior, current in rivals if current == c)
        if exchanges_a_part(priors[p], currents[c], currents[remainder], priors[addition], settings):
            kept = kept.difference(rivals) | {(p, c)}
    return sorted(kept)


def _swallowed(
    priors: Sequence[Site],
    currents: Sequence[Site],
    known: Sequence[Pair],
    back: Sequence[tuple[Site, int]],
    settings: MatchSettings,
) -> list[Link]:
    """Join prior lesions that are left over to larger ones that have returned round them."""
    sites = (*priors, *(site for site, _ in back))
    pairs = [*known, *((len(priors) + place, c) for place, (_, c) in enumerate(back))]
    others = set(range(len(currents))) - {c for _, c in back}
    return joined(sites, currents, pairs, settings, taken=others)


def _places(links: Sequence[Link]) -> list[Pair]:
    return [(link.prior, link.current) for link in links]


def _return_link(evidence: Evidence, pair: Pair, allies: Collection[Pair], first: int) -> Link:
    """Judge a pair with an empty site, which the evidence counts from ``first`` on."""
    return replace(_pair_link(evidence, (first + pair[0], pair[1]), allies), prior=pair[0])


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
