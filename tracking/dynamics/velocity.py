"""Brain-metastasis velocity: new metastases per year since the first radiosurgery (Farris et al., IJROBP 2017)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from tracking.history import history_of
from tracking.visit import Visit

DAYS_PER_YEAR = 365.25
LOW_BELOW, HIGH_ABOVE = 4.0, 13.0


class VelocityClass(StrEnum):
    """Classes of the velocity, new metastases per year."""

    LOW = "below 4"
    INTERMEDIATE = "4 to 13"
    HIGH = "above 13"


@dataclass(frozen=True, kw_only=True)
class Velocity:
    """New metastases over a time.

    Attributes
    ----------
    since, until
        From when to when they are counted.
    new_metastases
        First seen after ``since``, and surely not older.
    per_year
        Their number over the years.
    """

    since: date
    until: date
    new_metastases: int
    per_year: float

    @property
    def velocity_class(self) -> VelocityClass:
        """Low, intermediate or high."""
        if self.per_year < LOW_BELOW:
            return VelocityClass.LOW
        return VelocityClass.HIGH if self.per_year > HIGH_ABOVE else VelocityClass.INTERMEDIATE


def brain_metastasis_velocity(visits: Sequence[Visit], *, since: date | None = None) -> Velocity | None:
    """Count new metastases per year.

    Parameters
    ----------
    visits
        Of one patient. What the first of them shows is not new.
    since
        Day of the first radiosurgery, as the measure is defined. None: from the first visit, to be told as such. A day
        before the first visit counts as that visit, as nothing is known of the time before.

    Returns
    -------
    Velocity or None
        None if there is no visit after ``since``.
    """
    history = history_of(visits)
    if not history.visits:
        return None
    start, until = max(since or date.min, history.visits[0].day), history.visits[-1].day
    if until <= start:
        return None
    new = [
        uid
        for uid, number in history.first_seen().items()
        if history.visits[number].day > start and history.onset_known(number, uid)
    ]
    years = (until - start).days / DAYS_PER_YEAR
    return Velocity(since=start, until=until, new_metastases=len(new), per_year=len(new) / years)
