"""Courses of patients, each built so that one rule decides. Whether readers judge real courses alike is not covered."""

import re
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracking.visits import FIRST_DAY, merged, sighting, sizes, visit
from tracking.response import (
    NOT_KNOWN,
    Assessment,
    Criteria,
    NewLesions,
    NonTargetStatus,
    Overall,
    TargetStatus,
    assess_course,
    choose_targets,
    describe,
)
from tracking.visit import Visit


def verdicts(*visits: Visit, criteria: Criteria | None = None) -> list[Overall]:
    return [one.overall for one in assess_course(visits, criteria)]


def last(*visits: Visit, criteria: Criteria | None = None) -> Assessment:
    return assess_course(visits, criteria)[-1]


def test_targets_are_the_five_largest_measurable_lesions_and_stay_the_same() -> None:
    baseline = sizes(0, a=11, b=12, c=13, d=14, e=15, f=16, small=9)
    assert choose_targets(baseline, Criteria()) == tuple(f"2.25.{name}" for name in "fedcb")
    (one,) = assess_course([baseline, sizes(60, a=40, b=12, c=13, d=14, e=15, f=16, small=9)])
    assert one.target == TargetStatus.STABLE
    assert one.target_diameters is not None
    assert one.target_diameters.current == pytest.approx(70)
    assert one.non_target == NonTargetStatus.PROGRESSIVE  # the lesion that was too small a target by 1 mm
    assert one.overall == Overall.PD


def test_a_doubtful_lesion_is_a_target_only_after_the_certain_ones() -> None:
    baseline = visit(0, sighting("a", 30, certain=False), sighting("b", 12), sighting("c", 11))
    assert choose_targets(baseline, Criteria(most_targets=2)) == ("2.25.b", "2.25.c")
    assert choose_targets(baseline, Criteria())[-1] == "2.25.a"


def test_small_lesions_are_targets_by_choice_only() -> None:
    baseline = sizes(0, a=7)
    assert choose_targets(baseline, Criteria()) == ()
    assert choose_targets(baseline, Criteria(small_lesions=True)) == ("2.25.a",)


def test_a_reader_may_choose_the_targets() -> None:
    visits = [sizes(0, a=20, b=10), sizes(60, a=20, b=5)]
    assert assess_course(visits)[0].overall == Overall.SD
    assert assess_course(visits, targets=["2.25.b"])[0].target == TargetStatus.PARTIAL
    with pytest.raises(ValueError, match="not present at the baseline"):
        assess_course(visits, targets=["2.25.x"])


def test_progression_is_against_the_smallest_sum_and_not_the_baseline() -> None:
    visits = sizes(0, a=30), sizes(60, a=15), sizes(120, a=21)
    assert verdicts(*visits) == [Overall.PR, Overall.PD]
    one = last(*visits)
    assert one.nadir_day == FIRST_DAY + timedelta(days=60)
    assert one.target_diameters is not None
    assert one.target_diameters.change_from_nadir_percent == pytest.approx(40)
    assert one.target_diameters.change_from_baseline_percent == pytest.approx(-30)


def test_the_baseline_is_a_nadir_too() -> None:
    assert last(sizes(0, a=20), sizes(60, a=23), sizes(120, a=25)).nadir_day == FIRST_DAY
    assert verdicts(sizes(0, a=20), sizes(60, a=23), sizes(120, a=25)) == [Overall.SD, Overall.PD]


@pytest.mark.parametrize(("days", "confirmed"), [(27, False), (28, True)])
def test_a_response_is_confirmed_after_28_days(days: int, confirmed: bool) -> None:
    first, second = assess_course([sizes(0, a=20), sizes(50, a=10), sizes(50 + days, a=10)])
    assert first.confirmed is False
    assert second.confirmed is confirmed


