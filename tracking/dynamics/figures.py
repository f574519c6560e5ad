"""All figures of one patient: each interval, the shortest and the longest, treated and untreated lesions apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from tracking.dynamics.growth import LesionGrowth, lesion_growth
from tracking.dynamics.intervals import IntervalFigures, interval_figures
from tracking.dynamics.velocity import Velocity, brain_metastasis_velocity
from tracking.history import History, history_of
from tracking.treatments import LOCAL, Treatment, TreatmentKind, treated_before
from tracking.visit import Visit


@dataclass(frozen=True, kw_only=True)
class Dynamics:
    """Figures of one patient; with less than two visits there is none.

    Attributes
    ----------
    intervals
        From each visit to the next.
    shortest, longest
        The shortest of these, and from the first visit to the last.
    untreated, treated
        The longest interval again, for the lesions that nothing acted on before the last visit, and for the others.
    before_treatment
        From the first visit to the last one that is not after the first treatment; None if that is no interval, and
        without treatments the same as the longest.
    growth
        Each lesion over the last interval.
    velocity
        Brain-metastasis velocity, since the first local treatment if there was one.
    """

    intervals: tuple[IntervalFigures, ...]
    shortest: IntervalFigures | None
    longest: IntervalFigures | None
    untreated: IntervalFigures | None
    treated: IntervalFigures | None
    before_treatment: IntervalFigures | None
    growth: tuple[LesionGrowth, ...]
    velocity: Velocity | None


NONE = Dynamics(
    intervals=(),
    shortest=None,
    longest=None,
    untreated=None,
    treated=None,
    before_treatment=None,
    growth=(),
    velocity=None,
)


def dynamics(visits: Sequence[Visit], treatments: Sequence[Treatment] = ()) -> Dynamics:
    """Compute all figures of a patient, from all visits, however many there are.

    Parameters
    ----------
    visits
        Of one patient, in any order. See `join_planning_visits` for a diagnostic and a planning study.
    treatments
        What was done; without any, all lesions count as untreated.

    Raises
    ------
    ValueError
        If two visits have the same date.
    """
    history = history_of(visits)
    last = len(history.visits) - 1
    if last < 1:
        return NONE
    treated = _treated(history, treatments)
    untreated = set(history.first_seen()) - treated
    intervals = tuple(interval_figures(history, number, number + 1) for number in range(last))
    return Dynamics(
        intervals=intervals,
        shortest=min(intervals, key=lambda one: one.end - one.start),
        longest=interval_figures(history, 0, last),
        untreated=interval_figures(history, 0, last, among=untreated) if untreated else None,
        treated=interval_figures(history, 0, last, among=treated) if treated else None,
        before_treatment=_before_treatment(history, treatments),
        growth=lesion_growth(history, last - 1, last, treatments=treatments),
        velocity=brain_metastasis_velocity(history.visits, since=_first_radiotherapy_or_surgery(treatments)),
    )


def _treated(history: History, treatments: Sequence[Treatment]) -> set[str]:
    """Return the identities treated before the last visit, with all that has merged with one of them."""
    seen, last = history.first_seen_days(), len(history.visits) - 1
    day = history.visits[last].day
    lesions = {one.tracking_uid: one for visit in history.visits for one in visit.present}
    direct = {uid for uid, one in lesions.items() if treated_before(one, day, treatments, first_seen=seen)}
    groups = history.groups(last, lesions).values()
    return {uid for members in groups if direct.intersection(members) for uid in members}


def _before_treatment(history: History, treatments: Sequence[Treatment]) -> IntervalFigures | None:
    start = min((one.day for one in treatments), default=history.visits[-1].day)
    last = sum(visit.day <= start for visit in history.visits) - 1
    return interval_figures(history, 0, last) if last > 0 else None


def _first_radiotherapy_or_surgery(treatments: Sequence[Treatment]) -> date | None:
    kinds = (*LOCAL, TreatmentKind.WHOLE_BRAIN)
    return min((one.day for one in treatments if one.kind in kinds), default=None)
