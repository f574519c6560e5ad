"""A patient's whole history from arrays. One step of it: test_matching."""

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracking.matching.test_matching import Ball, balls_at, places, radii
from tests.tracking.phantoms import empty_grid, with_balls
from tracking.alignment import GivenAlignment
from tracking.registration.result import RegistrationKind
from tracking.registration.transform import Transform
from tracking.timeline import StudyTracks, labelled_study, track_history
from tracking.timepoint import Timepoint
from tracking.track import LesionTrack

GRID = empty_grid((64, 64, 64))
FIRST_DAY = date(2024, 1, 1)


def study(number: int, balls: Sequence[Ball], grid=GRID) -> Timepoint:
    mask = with_balls(grid, balls).array > 0
    day = FIRST_DAY + timedelta(days=60 * number)
    return labelled_study(mask, grid.affine, study_uid=f"1.2.{number}", study_date=day)


def alignments(studies: Sequence[Timepoint], *, shift_mm: Sequence[float] = (0, 0, 0)) -> list[GivenAlignment]:
    matrix = np.eye(4)
    matrix[:3, 3] = shift_mm
    return [
        GivenAlignment(
            fixed_study_uid=current.study_uid, moving_study_uid=prior.study_uid, transform=Transform(matrix=matrix)
        )
        for prior, current in pairwise(studies)
    ]


def history(*visits: Sequence[Ball]) -> tuple[StudyTracks, ...]:
    studies = [study(number, balls) for number, balls in enumerate(visits)]
    return track_history(studies, alignments(studies))


def states(tracks: Sequence[StudyTracks]) -> list[dict[str, str]]:
    return [{track.tracking_id: track.state.value for track in one.tracks} for one in tracks]


class Failed(GivenAlignment):
    """Registration of which nothing came."""

    @property
    def kind(self) -> RegistrationKind:
        return RegistrationKind.NONE


STAYS: Ball = ((20, 0, 0), 3)
COMES_AND_GOES: Ball = ((-15, 0, 5), 3)


def test_a_lesion_that_was_away_for_two_studies_is_known_again() -> None:
    tracks = history([COMES_AND_GOES, STAYS], [STAYS], [STAYS], [STAYS, COMES_AND_GOES], [STAYS, COMES_AND_GOES])
    name = tracks[0].tracks[0 if tracks[0].tracks[0].current[0].centroid_mm[0] < 0 else 1].tracking_id
    assert [one[name] for one in states(tracks)] == ["baseline", "resolved", "resolved", "recurrent", "persistent"]
    assert all(len(one.tracks) == 2 for one in tracks)


def test_the_site_of_a_lesion_that_is_away_moves_with_the_head() -> None:
    """Every study lies 6 mm further along; what resolved in the first returns in the third."""
    shift = np.array([6.0, 0.0, 0.0])
    visits = [[COMES_AND_GOES, STAYS], [STAYS], [STAYS, COMES_AND_GOES]]
    studies = [
        study(number, [(np.add(centre, number * shift), radius) for centre, radius in balls])
        for number, balls in enumerate(visits)
    ]
    tracks = track_history(studies, alignments(studies, shift_mm=-shift))
    assert sorted(states(tracks)[2].values()) == ["persistent", "recurrent"]


def test_merged_lesions_go_on_under_one_name_even_if_they_part_again() -> None:
    small, large = ((-5.0, 0.0, 0.0), 3.0), ((3.0, 0.0, 0.0), 4.0)
    tracks = history([small, large], [((-1, 0, 0), 9)], [small, large])
    assert [sorted(one.values()) for one in states(tracks)] == [["baseline", "baseline"], ["merged"], ["split"]]
    assert len(tracks[1].tracks[0].absorbed) == 1
    assert tracks[2].tracks[0].tracking_uid == tracks[1].tracks[0].tracking_uid


def test_new_is_told_against_the_last_study_that_shows_the_place() -> None:
    wide = empty_grid((110, 110, 110))
    high: Ball = ((0, 0, 45), 3)
    studies = [study(0, [STAYS], wide), study(1, [STAYS]), study(2, [STAYS, high], wide)]
    tracks = track_history(studies, alignments(studies))
    new = next(track for track in tracks[2].tracks if track.state == "new")
    assert new.remarks == ("verify: new since 2024-01-01; the prior study does not show this place",)
    unknown = track_history(studies[1:], alignments(studies[1:]))
    assert sorted(states(unknown)[1].values()) == ["baseline", "persistent"]