def test_complete_response_confirms_a_partial_one_but_not_the_other_way_round() -> None:
    assert last(sizes(0, a=20), sizes(30, a=10), sizes(90, a=0)).confirmed is False
    visits = sizes(0, a=20, b=8), sizes(30, a=0, b=0), sizes(90, a=0, b=4)
    assert verdicts(*visits) == [Overall.CR, Overall.PR]
    assert last(*visits).confirmed is False
    assert any("have returned after the complete response of 2024-01-31" in line for line in describe(last(*visits)))


def test_what_has_not_returned_is_not_said_to_have() -> None:
    gone = sizes(0, a=20), sizes(30, a=0)
    for later in (sizes(90, a=0, new=8), sizes(90, a=8, slice_spacing_mm=6), sizes(90, a=None)):
        assert not any("have returned" in line for line in describe(last(*gone, later)))


def test_many_stable_lesions_do_not_hide_one_that_grows() -> None:
    stable = {f"n{number}": 4.0 for number in range(20)}
    grown = last(sizes(0, a=20, **stable), sizes(60, a=10, **stable | {"n3": 19.0}))
    assert (grown.target, grown.non_target) == (TargetStatus.PARTIAL, NonTargetStatus.PROGRESSIVE)
    assert last(sizes(0, a=20, **stable), sizes(60, a=10, **stable | {"n3": 8.9})).overall == Overall.PR


def test_a_new_lesion_stays_one_when_a_later_study_does_not_show_it() -> None:
    visits = sizes(0, a=20), sizes(60, a=20, b=8), sizes(120, a=20, b=None), sizes(180, a=20, b=8)
    assert verdicts(*visits) == [Overall.PD, Overall.SD, Overall.PD]


def test_on_immunotherapy_a_new_lesion_that_grows_is_progression() -> None:
    options = Criteria(immunotherapy=True)
    grows = sizes(0, a=20), sizes(60, a=20, b=8), sizes(120, a=20, b=14)
    assert [one.overall for one in assess_course(grows, options)] == [Overall.SD, Overall.PD]
    stays = sizes(0, a=20), sizes(60, a=20, b=8), sizes(120, a=20, b=9)
    assert [one.overall for one in assess_course(stays, options)] == [Overall.SD, Overall.SD]


def test_a_lesion_of_unknown_onset_is_progression_once_it_has_grown() -> None:
    older = sighting("b", 5, onset_known=False), sighting("b", 12)
    visits = (
        visit(0, sighting("a", 20)),
        visit(60, sighting("a", 20), older[0]),
        visit(120, sighting("a", 20), older[1]),
    )
    assert verdicts(*visits) == [Overall.SD, Overall.PD]


def test_what_cannot_be_evaluated_does_not_break_a_response_but_stable_disease_does() -> None:
    start = sizes(0, a=20), sizes(30, a=10)
    assert last(*start, sizes(60, a=None), sizes(90, a=10)).confirmed is True
    assert last(*start, sizes(60, a=11), sizes(90, a=15), sizes(100, a=11)).confirmed is False


def test_stable_disease_and_progression_need_no_confirmation() -> None:
    assert last(sizes(0, a=20), sizes(30, a=20)).confirmed is None
    assert last(sizes(0, a=20), sizes(30, a=40)).confirmed is None


def test_a_new_lesion_is_progression() -> None:
    one = last(sizes(0, a=20), sizes(60, a=10, fresh=4))
    assert (one.overall, one.new, one.new_lesions) == (Overall.PD, NewLesions.DEFINITE, ("fresh",))


@pytest.mark.parametrize("change", [{"certain": False}, {"plane_count": 1}, {"onset_known": False}])
def test_a_lesion_that_may_be_none_or_older_has_to_be_confirmed(change: dict[str, object]) -> None:
    one = last(sizes(0, a=20), visit(60, sighting("a", 10), sighting("b", 4, **change)))
    assert (one.overall, one.lesions_to_confirm, one.new_lesions) == (Overall.SD, ("b",), ())


def test_a_place_that_the_baseline_did_not_show_proves_no_new_lesion_later_either() -> None:
    visits = sizes(0, a=20, b=None), sizes(60, a=20, b=6), sizes(120, a=20, b=6)
    assert verdicts(*visits) == [Overall.SD, Overall.SD]


