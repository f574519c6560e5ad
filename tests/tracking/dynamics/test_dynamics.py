"""Figures against values computed by hand; defects of published code as regression tests."""

import csv
import math
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracking.visits import FIRST_DAY, merged, sighting, sizes, visit
from tracking.dynamics import (
    FIGURE_COLUMNS,
    VelocityClass,
    brain_metastasis_velocity,
    doubling_time_days,
    dynamics,
    interval_figures,
    lesion_growth,
    log2_rate,
    write_figures,
)
from tracking.history import history_of
from tracking.treatments import Treatment, TreatmentKind
from tracking.visit import Sighting, Visit

MONTH = 365.25 / 12


def of_mm3(name: str, volume_mm3: float) -> Sighting:
    return sighting(name, 5, volume_mm3=volume_mm3)


def radiosurgery(name: str, number: int) -> Treatment:
    return Treatment(day=day(number), kind=TreatmentKind.RADIOSURGERY, lesion=name)


def day(number: int) -> date:
    return FIRST_DAY + timedelta(days=number)


COURSE = [
    visit(0, of_mm3("a", 100), of_mm3("b", 50)),
    visit(60, of_mm3("a", 200), sighting("b", 0), of_mm3("c", 10)),
    visit(90, of_mm3("a", 400), of_mm3("c", 20), of_mm3("d", 5)),
]


def test_figures_of_an_interval() -> None:
    one = interval_figures(history_of(COURSE), 0, 1)
    assert (one.count_at_start, one.count_at_end, one.new_tumours, one.followed) == (2, 2, 1, 2)
    assert (one.volume_at_start_mm3, one.volume_at_end_mm3) == (150, 210)
    assert one.months == pytest.approx(60 / MONTH)
    assert one.new_tumours_per_month == pytest.approx(MONTH / 60)
    assert one.volume_change_per_tumour_mm3_per_month == pytest.approx((100 - 50) / 2 / (60 / MONTH))
    assert one.doubling_days == pytest.approx(60 * math.log(2) / math.log(200 / 150))


def test_shortest_and_longest_interval() -> None:
    figures = dynamics(COURSE)
    assert figures.shortest is not None
    assert figures.longest is not None
    assert (figures.shortest.start, figures.shortest.end) == (day(60), day(90))
    assert (figures.longest.start, figures.longest.end) == (day(0), day(90))
    assert figures.longest.new_tumours == 2
    assert figures.longest == figures.before_treatment == figures.untreated
    assert figures.treated is None


def test_defect_10_the_newest_studies_count_however_many_there_are() -> None:
    """Published code cut the newest studies of a patient with more than its limit."""
    visits = [visit(30 * number, *(of_mm3(f"n{n}", 10) for n in range(number + 1))) for number in range(25)]
    figures = dynamics(visits[::-1])
    assert len(figures.intervals) == 24
    assert figures.longest is not None
    assert (figures.longest.end, figures.longest.new_tumours) == (day(720), 24)


def test_defect_2_the_last_tumour_is_not_left_out() -> None:
    start, end = (visit(n, *(of_mm3(name, mm3) for name in "abc")) for n, mm3 in ((0, 10), (30, 40)))
    one = interval_figures(history_of([start, end]), 0, 1)
    assert one.followed == 3
    assert one.volume_change_per_tumour_mm3_per_month == pytest.approx(30 / (30 / MONTH))


def test_treated_and_untreated_lesions_are_told_apart() -> None:
    figures = dynamics(COURSE, [radiosurgery("a", 10)])
    assert figures.treated is not None
    assert figures.untreated is not None
    assert (figures.treated.volume_at_end_mm3, figures.treated.new_tumours) == (400, 0)
    assert (figures.untreated.volume_at_start_mm3, figures.untreated.new_tumours) == (50, 2)
    assert figures.before_treatment is None
    assert {one.tracking_ids: one.treated for one in figures.growth} == {("a",): True, ("c",): False}


