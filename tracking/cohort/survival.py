"""Kaplan-Meier curves of a cohort, whole or by quartile of a rate, and the log-rank test between its parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from lifelines import KaplanMeierFitter  # type: ignore[import-untyped]  # publishes no types
from lifelines.statistics import multivariate_logrank_test  # type: ignore[import-untyped]  # publishes no types

from tracking.cohort.subjects import Rate, Subject


@dataclass(frozen=True, kw_only=True)
class SurvivalCurve:
    """Kaplan-Meier estimate of one group.

    Attributes
    ----------
    name
        Of the group.
    days
        Times at which the curve is given, from 0: every event and every end of observation.
    survival, low, high
        Share without the event from that time on, and its 95 % limits (by the log-log transform).
    at_risk
        Subjects under observation just before that time.
    censored_days
        When observation ended without the event.
    median_days
        When half had the event; None if that was not reached.
    events
        Their number.
    """

    name: str
    days: tuple[float, ...]
    survival: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    at_risk: tuple[int, ...]
    censored_days: tuple[float, ...]
    median_days: float | None
    events: int


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """A test statistic that follows χ² where there is no difference."""

    __test__ = False  # no test of pytest, for all its name

    statistic: float
    degrees_of_freedom: int
    p: float


def kaplan_meier(subjects: Sequence[Subject], *, name: str = "all") -> SurvivalCurve:
    """Estimate the survival of a group.

    Raises
    ------
    ValueError
        If there is no subject.
    """
    if not subjects:
        raise ValueError(f"Group {name} has no subject; leave it out.")
    fitter = KaplanMeierFitter().fit([one.days for one in subjects], [one.event for one in subjects])
    limits = fitter.confidence_interval_.to_numpy()
    median = float(fitter.median_survival_time_)
    return SurvivalCurve(
        name=name,
        days=tuple(float(day) for day in fitter.survival_function_.index),
        survival=tuple(float(share) for share in fitter.survival_function_.to_numpy()[:, 0]),
        low=tuple(float(share) for share in limits[:, 0]),
        high=tuple(float(share) for share in limits[:, 1]),
        at_risk=tuple(int(count) for count in fitter.event_table["at_risk"]),
        censored_days=tuple(sorted(one.days for one in subjects if not one.event)),
        median_days=median if np.isfinite(median) else None,
        events=sum(one.event for one in subjects),
    )


def quartile_groups(subjects: Sequence[Subject], rate: Rate) -> dict[str, tuple[Subject, ...]]:
    """Divide a cohort by the quartiles of a rate; equal rates stay together.

    Returns
    -------
    dict
        By name (quartile and its bounds), the slowest first. Where many rates are equal, there are fewer groups.

    Raises
    ------
    ValueError
        If there is no subject, or one has no rate.
    """
    if not subjects:
        raise ValueError("A cohort without a subject has no quartiles.")
    rates = np.array([rate.of(one) for one in subjects])
    bounds = np.unique(np.quantile(rates, (0.25, 0.5, 0.75)))
    place = np.searchsorted(bounds, rates)
    groups = {}
    for number in np.unique(place).tolist():
        chosen = place == number
        name = f"{rate.name} {rates[chosen].min():.3g} to {rates[chosen].max():.3g}"
        groups[name] = tuple(one for one, inside in zip(subjects, chosen, strict=True) if inside)
    return groups


def log_rank(groups: Mapping[str, Sequence[Subject]]) -> TestResult:
    """Test whether the groups have one survival.

    Raises
    ------
    ValueError
        If there are less than two groups.
    """
    if len(groups) < 2:
        raise ValueError(f"A log-rank test compares at least two groups, but there is {len(groups)}.")
    rows = [(one.days, one.event, name) for name, members in groups.items() for one in members]
    days, events, names = zip(*rows, strict=True)
    result = multivariate_logrank_test(days, names, events)
    return TestResult(
        statistic=float(result.test_statistic),
        degrees_of_freedom=int(result.degrees_of_freedom),
        p=float(result.p_value),
    )
