"""Errors of courses against the truth, with the defects of published code as regression tests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracking.visits import sighting, sizes, visit
from tracking.agreement import mean_absolute_errors

cubes = st.dictionaries(st.sampled_from("abcd"), st.floats(1, 20), max_size=4)
courses = st.lists(st.tuples(cubes, cubes), min_size=1, max_size=5)


def test_defect_1_a_change_is_taken_within_one_course() -> None:
    """Published code took the same earlier value from both sides, so that a change of 23 could never differ."""
    true = [visit(0, sighting("a", 5, volume_mm3=200)), visit(60, sighting("a", 5, volume_mm3=223))]
    reported = [visit(0, sighting("a", 5, volume_mm3=100)), visit(60, sighting("a", 5, volume_mm3=123))]
    errors = mean_absolute_errors(reported, true)
    assert errors.total_volume_mm3 == pytest.approx(100)
    assert errors.total_volume_change_mm3 == 0  # both grew by 23 mm³
    true[1] = visit(60, sighting("a", 5, volume_mm3=123))  # and here the values agree, but not what happened
    assert mean_absolute_errors(reported, true).total_volume_change_mm3 == pytest.approx(100)


def test_defect_2_the_last_tumour_counts() -> None:
    true = [visit(0, *(sighting(name, 5, volume_mm3=10) for name in "abc"))]
    reported = [visit(0, *(sighting(name, 5, volume_mm3=10 if name != "c" else 40) for name in "abc"))]
    assert mean_absolute_errors(reported, true).tumour_volume_mm3 == pytest.approx(30 / 3)


def test_defect_11_courses_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 reported visits are to be compared with 1 true ones"):
        mean_absolute_errors([sizes(0, a=5), sizes(9, a=5)], [sizes(0, a=5)])
    with pytest.raises(ValueError, match="same days"):
        mean_absolute_errors([sizes(1, a=5)], [sizes(0, a=5)])
    with pytest.raises(ValueError, match="at least one"):
        mean_absolute_errors([], [])


def test_lesions_are_joined_by_who_they_are() -> None:
    true = [visit(0, sighting("t", 5, volume_mm3=100))]
    parts = [visit(0, sighting("x", 5, volume_mm3=30), sighting("y", 5, volume_mm3=60))]
    found = mean_absolute_errors(parts, true, {"2.25.x": "2.25.t", "2.25.y": "2.25.t"})
    assert (found.tumour_volume_mm3, found.count) == (pytest.approx(10), 1)
    strangers = mean_absolute_errors(parts, true)
    assert strangers.tumour_volume_mm3 == pytest.approx((30 + 60 + 100) / 3)


@given(courses)
def test_errors_are_symmetric_and_none_against_itself(course: list[tuple[dict[str, float], dict[str, float]]]) -> None:
    ours = [sizes(30 * number, **first) for number, (first, _) in enumerate(course)]
    truth = [sizes(30 * number, **second) for number, (_, second) in enumerate(course)]
    assert mean_absolute_errors(ours, truth) == mean_absolute_errors(truth, ours)
    itself = mean_absolute_errors(ours, ours)
    assert itself.total_volume_mm3 == itself.count == 0
    assert not itself.tumour_volume_mm3
    assert (itself.count_change is None) == (len(course) == 1)