def test_a_place_that_one_study_does_not_show_is_no_gap() -> None:
    wide = empty_grid((110, 110, 110))
    high: Ball = ((0, 0, 45), 3)
    studies = [study(0, [STAYS, high], wide), study(1, [STAYS]), study(2, [STAYS, high], wide)]
    tracks = track_history(studies, alignments(studies))
    uid = next(track.tracking_uid for track in tracks[0].tracks if track.current[0].centroid_mm[2] > 40)
    assert [next(t.state.value for t in one.tracks if t.tracking_uid == uid) for one in tracks] == [
        "baseline",
        "not assessed",
        "persistent",
    ]


def test_nothing_at_all() -> None:
    assert track_history([], []) == ()
    assert [one.tracks for one in history([], [], [])] == [(), (), ()]
    assert [sorted(one.values()) for one in states(history([], [STAYS], []))] == [[], ["new"], ["resolved"]]


@settings(max_examples=10, deadline=None)
@given(visits=st.lists(places, min_size=2, max_size=4), sizes=radii)
def test_every_lesion_has_one_name_at_a_time(visits: list[list[tuple[int, int, int]]], sizes: list[float]) -> None:
    tracks = history(*(balls_at(visit, sizes) for visit in visits))
    seen: set[str] = set()
    for visit, one in zip(visits, tracks, strict=True):
        uids = [track.tracking_uid for track in one.tracks]
        assert len(set(uids)) == len(uids)
        assert sum(len(track.current) for track in one.tracks) == len(visit)
        assert seen <= set(uids)  # nothing is forgotten, as nothing merges here
        seen |= set(uids)
        assert all(is_known(track, seen) for track in one.tracks)


def is_known(track: LesionTrack, seen: set[str]) -> bool:
    return track.tracking_uid in seen


def test_bad_input_is_named() -> None:
    first, second = study(0, [STAYS]), study(1, [STAYS])
    with pytest.raises(ValueError, match="2 studies need 1 alignments"):
        track_history([first, second], [])
    with pytest.raises(ValueError, match="give the oldest first"):
        track_history([second, first], alignments([second, first]))
    with pytest.raises(ValueError, match="register these two"):
        track_history([first, second], alignments([second, first]))
    with pytest.raises(ValueError, match="apply a threshold"):
        labelled_study(np.zeros((4, 4, 4)), np.eye(4), study_uid="1", study_date=FIRST_DAY)


def test_the_name_of_a_merged_lesion_is_never_given_to_another() -> None:
    apart: list[Ball] = [((-5, 0, 0), 3.0), ((5, 0, 0), 4.0)]
    joined: Ball = ((0, 0, 0), 9.0)
    first, second, third = states(history(apart, [joined], [joined, STAYS]))
    assert set(first) == {"L1", "L2"}
    (left,) = second
    assert third == {left: "persistent", "L3": "new"}


def test_a_part_that_goes_and_returns_has_a_state_of_its_own() -> None:
    whole: list[Ball] = [((-4, 0, 0), 4), ((3.5, 0, 0), 4)]
    left, right = ((-5.0, 0.0, 0.0), 3.0), ((5.0, 0.0, 0.0), 3.0)
    tracks = [one.tracks[0] for one in history(whole, [left, right], [left], [left, right])]
    assert [track.state.value for track in tracks] == ["baseline", "split", "persistent", "persistent"]
    assert sorted(tracks[1].states.values()) == ["split", "split"]
    assert [lesion.centroid_mm[0] for lesion in tracks[2].gone] == [pytest.approx(5, abs=0.5)]
    assert "a part of it is not found today" in tracks[2].remarks
    by_side = {lesion.centroid_mm[0] > 0: tracks[3].states[lesion.number] for lesion in tracks[3].current}
    assert by_side == {False: "persistent", True: "recurrent"}


def test_a_neighbour_that_is_missed_for_one_study_neither_merges_nor_splits() -> None:
    stays, neighbour = ((0.0, 0.0, 0.0), 3.0), ((0.0, 0.0, 6.5), 2.0)
    tracks = history([stays, neighbour], [stays], [stays, neighbour])
    assert [sorted(one.values()) for one in states(tracks)] == [
        ["baseline", "baseline"],
        ["persistent", "resolved"],
        ["persistent", "recurrent"],
    ]


def test_a_part_that_outgrew_the_whole_is_still_a_part() -> None:
    whole: list[Ball] = [((-1, 0, 0), 2), ((1, 0, 0), 2)]
    tracks = history(whole, [((-2.5, 0, 0), 1.6), ((3, 0, 0), 2.4)])
    assert states(tracks)[1] == {"L1": "split"}


