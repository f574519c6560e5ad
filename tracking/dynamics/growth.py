"""Growth of single lesions, and what rates of zero become on a logarithmic scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from tracking.history import History, volume_mm3
from tracking.measurement.error import within_measurement_error
from tracking.treatments import Treatment, treated_before


def doubling_time_days(prior_mm3: float, current_mm3: float, days: int) -> float | None:
    """Return the days in which a volume doubles at a constant relative rate, ``days · ln 2 / ln(V₂ / V₁)``.

    Parameters
    ----------
    prior_mm3, current_mm3
        Volumes.
    days
        Between them, above 0.

    Returns
    -------
    float or None
        Negative for what shrinks: then it is the time in which the volume halves. None where no rate exists: no
        change, or no lesion on one side.
    """
    if prior_mm3 <= 0 or current_mm3 <= 0 or prior_mm3 == current_mm3:
        return None
    return days * math.log(2) / math.log(current_mm3 / prior_mm3)


def log2_rate(rate: float, *, epsilon: float) -> float:
    """Return the base-2 logarithm of a rate, so that one step is one doubling.

    A rate of zero (no new tumour) has no logarithm, so ``epsilon`` is added to every rate; a negative rate (shrinking)
    counts as zero. Epsilon decides how far "none" lies below the smallest rate seen, so it has to be chosen and told.

    Raises
    ------
    ValueError
        If epsilon is not positive.
    """
    if epsilon <= 0:
        raise ValueError(f"epsilon is {epsilon}; it must be above 0, for example half of the smallest rate seen.")
    return math.log2(max(rate, 0.0) + epsilon)


@dataclass(frozen=True, kw_only=True)
class LesionGrowth:
    """One lesion, or several that have merged, from one visit to a later one.

    Attributes
    ----------
    tracking_uid, tracking_ids
        Today's lesion; the lesions at the start that are part of it.
    treated
        Whether one of them was treated before the later visit.
    doubling_days
        See `doubling_time_days`.
    within_error
        Whether two measurements of an unchanged lesion may differ as much; None where one volume is 0.
    """

    tracking_uid: str
    tracking_ids: tuple[str, ...]
    start: date
    end: date
    start_mm3: float
    end_mm3: float
    treated: bool
    doubling_days: float | None
    within_error: bool | None


def lesion_growth(
    history: History, start: int, end: int, *, treatments: Sequence[Treatment] = ()
) -> tuple[LesionGrowth, ...]:
    """Return the growth of every lesion present at ``start`` whose place ``end`` shows (places of visits, from 0)."""
    present = [one.tracking_uid for one in history.visits[start].present]
    grown = [
        _growth(history, (start, end), host, members, treatments)
        for host, members in history.groups(end, present).items()
    ]
    return tuple(one for one in grown if one is not None)


def _growth(
    history: History, places: tuple[int, int], host: str, members: tuple[str, ...], treatments: Sequence[Treatment]
) -> LesionGrowth | None:
    first, last = (history.visits[place] for place in places)
    before_mm3, after_mm3 = (history.size(place, members, volume_mm3) for place in places)
    if before_mm3 is None or after_mm3 is None:
        return None
    lesions = [one for one in first.present if one.tracking_uid in members]
    seen = history.first_seen_days()
    within = None
    if before_mm3 and after_mm3:
        within = within_measurement_error(
            before_mm3, after_mm3, last.slice_spacing_mm, prior_slice_spacing_mm=first.slice_spacing_mm
        )
    return LesionGrowth(
        tracking_uid=host,
        tracking_ids=tuple(one.tracking_id for one in lesions),
        start=first.day,
        end=last.day,
        start_mm3=before_mm3,
        end_mm3=after_mm3,
        treated=any(treated_before(one, last.day, treatments, first_seen=seen) for one in lesions),
        doubling_days=doubling_time_days(before_mm3, after_mm3, (last.day - first.day).days),
        within_error=within,
    )