def test_figures_before_the_first_treatment_end_with_the_last_visit_before_it() -> None:
    before = dynamics(COURSE, [radiosurgery("a", 60)]).before_treatment
    assert before is not None
    assert (before.start, before.end) == (day(0), day(60))


def test_what_merges_with_a_treated_lesion_is_treated() -> None:
    visits = [sizes(0, a=10, b=8, c=5), visit(60, sighting("a", 14), merged("b", "a"), sighting("c", 5))]
    figures = dynamics(visits, [radiosurgery("b", 5)])
    assert figures.treated is not None
    assert figures.treated.count_at_start == 2
    assert figures.untreated is not None
    assert figures.untreated.count_at_start == 1


def test_merging_alone_is_no_growth() -> None:
    visits = [visit(0, of_mm3("a", 60), of_mm3("b", 40)), visit(60, of_mm3("a", 100), merged("b", "a"))]
    history = history_of(visits)
    assert interval_figures(history, 0, 1).volume_change_per_tumour_mm3_per_month == 0
    (grown,) = lesion_growth(history, 0, 1)
    assert (grown.tracking_ids, grown.start_mm3, grown.end_mm3, grown.doubling_days) == (("a", "b"), 100, 100, None)


def test_what_is_not_shown_is_not_followed() -> None:
    history = history_of([sizes(0, a=10, b=10), sizes(30, a=10, b=None)])
    assert interval_figures(history, 0, 1).followed == 1
    assert len(lesion_growth(history, 0, 1)) == 1


def test_a_lesion_whose_start_is_not_known_is_not_new() -> None:
    visits = [sizes(0, a=10), visit(60, sighting("a", 10), sighting("b", 5, onset_known=False))]
    assert interval_figures(history_of(visits), 0, 1).new_tumours == 0
    velocity = brain_metastasis_velocity(visits)
    assert velocity is not None
    assert velocity.new_metastases == 0


def test_growth_knows_the_measurement_error() -> None:
    history = history_of([visit(0, of_mm3("a", 500), of_mm3("b", 500)), visit(60, of_mm3("a", 550), of_mm3("b", 5000))])
    first, second = lesion_growth(history, 0, 1)
    assert (first.within_error, second.within_error) == (True, False)
    gone = lesion_growth(history_of([visit(0, of_mm3("a", 500)), visit(60)]), 0, 1)
    assert (gone[0].within_error, gone[0].doubling_days) == (None, None)


@pytest.mark.parametrize(("prior", "current", "expected"), [(10, 20, 30.0), (20, 10, -30.0), (10, 80, 10.0)])
def test_doubling_time(prior: float, current: float, expected: float) -> None:
    assert doubling_time_days(prior, current, 30) == pytest.approx(expected)


@pytest.mark.parametrize(("prior", "current"), [(0, 5), (5, 0), (5, 5), (0, 0)])
def test_there_is_no_doubling_time_without_a_rate(prior: float, current: float) -> None:
    assert doubling_time_days(prior, current, 30) is None


def test_a_step_of_the_logarithm_is_a_doubling_and_zero_has_its_epsilon() -> None:
    assert log2_rate(8, epsilon=1e-9) - log2_rate(4, epsilon=1e-9) == pytest.approx(1)
    assert log2_rate(0, epsilon=0.25) == -2
    assert log2_rate(-3, epsilon=0.25) == -2
    with pytest.raises(ValueError, match=r"epsilon is 0\.0; it must be above 0"):
        log2_rate(1, epsilon=0.0)


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (0, VelocityClass.LOW),
        (3, VelocityClass.LOW),
        (4, VelocityClass.INTERMEDIATE),
        (13, VelocityClass.INTERMEDIATE),
        (14, VelocityClass.HIGH),
    ],
)
def test_velocity_is_new_metastases_per_year_since_radiosurgery(new: int, expected: VelocityClass) -> None:
    later = visit(1471, sighting("a", 5), *(sighting(f"n{number}", 4) for number in range(4 * new)))
    velocity = brain_metastasis_velocity([sizes(0, a=5), sizes(5, a=5), later], since=day(10))
    assert velocity is not None
    assert velocity.per_year == pytest.approx(new)  # four years
    assert velocity.velocity_class == expected


