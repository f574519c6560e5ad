"""Figures in words, each with the time that it is taken over."""

import math

from tracking.dynamics.figures import Dynamics
from tracking.dynamics.intervals import IntervalFigures
from tracking.dynamics.velocity import Velocity

LEAST_FACTOR = 1.2  # a smaller change of the volumes together says nothing of speed
LEAST_VELOCITY_DAYS = 61  # over less, a single new lesion makes a high velocity


def describe_dynamics(figures: Dynamics) -> tuple[str, ...]:
    """Return the sentences that a report says: the last interval, the whole time, and the velocity; none without any.

    Parameters
    ----------
    figures
        Of one patient.
    """
    if figures.longest is None:
        return ()
    lines = [_interval("Last interval", figures.intervals[-1])]
    if len(figures.intervals) > 1:
        lines.append(_interval(f"All {len(figures.intervals) + 1} studies", figures.longest))
    return (*lines, *_velocity(figures.velocity))


def _interval(name: str, figures: IntervalFigures) -> str:
    change = figures.volume_change_per_tumour_mm3_per_month
    growth = "no lesion to follow" if change is None else f"{change:+.0f} mm³ per followed lesion and month"
    return (
        f"{name}, {figures.start} to {figures.end} ({figures.months:.1f} months):"
        f" {_lesions(figures.count_at_start)} with {figures.volume_at_start_mm3:.0f} mm³,"
        f" then {figures.count_at_end} with {figures.volume_at_end_mm3:.0f} mm³;"
        f" {figures.new_tumours} new ({figures.new_tumours_per_month:.2f} per month); {growth}{_doubling(figures)}."
    )


def _lesions(count: int) -> str:
    return f"{count} lesion" if count == 1 else f"{count} lesions"


def _doubling(figures: IntervalFigures) -> str:
    days = (figures.end - figures.start).days
    if figures.doubling_days is None or abs(days / figures.doubling_days) < math.log2(LEAST_FACTOR):
        return ""
    verb = "doubling" if figures.doubling_days > 0 else "halving"
    return f", {verb} in {abs(figures.doubling_days):.0f} days"


def _velocity(velocity: Velocity | None) -> tuple[str, ...]:
    if velocity is None:
        return ()
    days = (velocity.until - velocity.since).days
    if days < LEAST_VELOCITY_DAYS:
        return (f"Brain-metastasis velocity is not given: {days} days are too short a time.",)
    return (
        f"Brain-metastasis velocity: {velocity.per_year:.1f} new metastases per year ({velocity.velocity_class.value}),"
        f" counted from {velocity.since}; it is defined from the first radiosurgery.",
    )
