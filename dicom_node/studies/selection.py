"""Which series is what: physics in the header first, pixels second, names never as proof."""

from dataclasses import dataclass

from tracking.timepoint import MRSequence


@dataclass(frozen=True, kw_only=True)
class SeriesDecision:
    """Why a series is used, or why not.

    Attributes
    ----------
    series_uid, series_number, description
        As in the header; the description may be empty.
    role
        The sequence that it serves as; None when it is not used.
    reason
        One sentence for a person: the evidence for the role, or why the series is not used.
    """

    series_uid: str
    series_number: int | None
    description: str
    role: MRSequence | None
    reason: str