def test_velocity_leaves_out_what_was_there_before_treatment() -> None:
    visits = [sizes(0, a=5), sizes(100, a=5, b=5), sizes(200, a=5, b=5, c=5)]
    velocity = brain_metastasis_velocity(visits, since=day(100))
    assert velocity is not None
    assert (velocity.new_metastases, velocity.since) == (1, day(100))
    assert brain_metastasis_velocity(visits, since=day(200)) is None
    assert brain_metastasis_velocity([]) is None
    early = brain_metastasis_velocity(visits, since=day(-500))
    assert early is not None
    assert (early.since, early.new_metastases) == (day(0), 2)


@pytest.mark.parametrize("visits", [[], COURSE[:1]])
def test_a_single_visit_has_no_figures(visits: list[Visit]) -> None:
    figures = dynamics(visits)
    assert figures.longest is figures.shortest is figures.velocity is None
    assert figures.intervals == figures.growth == ()


def test_an_interval_needs_two_visits_in_order() -> None:
    with pytest.raises(ValueError, match="1 to 1 does not"):
        interval_figures(history_of(COURSE), 1, 1)


def test_defect_12_figures_are_written_without_names_or_dates(tmp_path: Path) -> None:
    """Published code wrote patients' names to its CSV."""
    path = tmp_path / "figures.csv"
    write_figures(path, {"P-001": dynamics(COURSE, [radiosurgery("a", 10)])})
    rows = list(csv.DictReader(path.open()))
    assert tuple(rows[0]) == FIGURE_COLUMNS
    assert [row["interval"] for row in rows] == ["shortest", "longest", "untreated", "treated"]
    assert float(rows[1]["new_tumours_per_month"]) == pytest.approx(2 / (90 / MONTH))
    assert "2024" not in path.read_text()
    for name in ("DOE^JANE", "Jane Doe", "Müller"):
        with pytest.raises(ValueError, match="not named by a pseudonym") as refused:
            write_figures(path, {name: dynamics(COURSE)})
        assert name not in str(refused.value)


lesions = st.dictionaries(st.sampled_from("abcde"), st.floats(1, 20), max_size=5)
courses = st.lists(lesions, min_size=2, max_size=5)


@settings(max_examples=50, deadline=None)
@given(courses, st.integers(7, 200))
def test_intervals_add_up(course: list[dict[str, float]], step: int) -> None:
    figures = dynamics([sizes(step * number, **one) for number, one in enumerate(course)])
    assert figures.longest is not None
    assert sum(one.new_tumours for one in figures.intervals) == figures.longest.new_tumours
    assert sum(one.months for one in figures.intervals) == pytest.approx(figures.longest.months)
    for one in (*figures.intervals, figures.longest):
        assert (one.volume_change_per_tumour_mm3_per_month is None) == (one.followed == 0)
        assert one.new_tumours_per_month * one.months == pytest.approx(one.new_tumours)


@settings(max_examples=50, deadline=None)
@given(courses, st.sets(st.sampled_from("abcde")))
def test_treated_and_untreated_make_the_whole(course: list[dict[str, float]], names: set[str]) -> None:
    visits = [sizes(30 * number, **one) for number, one in enumerate(course)]
    figures = dynamics(visits, [radiosurgery(name, 1) for name in sorted(names)])
    parts = [one for one in (figures.treated, figures.untreated) if one is not None]
    assert figures.longest is not None
    for name in (
        "count_at_start",
        "count_at_end",
        "volume_at_start_mm3",
        "volume_at_end_mm3",
        "new_tumours",
        "followed",
    ):
        assert sum(getattr(one, name) for one in parts) == pytest.approx(getattr(figures.longest, name))