def test_a_part_may_fall_off_one_lesion_and_join_another() -> None:
    first: list[Ball] = [((0, 0, -10), 5), ((0, 0, -1), 5), ((0, 0, 10), 3)]
    second: list[Ball] = [((0, 0, -12), 3), ((0, 0, 0), 6), ((0, 0, 9), 5)]
    (merged,) = history(first, second)[1].tracks
    assert merged.state == "merged"
    assert sorted(link.kind.value for link in merged.links) == ["merge", "pair", "split"]


@pytest.mark.parametrize("sigma_mm", [0.0, -1.0, float("nan"), float("inf")])
def test_an_error_of_registration_that_is_none_is_refused(sigma_mm: float) -> None:
    with pytest.raises(ValueError, match="sigma_mm is"):
        GivenAlignment(fixed_study_uid="1", moving_study_uid="0", sigma_mm=sigma_mm)


def test_bad_studies_are_named() -> None:
    twice = [study(0, [STAYS]), study(0, [STAYS])]
    with pytest.raises(ValueError, match=r"Study 1\.2\.0 is given twice"):
        track_history(twice, alignments(twice))
    with pytest.raises(TypeError, match=r"'2024-01-01'; give a datetime\.date"):
        labelled_study(np.zeros((3, 3, 3), bool), np.eye(4), study_uid="1", study_date="2024-01-01")  # type: ignore[arg-type]


def test_small_lesions_are_left_out_of_masks_and_of_numbers_alike() -> None:
    labels = with_balls(GRID, [STAYS, ((-15, 0, 5), 1.2)]).array
    for array in (labels, labels > 0):
        kept = labelled_study(array, GRID.affine, study_uid="1", study_date=FIRST_DAY, minimum_mm3=20)
        assert (kept.lesions.array > 0).sum() == (labels == 1).sum()


def test_a_large_lesion_that_returns_round_a_small_one_goes_on_under_the_name_of_the_prior_study() -> None:
    large, spot = ((-10.0, 0.0, 0.0), 8.0), ((2.0, 0.0, 0.0), 2.0)
    tracks = history([large], [spot], [((-9.0, 0.0, 0.0), 12.0), STAYS])
    merged = next(track for track in tracks[2].tracks if len(track.prior) == 1)
    assert (merged.tracking_id, merged.state.value) == ("L2", "merged")
    assert list(merged.states.values()) == ["recurrent"]
    assert [name.tracking_id for name in merged.absorbed] == ["L1"]


def test_a_lesion_that_returns_takes_nothing_from_its_neighbour() -> None:
    """Two lesions that touch; the larger is missed once, and the other one stays itself."""
    labels = with_balls(GRID, [((0, 0, -4), 5)]).array
    labels[(labels == 0) & (with_balls(GRID, [((0, 0, 3), 2.5)]).array > 0)] = 2
    arrays = [labels, np.where(labels == 2, 1, 0), labels]
    studies = [
        labelled_study(array.astype(np.int32), GRID.affine, study_uid=f"1.2.{n}", study_date=FIRST_DAY + timedelta(n))
        for n, array in enumerate(arrays)
    ]
    for sigma_mm in (0.5, 1.0, 2.0):
        told = [
            GivenAlignment(fixed_study_uid=f"1.2.{n}", moving_study_uid=f"1.2.{n - 1}", sigma_mm=sigma_mm)
            for n in (1, 2)
        ]
        assert states(track_history(studies, told))[2] == {"L1": "recurrent", "L2": "persistent"}


def test_a_lesion_at_the_place_of_one_that_had_resolved_is_told() -> None:
    left, right = ((0.0, 0.0, -5.0), 4.0), ((0.0, 0.0, 5.0), 4.0)
    tracks = history([left, right], [left], [left, ((0, 0, 0), 3), right])
    away = next(track for track in tracks[2].tracks if track.state == "resolved")
    assert "verify: another lesion lies at its place today" in away.remarks


def test_nothing_is_new_across_a_failed_registration() -> None:
    wide = empty_grid((110, 110, 110))
    studies = [study(0, [STAYS], wide), study(1, [STAYS]), study(2, [STAYS, ((0, 0, 45), 3)], wide)]
    failed, good = alignments(studies)
    tracks = track_history(studies, [Failed(fixed_study_uid="1.2.1", moving_study_uid="1.2.0"), good])
    assert failed.kind != RegistrationKind.NONE
    assert sorted(states(tracks)[2].values()) == ["baseline", "persistent"]
