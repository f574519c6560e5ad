"""Figures of one interval between two visits; months are twelfths of a year of 365.25 days."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from tracking.dynamics.growth import doubling_time_days
from tracking.history import History, volume_mm3

DAYS_PER_MONTH = 365.25 / 12


@dataclass(frozen=True, kw_only=True)
class IntervalFigures:
    """What happened between two visits, to all lesions or to some of them.

    Attributes
    ----------
    start, end
        Dates of the visits.
    count_at_start, count_at_end, volume_at_start_mm3, volume_at_end_mm3
        Lesions seen, and the sum of their volumes.
    new_tumours
        Identities first seen after the start and by the end.
    new_tumours_per_month
        Their number over the months.
    followed
        Lesions present at the start whose place is shown at the end.
    volume_change_per_tumour_mm3_per_month
        Mean over these, one that is gone by then having 0 mm³; merged ones are compared as a group. New tumours are
        not part of it. None if there was none to follow.
    doubling_days
        Of the volume of the lesions followed (see `doubling_time_days`).
    """

    start: date
    end: date
    count_at_start: int
    count_at_end: int
    volume_at_start_mm3: float
    volume_at_end_mm3: float
    new_tumours: int
    new_tumours_per_month: float
    followed: int
    volume_change_per_tumour_mm3_per_month: float | None
    doubling_days: float | None

    @property
    def months(self) -> float:
        """Length of the interval."""
        return (self.end - self.start).days / DAYS_PER_MONTH


def interval_figures(
    history: History, start: int, end: int, *, among: Collection[str] | None = None
) -> IntervalFigures:
    """Compute the figures between two visits.

    Parameters
    ----------
    history
        Of one patient.
    start, end
        Places of the two visits, ``start`` the earlier.
    among
        Tracking UIDs of the lesions to look at; None: all.

    Raises
    ------
    ValueError
        If the visits are not two, in order.
    """
    if not 0 <= start < end < len(history.visits):
        raise ValueError(f"An interval goes from a visit to a later one; {start} to {end} does not.")
    first, last = history.visits[start], history.visits[end]
    at_start, at_end = ([one for one in visit.present if _chosen(one.tracking_uid, among)] for visit in (first, last))
    months = (last.day - first.day).days / DAYS_PER_MONTH
    new = [uid for uid in _new(history, start, end) if _chosen(uid, among)]
    followed, before_mm3, after_mm3 = _followed(history, start, end, [one.tracking_uid for one in at_start])
    return IntervalFigures(
        start=first.day,
        end=last.day,
        count_at_start=len(at_start),
        count_at_end=len(at_end),
        volume_at_start_mm3=sum(one.volume_mm3 for one in at_start),
        volume_at_end_mm3=sum(one.volume_mm3 for one in at_end),
        new_tumours=len(new),
        new_tumours_per_month=len(new) / months,
        followed=followed,
        volume_change_per_tumour_mm3_per_month=(after_mm3 - before_mm3) / followed / months if followed else None,
        doubling_days=doubling_time_days(before_mm3, after_mm3, (last.day - first.day).days),
    )


def _chosen(uid: str, among: Collection[str] | None) -> bool:
    return among is None or uid in among


def _new(history: History, start: int, end: int) -> list[str]:
    return [
        uid
        for uid, number in history.first_seen().items()
        if start < number <= end and history.onset_known(number, uid)
    ]


def _followed(history: History, start: int, end: int, uids: list[str]) -> tuple[int, float, float]:
    """Return how many lesions can be followed, and their volume then and now."""
    count, before_mm3, after_mm3 = 0, 0.0, 0.0
    for members in history.groups(end, uids).values():
        before, after = (history.size(number, members, volume_mm3) for number in (start, end))
        if before is not None and after is not None:
            count, before_mm3, after_mm3 = count + len(members), before_mm3 + before, after_mm3 + after
    return count, before_mm3, after_mm3
