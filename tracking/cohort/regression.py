"""Cox regression on rates per doubling and on covariates, one by one and together, with likelihood-ratio tests."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # its types are a package of their own, needed here alone
from lifelines import CoxPHFitter  # type: ignore[import-untyped]  # publishes no types
from lifelines.exceptions import ConvergenceError, ConvergenceWarning  # type: ignore[import-untyped]  # as above
from scipy.stats import chi2

from tracking.cohort.subjects import Rate, Subject
from tracking.cohort.survival import TestResult

Columns = Mapping[str, Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class HazardRatio:
    """Hazard ratio of one variable with its 95 % limits: per doubling of a rate, per unit of a number, by group."""

    name: str
    ratio: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, kw_only=True)
class CoxModel:
    """A fitted proportional-hazards model (ties by Efron).

    Attributes
    ----------
    hazards
        One for each variable.
    subjects, events
        Their numbers.
    log_likelihood
        Partial log-likelihood at the estimate.
    likelihood_ratio
        Against the model without any variable.
    """

    hazards: tuple[HazardRatio, ...]
    subjects: int
    events: int
    log_likelihood: float
    likelihood_ratio: TestResult


@dataclass(frozen=True, kw_only=True)
class Multivariable:
    """Rates and covariates in one model.

    Attributes
    ----------
    model
        With all variables.
    gain_of_rates
        Likelihood-ratio test of all of them against the covariates alone: what the rates add.
    """

    model: CoxModel
    gain_of_rates: TestResult


def univariable(subjects: Sequence[Subject], rates: Sequence[Rate] = ()) -> dict[str, CoxModel]:
    """Fit one model for each rate (per doubling) and each covariate, by name.

    Raises
    ------
    ValueError
        If a value is missing, or a model cannot be estimated (too few events, or a variable that never differs).
    """
    variables = {rate.name: _rate_column(subjects, rate) for rate in rates}
    variables |= {name: _covariate_columns(subjects, name) for name in _covariate_names(subjects)}
    return {name: _fit(subjects, columns) for name, columns in variables.items()}


def multivariable(subjects: Sequence[Subject], rates: Sequence[Rate]) -> Multivariable:
    """Fit one model of all rates (per doubling) and all covariates, and test what the rates add.

    Raises
    ------
    ValueError
        If there is no rate, or as `univariable`.
    """
    if not rates:
        raise ValueError("A multivariable model needs at least one rate.")
    covariates: dict[str, Sequence[float]] = {}
    for name in _covariate_names(subjects):
        covariates |= _covariate_columns(subjects, name)
    columns = {name: values for rate in rates for name, values in _rate_column(subjects, rate).items()}
    full = _fit(subjects, columns | covariates)
    if not covariates:
        return Multivariable(model=full, gain_of_rates=full.likelihood_ratio)
    statistic = 2 * (full.log_likelihood - _fit(subjects, covariates).log_likelihood)
    gain = TestResult(statistic=statistic, degrees_of_freedom=len(rates), p=float(chi2.sf(statistic, len(rates))))
    return Multivariable(model=full, gain_of_rates=gain)


def _rate_column(subjects: Sequence[Subject], rate: Rate) -> Columns:
    return {f"{rate.name}, per doubling": [rate.doublings_of(one) for one in subjects]}


def _covariate_names(subjects: Sequence[Subject]) -> tuple[str, ...]:
    names = {tuple(one.covariates) for one in subjects}
    if len(names) > 1:
        raise ValueError("The subjects have different covariates; give every subject the same, in the same order.")
    return next(iter(names), ())


def _covariate_columns(subjects: Sequence[Subject], name: str) -> Columns:
    """Return a number as it is, and of groups one indicator for each but the largest, which is the reference."""
    values = [one.covariates[name] for one in subjects]
    if not any(isinstance(value, str) for value in values):
        return {name: [float(value) for value in values]}
    counts = Counter(str(value) for value in values)
    reference, *others = sorted(counts, key=lambda group: (-counts[group], group))
    return {
        f"{name}: {group} against {reference}": [float(str(value) == group) for value in values] for group in others
    }


def _fit(subjects: Sequence[Subject], columns: Columns) -> CoxModel:
    table = pd.DataFrame({name: list(values) for name, values in columns.items()})
    still = [name for name in table if table[name].nunique() < 2]
    if still or table.empty:
        raise ValueError(f"All subjects have the same value of {', '.join(still) or 'every variable'}; leave it out.")
    table["days"], table["event"] = [one.days for one in subjects], [one.event for one in subjects]
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            fitter = CoxPHFitter().fit(table, "days", "event")
        except (ConvergenceError, ConvergenceWarning) as error:
            raise ValueError(
                f"The model of {', '.join(columns)} cannot be estimated from {len(subjects)} subjects with"
                f" {sum(one.event for one in subjects)} events; use fewer variables or more subjects."
            ) from error
    return _model(fitter, subjects)


def _model(fitter: CoxPHFitter, subjects: Sequence[Subject]) -> CoxModel:
    summary = fitter.summary
    limits = np.exp(fitter.confidence_intervals_.to_numpy())
    test = fitter.log_likelihood_ratio_test()
    return CoxModel(
        hazards=tuple(
            HazardRatio(name=str(name), ratio=float(ratio), low=float(low), high=float(high), p=float(p))
            for name, ratio, (low, high), p in zip(
                summary.index, summary["exp(coef)"], limits, summary["p"], strict=True
            )
        ),
        subjects=len(subjects),
        events=sum(one.event for one in subjects),
        log_likelihood=float(fitter.log_likelihood_),
        likelihood_ratio=TestResult(
            statistic=float(test.test_statistic), degrees_of_freedom=len(limits), p=float(test.p_value)
        ),
    )
