"""All draws at once against the plain way: take the drawn patients' values again and again, and use NumPy and SciPy."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from inference.evaluation.bootstrap import Bootstrap, Draws

OWNERS = [*"aaabbccccde"]
VALUES = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0, 5.0])
OTHERS = np.array([2.0, 7.0, 1.0, 8.0, 2.0, 8.0, 1.0, 8.0, 2.0, 8.0, 4.0])


@pytest.fixture
def bootstrap() -> Bootstrap:
    return Bootstrap.drawn(OWNERS, resamples=200, seed=3)


def plainly(bootstrap: Bootstrap, statistic: Callable[..., float], *columns: np.ndarray) -> list[float]:
    """The statistic of every draw, value by value."""
    places = [bootstrap.patients.index(owner) for owner in OWNERS]
    repeats = bootstrap.weights[:, places].astype(int)
    with np.errstate(invalid="ignore"):
        return [statistic(*(np.repeat(column, times) for column in columns)) for times in repeats]


def test_means_medians_and_ratios(bootstrap: Bootstrap) -> None:
    np.testing.assert_allclose(bootstrap.mean(OWNERS, VALUES).values, plainly(bootstrap, np.mean, VALUES))
    np.testing.assert_allclose(bootstrap.median(OWNERS, VALUES).values, plainly(bootstrap, np.median, VALUES))
    expected = plainly(bootstrap, lambda x, y: x.sum() / y.sum(), VALUES, OTHERS)
    np.testing.assert_allclose(bootstrap.ratio(OWNERS, VALUES, OTHERS).values, expected)


@pytest.mark.filterwarnings("ignore::scipy.stats.ConstantInputWarning")
@pytest.mark.parametrize("ranked", [True, False])
def test_correlations_with_ties(bootstrap: Bootstrap, *, ranked: bool) -> None:
    test = stats.spearmanr if ranked else stats.pearsonr
    expected = plainly(bootstrap, lambda x, y: float(test(x, y).statistic), VALUES, OTHERS)
    found = bootstrap.correlation(OWNERS, VALUES, OTHERS, ranked=ranked)
    np.testing.assert_allclose(found.values, expected, atol=1e-12)


def test_in_chunks_as_at_once(bootstrap: Bootstrap, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = bootstrap.median(OWNERS, VALUES).values, bootstrap.correlation(OWNERS, VALUES, OTHERS, ranked=True).values
    monkeypatch.setattr("inference.evaluation.bootstrap.CHUNK_ELEMENTS", 100)
    np.testing.assert_array_equal(bootstrap.median(OWNERS, VALUES).values, at_once[0])
    np.testing.assert_array_equal(bootstrap.correlation(OWNERS, VALUES, OTHERS, ranked=True).values, at_once[1])


def test_interval_is_that_of_scipy_for_one_value_per_patient() -> None:
    rng = np.random.default_rng(0)
    values = rng.gamma(2.0, size=60)
    owners = [f"p{number:02d}" for number in range(60)]
    ours = Bootstrap.drawn(owners, resamples=10_000, seed=1).mean(owners, values).estimate()
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, rng=rng).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=0.02), pytest.approx(theirs.high, abs=0.02))


def test_patients_are_drawn_not_values() -> None:
    """A hundred lesions of two patients, all alike within a patient, are two pieces of evidence."""
    owners = ["a"] * 50 + ["b"] * 50
    estimate = Bootstrap.drawn(owners, resamples=2000, seed=0).mean(owners, [0.0] * 50 + [1.0] * 50).estimate()
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (0.5, 0.0, 1.0, 100)


def test_missing_values_are_left_out(bootstrap: Bootstrap) -> None:
    holes = np.where(VALUES == 9, np.nan, VALUES)
    kept = np.isfinite(holes)
    owners = [owner for owner, keep in zip(OWNERS, kept, strict=True) if keep]
    for figure in (bootstrap.mean, bootstrap.median):
        found, expected = figure(OWNERS, holes), figure(owners, holes[kept])
        np.testing.assert_array_equal(found.values, expected.values)
        assert found.n == 10
    pairs = bootstrap.correlation(OWNERS, holes, OTHERS, ranked=True)
    np.testing.assert_array_equal(
        pairs.values, bootstrap.correlation(owners, holes[kept], OTHERS[kept], ranked=True).values
    )


def test_nothing_has_no_value(bootstrap: Bootstrap) -> None:
    empty: list[str] = []
    figures = (
        bootstrap.mean(empty, []),
        bootstrap.median(empty, []),
        bootstrap.correlation(empty, [], [], ranked=True),
        bootstrap.correlation(empty, [], [], ranked=False),
        bootstrap.ratio(["a"], [0], [0]),
    )
    for figure in figures:
        estimate = figure.estimate()
        assert (estimate.value, estimate.low, estimate.high, estimate.n) == (None, None, None, 0)


@pytest.mark.parametrize(
    ("owners", "values"), [("aaa", [1.0, 2.0, 3.0]), ("abc", [1.0, 1.0, 1.0]), ("abcdef", [1.0] + [np.nan] * 5)]
)
def test_no_interval_without_evidence(owners: str, values: list[float]) -> None:
    """One patient; no spread at all; a value that most draws do not have."""
    estimate = Bootstrap.drawn(owners, resamples=500, seed=0).mean([*owners], values).estimate()
    assert estimate.value is not None
    assert (estimate.low, estimate.high) == (None, None)


def test_a_figure_that_too_many_draws_lack_has_no_interval() -> None:
    owners = [*"abcdef"]
    draws = Bootstrap.drawn(owners, resamples=500, seed=0).ratio(owners, [1, 2, 0, 0, 0, 0], [2, 2, 0, 0, 0, 0])
    assert np.isnan(draws.values).mean() > 0.05
    assert draws.estimate().low is None


def test_a_difference_is_paired() -> None:
    """One rater is better by .1 in every patient, though patients differ far more than that."""
    owners = [f"p{number}" for number in range(10)]
    hard = np.linspace(0.1, 0.8, 10)
    bootstrap = Bootstrap.drawn(owners, resamples=2000, seed=0)
    better, worse = bootstrap.mean(owners, hard + 0.1 + 0.001 * hard), bootstrap.mean(owners, hard)
    assert worse.estimate().high > better.estimate().low
    difference = better - worse
    assert difference.estimate().low > 0.1
    assert difference.p_value() == pytest.approx(2 / 2001)


def test_p_value_is_two_sided_and_at_most_1() -> None:
    around = np.concatenate([[0.0], np.linspace(-1, 1, 1001)])
    assert Draws(values=around, n=5, patients=5).p_value() == pytest.approx(1.0, abs=0.01)
    assert Draws(values=around - 0.9, n=5, patients=5).p_value() == pytest.approx(0.1, abs=0.01)
    assert Draws(values=around, n=5, patients=1).p_value() is None


def test_same_seed_same_interval() -> None:
    first, again = (Bootstrap.drawn(OWNERS, resamples=50, seed=8) for _ in range(2))
    np.testing.assert_array_equal(first.weights, again.weights)
    assert (first.weights[1:].sum(axis=1) == 5).all()
    assert (first.weights[0] == 1).all()
    assert not np.array_equal(first.weights, Bootstrap.drawn(OWNERS, resamples=50, seed=9).weights)
