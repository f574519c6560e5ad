"""Against values worked out by hand and against statsmodels; that lifelines is right at large is not covered here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2

pytest.importorskip("lifelines", reason="the extra 'cohort' is not installed")
from tracking.cohort import (
    Rate,
    Subject,
    kaplan_meier,
    log_rank,
    multivariable,
    quartile_groups,
    read_subjects,
    univariable,
)

# Freireich et al., Blood 1963: weeks of remission on 6-MP and on placebo, the textbook example; + is censored.
DRUG = ((6, 1), (6, 1), (6, 1), (6, 0), (7, 1), (9, 0), (10, 1), (10, 0), (11, 0), (13, 1), (16, 1), (17, 0), (19, 0),
        (20, 0), (22, 1), (23, 1), (25, 0), (32, 0), (32, 0), (34, 0), (35, 0))  # fmt: skip
PLACEBO = (1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23)


def subject(number: int, days: float, event: bool, **covariates: float | str) -> Subject:
    return Subject(subject=f"S{number}", days=days, event=event, covariates=covariates)


def leukaemia() -> tuple[tuple[Subject, ...], tuple[Subject, ...]]:
    drug = tuple(subject(number, days, bool(event), placebo=0.0) for number, (days, event) in enumerate(DRUG))
    return drug, tuple(subject(100 + number, days, True, placebo=1.0) for number, days in enumerate(PLACEBO))


def synthetic(count: int = 300, *, hazard_per_doubling: float = 1.5, seed: int = 7) -> tuple[tuple[Subject, ...], Rate]:
    rng = np.random.default_rng(seed)
    doublings, age = rng.normal(0, 1.5, count), rng.normal(60, 10, count)
    groups = rng.choice(["lung", "breast", "melanoma"], count, p=[0.5, 0.3, 0.2])
    hazard = hazard_per_doubling**doublings * np.exp(0.03 * (age - 60)) * np.where(groups == "melanoma", 2.0, 1.0)
    days, end = rng.exponential(400 / hazard), rng.uniform(100, 1500, count)
    subjects = tuple(
        subject(n, float(min(days[n], end[n])), bool(days[n] <= end[n]), age=float(age[n]), histology=str(groups[n]))
        for n in range(count)
    )
    values = {one.subject: float(2**doubling) for one, doubling in zip(subjects, doublings, strict=True)}
    return subjects, Rate(name="new tumours per month", values=values, epsilon=1e-9)


def test_kaplan_meier_gives_the_published_curve() -> None:
    drug, placebo = leukaemia()
    curve = kaplan_meier(drug, name="drug")
    at = dict(zip(curve.days, curve.survival, strict=True))
    assert at[6] == pytest.approx(18 / 21)
    assert at[7] == pytest.approx(18 / 21 * 16 / 17)
    assert at[23] == pytest.approx(0.448, abs=5e-4)
    assert dict(zip(curve.days, curve.at_risk, strict=True))[10] == 15
    assert (curve.median_days, curve.events, len(curve.censored_days)) == (23, 9, 12)
    assert kaplan_meier(placebo).median_days == 8
    assert all(low <= share <= high for low, share, high in zip(curve.low, curve.survival, curve.high, strict=True))


def test_a_median_that_was_not_reached_is_none() -> None:
    assert kaplan_meier([subject(1, 10, False), subject(2, 5, False)]).median_days is None


def test_log_rank_gives_the_published_value() -> None:
    drug, placebo = leukaemia()
    result = log_rank({"drug": drug, "placebo": placebo})
    assert result.statistic == pytest.approx(16.79, abs=5e-3)
    assert result.p == pytest.approx(chi2.sf(result.statistic, 1))
    with pytest.raises(ValueError, match="at least two groups, but there is 1"):
        log_rank({"drug": drug})


def test_cox_gives_the_published_value() -> None:
    drug, placebo = leukaemia()
    model = univariable((*drug, *placebo))["placebo"]
    (hazard,) = model.hazards
    assert np.log(hazard.ratio) == pytest.approx(1.572, abs=1e-3)  # by Efron's method
    assert (model.subjects, model.events) == (42, 30)
    assert model.likelihood_ratio.statistic == pytest.approx(16.35, abs=5e-3)


def test_the_hazard_is_per_doubling_and_statsmodels_agrees() -> None:
    subjects, rate = synthetic()
    found = multivariable(subjects, [rate])
    doublings = np.log2([rate.values[one.subject] + rate.epsilon for one in subjects])
    judge = by_statsmodels(subjects, np.column_stack((doublings, covariates_of(subjects))))
    assert np.log([hazard.ratio for hazard in found.model.hazards]) == pytest.approx(judge.params, abs=1e-4)
    assert found.model.log_likelihood == pytest.approx(judge.llf, abs=1e-4)
    rate_hazard = found.model.hazards[0]
    assert rate_hazard.name == "new tumours per month, per doubling"
    assert rate_hazard.low < 1.5 < rate_hazard.high
    assert [hazard.name for hazard in found.model.hazards[1:]] == [
        "age", "histology: breast against lung", "histology: melanoma against lung",
    ]  # fmt: skip


def covariates_of(subjects: Sequence[Subject]) -> NDArray[np.float64]:
    groups = [[float(one.covariates["histology"] == group) for one in subjects] for group in ("breast", "melanoma")]
    return np.column_stack(([one.covariates["age"] for one in subjects], *groups)).astype(float)


def by_statsmodels(subjects: Sequence[Subject], design: NDArray[np.float64]) -> Any:
    regression = pytest.importorskip("statsmodels.duration.hazard_regression")
    days, events = np.array([one.days for one in subjects]), np.array([int(one.event) for one in subjects])
    return regression.PHReg(days, design, status=events, ties="efron").fit()


def test_the_gain_of_the_rates_is_that_of_the_two_models() -> None:
    subjects, rate = synthetic()
    found = multivariable(subjects, [rate])
    judge = by_statsmodels(subjects, covariates_of(subjects))
    expected = 2 * (found.model.log_likelihood - judge.llf)
    assert found.gain_of_rates.statistic == pytest.approx(expected, rel=1e-3)
    assert found.gain_of_rates.degrees_of_freedom == 1
    assert found.gain_of_rates.p < 1e-6


def test_a_rate_that_means_nothing_adds_nothing() -> None:
    cohorts = [synthetic(120, hazard_per_doubling=1.0, seed=seed) for seed in range(20)]
    seeming = sum(multivariable(subjects, [rate]).gain_of_rates.p < 0.05 for subjects, rate in cohorts)
    assert seeming <= 4  # one is expected; five or more come once in 400 times


def test_without_covariates_the_gain_is_against_nothing() -> None:
    subjects, rate = synthetic()
    bare = [Subject(subject=one.subject, days=one.days, event=one.event, covariates={}) for one in subjects]
    found = multivariable(bare, [rate])
    assert found.gain_of_rates == found.model.likelihood_ratio
    with pytest.raises(ValueError, match="at least one rate"):
        multivariable(bare, [])


def test_quartiles_keep_equal_rates_together() -> None:
    subjects, rate = synthetic(100)
    groups = quartile_groups(subjects, rate)
    assert [len(members) for members in groups.values()] == [25, 25, 25, 25]
    assert log_rank(groups).degrees_of_freedom == 3
    many_zero = Rate(name="rate", values={one.subject: max(0.0, n - 60.0) for n, one in enumerate(subjects)}, epsilon=1)
    sizes = [len(members) for members in quartile_groups(subjects, many_zero).values()]
    assert sizes[0] == 61
    assert sum(sizes) == 100
    with pytest.raises(ValueError, match="no quartiles"):
        quartile_groups([], rate)


def test_epsilon_decides_where_zero_lies() -> None:
    one = subject(1, 10, True)
    assert Rate(name="rate", values={"S1": 0.0}, epsilon=0.5).doublings_of(one) == -1
    with pytest.raises(ValueError, match="epsilon is 0; it must be above 0"):
        Rate(name="rate", values={"S1": 0.0}, epsilon=0).doublings_of(one)
    with pytest.raises(ValueError, match="Subject S1 has no rate"):
        Rate(name="rate", values={}, epsilon=0.5).of(one)


def test_what_cannot_be_estimated_is_refused() -> None:
    separated = [subject(n, 10 + n, n < 10, marker=float(n < 10)) for n in range(20)]
    with pytest.raises(ValueError, match="cannot be estimated from 20 subjects with 10 events"):
        univariable(separated)
    with pytest.raises(ValueError, match="the same value of marker; leave it out"):
        univariable([subject(n, 10 + n, True, marker=1.0) for n in range(9)])
    with pytest.raises(ValueError, match="different covariates"):
        univariable([subject(1, 10, True, age=1.0), subject(2, 11, True, size=1.0)])
    with pytest.raises(ValueError, match="has no subject"):
        kaplan_meier([])


def test_a_cohort_is_read_from_csv(tmp_path: Path) -> None:
    path = tmp_path / "cohort.csv"
    path.write_text("subject,days,event,age,histology\nP-1,120,1,61.5,lung\nP-2,300.5,0,48,breast\n")
    first, second = read_subjects(path)
    assert first == Subject(subject="P-1", days=120, event=True, covariates={"age": 61.5, "histology": "lung"})
    assert (second.days, second.event) == (300.5, False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subject,days\nP-1,3\n", "has no column event"),
        ("subject,days,event\nJane Doe,3,1\n", "not named by a pseudonym"),
        ("subject,days,event\nP-1,0,1\n", "follow-up of 0.0 days"),
        ("subject,days,event\nP-1,soon,1\n", "days 'soon' and event '1'; days must be a number"),
        ("subject,days,event\nP-1,3,dead\n", "event 1 .it came. or 0"),
        ("subject,days,event,age\nP-1,3,1\n", "Subject P-1 has no age"),
        ("subject,days,event\nP-1,3,1\nP-1,4,1\n", "lists subjects P-1 twice"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "cohort.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_subjects(path)
