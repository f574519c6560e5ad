"""All that one step of matching looks at, from one study to the next, and the groups that it forms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tracking.alignment import Alignment
from tracking.lesion import Lesion
from tracking.matching.evidence import MatchSettings
from tracking.matching.link import Link
from tracking.matching.sites import Site
from tracking.timepoint import Timepoint
from tracking.track import KnownLesion


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """Two studies and what is known of the earlier one; sites are in the current study's space.

    Attributes
    ----------
    present, prior_lesions, priors
        Identities that the prior study shows, as whom, and their sites, place by place.
    absent, empty
        Identities known from before, but not there in the prior study, and their sites.
    current_lesions, currents
        Lesions of the current study and their sites.
    """

    current: Timepoint
    prior: Timepoint
    alignment: Alignment
    settings: MatchSettings
    present: tuple[KnownLesion, ...]
    prior_lesions: tuple[Lesion, ...]
    priors: tuple[Site, ...]
    absent: tuple[KnownLesion, ...]
    empty: tuple[Site, ...]
    current_lesions: tuple[Lesion, ...]
    currents: tuple[Site, ...]


@dataclass(frozen=True, kw_only=True)
class Group:
    """What is one lesion: places in the sequences of `Step`, and the links between them.

    Attributes
    ----------
    links
        From the lesions of the prior study to the current ones.
    returns
        From the empty sites to the current lesions.
    """

    priors: tuple[int, ...]
    empty: tuple[int, ...]
    currents: tuple[int, ...]
    links: tuple[Link, ...]
    returns: tuple[Link, ...]

    @property
    def vanished(self) -> tuple[int, ...]:
        """Lesions of the prior study that no current one continues."""
        return tuple(place for place in self.priors if place not in {link.prior for link in self.links})

    @property
    def still_empty(self) -> tuple[int, ...]:
        """Empty sites to which nothing has returned."""
        return tuple(place for place in self.empty if place not in {link.prior for link in self.returns})


def groups_of(step: Step, links: Sequence[Link], returns: Sequence[Link]) -> Iterator[Group]:
    """Join what is linked, and the parts of one identity, into groups."""
    first_empty, first_current = len(step.priors), len(step.priors) + len(step.empty)
    edges = [(link.prior, first_current + link.current) for link in links]
    edges += [(first_empty + link.prior, first_current + link.current) for link in returns]
    first_of: dict[str, int] = {}
    for node, known in enumerate((*step.present, *step.absent)):
        edges.append((first_of.setdefault(known.tracking_uid, node), node))
    membership = _membership(edges, first_current + len(step.currents))
    for group in range(membership.max(initial=-1) + 1):
        nodes = np.flatnonzero(membership == group).tolist()
        priors = tuple(node for node in nodes if node < first_empty)
        empty = tuple(node - first_empty for node in nodes if first_empty <= node < first_current)
        yield Group(
            priors=priors,
            empty=empty,
            currents=tuple(node - first_current for node in nodes if node >= first_current),
            links=tuple(link for link in links if link.prior in priors),
            returns=tuple(link for link in returns if link.prior in empty),
        )


def _membership(edges: Sequence[tuple[int, int]], size: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """Return the number of the group of each node."""
    rows, columns = (np.array([edge[end] for edge in edges], int) for end in (0, 1))
    graph = coo_array((np.ones(len(edges)), (rows, columns)), shape=(size, size))
    _, membership = connected_components(graph, directed=False)
    return np.asarray(membership)
