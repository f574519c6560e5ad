"""The curve with intervals against the curve point by point (`froc_point`), and against counting."""

import numpy as np
import pytest

from inference.evaluation.bootstrap import Bootstrap
from inference.evaluation.free_response import (
    ALL,
    FALSE_POSITIVES,
    MOST_THRESHOLDS,
    curve_figures,
    free_response,
    peak_limits,
)
from inference.evaluation.metrics import Candidate, ScanResult, froc_point


def candidate(peak: float, *found: int, unknown: bool = False) -> Candidate:
    return Candidate(number=1, score=peak, volume_mm3=5.0, found=found, unknown=unknown)


def scans(seed: int = 0, count: int = 12) -> tuple[list[str], list[ScanResult]]:
    rng = np.random.default_rng(seed)
    results = []
    for _ in range(count):
        volumes = {number: float(rng.choice([5.0, 50.0, 500.0])) for number in range(1, 1 + rng.integers(0, 5))}
        hits = [candidate(rng.random(), number) for number in volumes if rng.random() < 0.8]
        alarms = [candidate(rng.random(), unknown=rng.random() < 0.2) for _ in range(rng.integers(0, 6))]
        results.append(ScanResult(lesions_mm3=volumes, candidates=(*hits, *alarms), dice=None))
    return [f"P{number // 2}" for number in range(count)], results


def test_every_point_is_that_of_the_plain_curve() -> None:
    owners, results = scans()
    curve = free_response(owners, results, Bootstrap.drawn(owners, resamples=20, seed=0))
    for place, limit in enumerate(curve.thresholds[:-1]):
        point = froc_point(results, least_score=limit, minimum_volume_mm3=0)
        assert curve.false_positives[0, place] == pytest.approx(point.false_positives_per_scan)
        for size, values in curve.sensitivity.items():
            assert values[0, place] == pytest.approx(point.sensitivity[size], nan_ok=True)


def test_every_draw_is_the_curve_of_its_patients() -> None:
    owners, results = scans()
    bootstrap = Bootstrap.drawn(owners, resamples=5, seed=0)
    curve = free_response(owners, results, bootstrap)
    for draw, weights in enumerate(bootstrap.weights):
        times = [int(weights[bootstrap.patients.index(owner)]) for owner in owners]
        drawn = [result for result, count in zip(results, times, strict=True) for _ in range(count)]
        for place in (0, len(curve.thresholds) // 2):
            point = froc_point(drawn, least_score=curve.thresholds[place], minimum_volume_mm3=0)
            assert curve.false_positives[draw, place] == pytest.approx(point.false_positives_per_scan)
            assert curve.sensitivity[ALL][draw, place] == pytest.approx(point.sensitivity[ALL])


def test_sensitivity_at_a_rate_by_counting() -> None:
    """Lesion 1 at .9, a false alarm at .8, lesion 2 at .7, another false alarm at .6; lesion 3 is never seen."""
    result = ScanResult(
        lesions_mm3={1: 5.0, 2: 500.0, 3: 500.0},
        candidates=(candidate(0.9, 1), candidate(0.8), candidate(0.7, 2), candidate(0.6), candidate(0.4, 1)),
        dice=None,
    )
    curve = free_response(["P1"], [result], Bootstrap.drawn(["P1"], resamples=10, seed=0))
    at = {rate: curve.at(rate).estimate().value for rate in (0, 0.5, 1, 1.9, 2, 9)}
    assert at == {
        rate: pytest.approx(share / 3) for rate, share in ((0, 1), (0.5, 1), (1, 2), (1.9, 2), (2, 2), (9, 2))
    }
    assert curve.at(1, ">6 mm").estimate().value == 0.5
    assert curve.at(0, ">6 mm").estimate().value == 0
    assert curve.average().estimate().value == pytest.approx((3 * 1 + 4 * 2) / 3 / len(FALSE_POSITIVES))


def test_a_scan_without_candidates_finds_nothing() -> None:
    result = ScanResult(lesions_mm3={1: 5.0}, candidates=(), dice=None)
    curve = free_response(["P1"], [result], Bootstrap.drawn(["P1"], resamples=10, seed=0))
    assert curve.at(8).estimate().value == 0
    assert curve_figures(curve)["curve"] == []


def test_many_peaks_are_thinned() -> None:
    many = tuple(candidate(peak) for peak in np.linspace(0.1, 0.9, 5 * MOST_THRESHOLDS))
    limits = peak_limits([ScanResult(lesions_mm3={}, candidates=many, dice=None)])
    assert len(limits) == MOST_THRESHOLDS + 1
    assert (limits[0], limits[-2], limits[-1]) == (pytest.approx(0.1), pytest.approx(0.9), np.inf)


def test_figures_hold_sizes_rates_and_the_curve() -> None:
    owners, results = scans()
    figures = curve_figures(free_response(owners, results, Bootstrap.drawn(owners, resamples=20, seed=0)))
    assert set(figures["sensitivity_at"]) == {ALL, "<3 mm", "3-6 mm", ">6 mm"}
    assert list(figures["sensitivity_at"][ALL]) == ["0.125", "0.25", "0.5", "1", "2", "4", "8"]
    rates = [point["false_positives_per_scan"] for point in figures["curve"]]
    assert rates == sorted(rates, reverse=True)