def test_under_immunotherapy_a_new_lesion_alone_is_no_progression() -> None:
    visits = sizes(0, a=20), sizes(60, a=10, fresh=4)
    one = last(*visits, criteria=Criteria(immunotherapy=True))
    assert (one.overall, one.new) == (Overall.SD, NewLesions.TO_CONFIRM)
    assert "A new lesion alone is no progression on immunotherapy" in " ".join(describe(one))
    assert last(sizes(0, a=20), sizes(60, a=26, b=4), criteria=Criteria(immunotherapy=True)).overall == Overall.PD


def test_a_lesion_that_returns_is_known_if_the_baseline_had_it_and_new_if_not() -> None:
    assert last(sizes(0, a=20, b=6), sizes(60, a=20, b=0), sizes(120, a=20, b=4)).new == NewLesions.NONE
    assert last(sizes(0, a=20, b=0), sizes(60, a=20, b=6)).new == NewLesions.DEFINITE


def test_a_target_that_is_not_shown_leaves_only_progression_to_be_said() -> None:
    assert last(sizes(0, a=20, b=20), sizes(60, a=5, b=None)).overall == Overall.NE
    assert last(sizes(0, a=20, b=20), sizes(60, a=48, b=None)).overall == Overall.PD


def test_a_visit_with_a_missing_target_is_no_nadir() -> None:
    visits = sizes(0, a=20, b=20), sizes(60, a=5, b=None), sizes(120, a=20, b=20)
    assert last(*visits).nadir_day == FIRST_DAY
    assert last(*visits).overall == Overall.SD


def test_thick_slices_and_named_faults_make_sizes_not_evaluable() -> None:
    thick = last(sizes(0, a=20), sizes(60, a=5, slice_spacing_mm=6))
    assert thick.overall == Overall.NE
    assert "slices of 6 mm are farther apart than 5 mm" in thick.inadequate
    poor = last(sizes(0, a=20), visit(60, sighting("a", 5), inadequate=("T1c was given no contrast agent",)))
    assert (poor.overall, poor.volumetric) == (Overall.NE, TargetStatus.NOT_EVALUABLE)
    assert last(sizes(0, a=20), sizes(60, a=5, b=5, slice_spacing_mm=6)).overall == Overall.PD  # seen is seen


def test_after_an_inadequate_baseline_nothing_is_judged() -> None:
    one = last(sizes(0, a=20, slice_spacing_mm=6), sizes(60, a=40, b=10))
    assert (one.overall, one.new) == (Overall.NE, NewLesions.TO_CONFIRM)
    assert one.inadequate == ("baseline: slices of 6 mm are farther apart than 5 mm",)


def test_an_inadequate_visit_is_no_nadir() -> None:
    assert last(sizes(0, a=20), sizes(60, a=8, slice_spacing_mm=7), sizes(120, a=18)).nadir_day == FIRST_DAY


def test_targets_that_merge_are_compared_with_both_of_them_before() -> None:
    visits = sizes(0, a=20, b=15), visit(60, sighting("a", 30), merged("b", "a")), sizes(120, a=30)
    for one in assess_course(visits):
        assert one.overall == Overall.SD
        assert one.target_diameters is not None
        assert (one.target_diameters.baseline, one.target_diameters.current) == (35, 30)
        assert one.targets[0].tracking_ids == ("a", "b")


def test_a_target_that_merges_with_another_lesion_takes_it_along() -> None:
    one = last(sizes(0, a=20, b=9), visit(60, sighting("a", 28), merged("b", "a")))
    assert (one.overall, one.non_target) == (Overall.SD, NonTargetStatus.NONE)
    other = last(sizes(0, a=20, b=9), visit(60, merged("a", "b"), sighting("b", 28)))
    assert (other.overall, other.target_diameters) == (one.overall, one.target_diameters)


