"""Limits of change against the formula; how the constants were measured is in benchmarks/rescans.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.measurement import (
    edge_error_mm,
    equivalent_diameter_mm,
    minimum_detectable_change_percent,
    volume_interval_mm3,
    within_measurement_error,
)

volumes = st.floats(5, 30_000)
spacings = st.floats(0.5, 7)


@pytest.mark.parametrize(("diameter_mm", "factor"), [(3, 5.3), (5, 2.7), (10, 1.65), (20, 1.28)])
def test_the_least_detectable_change_is_that_of_the_formula(diameter_mm: float, factor: float) -> None:
    assert 1 + minimum_detectable_change_percent(diameter_mm, 1.0) / 100 == pytest.approx(factor, rel=0.01)


def test_the_slices_of_both_studies_count() -> None:
    both_thin, both_thick = (minimum_detectable_change_percent(8, spacing_mm) for spacing_mm in (1.0, 5.0))
    one_thick = minimum_detectable_change_percent(8, 1.0, prior_slice_spacing_mm=5.0)
    assert one_thick == minimum_detectable_change_percent(8, 5.0, prior_slice_spacing_mm=1.0)
    assert both_thin < one_thick < both_thick
    sigma = np.hypot(6 * edge_error_mm(1) / 8, 6 * edge_error_mm(5) / 8)
    assert np.log1p(one_thick / 100) == pytest.approx(1.96 * sigma)


@pytest.mark.parametrize(("spacing_mm", "measured_mm"), [(1, 0.31), (2, 0.40), (3, 0.46), (5, 0.73), (7, 0.88)])
def test_the_edge_error_follows_the_re_scans(spacing_mm: float, measured_mm: float) -> None:
    assert edge_error_mm(spacing_mm) == pytest.approx(measured_mm, abs=0.05)


def test_growth_and_shrinkage_are_judged_alike() -> None:
    volume = 4 / 3 * np.pi * 5**3
    assert equivalent_diameter_mm(volume) == pytest.approx(10.0)
    assert within_measurement_error(volume, 1.6 * volume, 1.0)
    assert within_measurement_error(1.6 * volume, volume, 1.0)
    assert not within_measurement_error(volume, 1.7 * volume, 1.0)
    assert within_measurement_error(volume, 1.7 * volume, 5.0)
    assert within_measurement_error(volume, 1.7 * volume, 1.0, prior_slice_spacing_mm=5.0)


@given(volumes, volumes, spacings, spacings)
def test_time_may_run_backwards(prior: float, current: float, first: float, second: float) -> None:
    forwards = within_measurement_error(prior, current, first, prior_slice_spacing_mm=second)
    assert forwards == within_measurement_error(current, prior, second, prior_slice_spacing_mm=first)


@given(volumes, spacings)
def test_the_interval_holds_the_volume_and_narrows_with_size(volume: float, spacing: float) -> None:
    low, high = volume_interval_mm3(volume, spacing)
    assert 0 < low < volume < high
    assert low * high == pytest.approx(volume**2)
    larger_low, larger_high = volume_interval_mm3(8 * volume, spacing)
    assert larger_high / larger_low == pytest.approx(np.sqrt(high / low))  # twice the diameter, half the error


def test_nothing_has_no_interval() -> None:
    assert volume_interval_mm3(0, 1.0) == (0, 0)


def test_lengths_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="the diameter is 0 mm"):
        minimum_detectable_change_percent(0, 1.0)
    with pytest.raises(ValueError, match="the slice spacing is -1 mm"):
        minimum_detectable_change_percent(5, -1)
