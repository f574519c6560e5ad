"""The outcome of matching two sets of sites: which of the one is which of the other."""

from dataclasses import dataclass

from tracking.track import LinkKind


@dataclass(frozen=True, kw_only=True)
class Link:
    """A prior site and a current site that are one lesion; places in the two sequences.

    Attributes
    ----------
    confidence
        0 to 1: for a pair the chance against its strongest rival, for a part how much more of it lies in the whole
        than it must.
    rivalled
        Another partner would have fitted nearly as well.
    """

    prior: int
    current: int
    kind: LinkKind
    confidence: float
    rivalled: bool = False