def test_lesions_that_part_again_stand_for_themselves() -> None:
    one = last(sizes(0, a=20, b=15), visit(60, sighting("a", 30), merged("b", "a")), sizes(120, a=20, b=15))
    assert one.target_diameters is not None
    assert one.target_diameters.current == 35
    assert len(one.targets) == 2


def test_without_targets() -> None:
    assert verdicts(sizes(0), sizes(60)) == [Overall.NO_DISEASE]
    assert verdicts(sizes(0, a=5), sizes(60, a=5), sizes(90, a=0)) == [Overall.NON_CR_NON_PD, Overall.CR]
    assert verdicts(sizes(0), sizes(60, a=3)) == [Overall.PD]


def test_an_earlier_progression_is_told() -> None:
    one = last(sizes(0, a=20), sizes(60, a=40), sizes(120, a=20))
    assert one.earlier_progression == FIRST_DAY + timedelta(days=60)
    assert f"Progression was first found on {one.earlier_progression}" in " ".join(describe(one))


def test_no_verdict_without_its_numbers() -> None:
    one = last(sizes(0, a=30, b=5), sizes(60, a=20, b=5), sizes(120, a=15, b=4))
    verdict, text = describe(one)[0], " ".join(describe(one))
    assert verdict.startswith("RANO-BM on 2024-04-30: partial response, confirmed after at least 28 days")
    for number in (
        "30.0 mm",
        "20.0 mm",
        "15.0 mm",
        "-50.0 %",
        "-25.0 %",
        "2024-01-01",
        "2024-03-01",
        "5.0 mm",
        "4.0 mm",
    ):
        assert number in text
    assert re.search(r"Volumetric companion, not part of RANO-BM .* 13500 mm³ at the baseline, .* 1688 mm³ now", text)
    assert text.endswith(NOT_KNOWN)


def test_a_return_from_nothing_has_no_ratio() -> None:
    text = " ".join(describe(last(sizes(0, a=20), sizes(60, a=0), sizes(120, a=8))))
    assert "no ratio, as it was 0 from the smallest" in text
    assert "progressive disease" in text


def test_no_visit_or_the_baseline_alone_gives_no_verdict() -> None:
    assert assess_course([]) == ()
    assert assess_course([sizes(0, a=20)]) == ()


def test_two_visits_of_one_day_are_refused() -> None:
    with pytest.raises(ValueError, match="Two visits have the date 2024-01-01"):
        assess_course([sizes(0, a=20), sizes(0, a=20)])


courses = st.lists(
    st.dictionaries(st.sampled_from("abcdef"), st.one_of(st.none(), st.floats(0.5, 40)), max_size=6),
    min_size=2,
    max_size=5,
)


@settings(max_examples=50, deadline=None)
@given(courses, st.randoms())
def test_verdicts_depend_neither_on_the_order_of_visits_nor_on_names(
    course: list[dict[str, float]], random: object
) -> None:
    visits = [sizes(40 * number, **lesions) for number, lesions in enumerate(course)]
    shuffled = list(visits)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random
    assert assess_course(shuffled) == assess_course(visits)
    renamed = [
        sizes(40 * n, **{f"x{name}": size for name, size in lesions.items()}) for n, lesions in enumerate(course)
    ]
    assert verdicts(*renamed) == verdicts(*visits)


@settings(max_examples=50, deadline=None)
@given(courses)
def test_numbers_and_verdict_agree(course: list[dict[str, float]]) -> None:
    for one in assess_course([sizes(40 * number, **lesions) for number, lesions in enumerate(course)]):
        sums = one.target_diameters
        if one.overall == Overall.CR:
            assert sums is None or sums.current == 0
            assert not one.new_lesions
        if one.target == TargetStatus.PROGRESSIVE:
            assert sums is not None
            assert sums.current >= 1.2 * sums.nadir - 1e-6
        if sums is not None:
            assert sums.nadir <= sums.baseline
            assert sums.current == pytest.approx(sum(target.current_mm or 0 for target in one.targets))
        assert describe(one)[0].count(one.overall.value) >= 1
