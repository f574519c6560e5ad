"""Matching of lesions with known fates. How often a model finds a lesion at all is not matching's business."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from tests.tracking.phantoms import CURRENT_UID, PRIOR_UID, empty_grid, timepoint, with_balls
from tracking.alignment import GivenAlignment
from tracking.identity import baseline_identities, new_tracking_uid
from tracking.matching import baseline_tracks, match
from tracking.measurement import measure_lesions
from tracking.registration import Registration, RegistrationKind
from tracking.registration.quality import Quality
from tracking.registration.transform import Transform
from tracking.timepoint import Timepoint
from tracking.track import KnownLesion, LesionTrack, TrackState, known_after

Ball = tuple[Sequence[float], float]

PERFECT = Quality(
    correlation=1.0, mutual_information=1.2, brain_dice=1.0, coverage=1.0, rotation_deg=0.0, translation_mm=0.0
)
GRID = empty_grid((64, 64, 64))


def registration(
    matrix: NDArray[np.float64] | None = None, *, sigma_mm: float = 0.7, kind: RegistrationKind = RegistrationKind.RIGID
) -> Registration:
    return Registration(
        fixed_study_uid=CURRENT_UID,
        moving_study_uid=PRIOR_UID,
        engine="truth",
        kind=kind,
        transform=Transform(matrix=np.eye(4) if matrix is None else matrix),
        before=PERFECT,
        after=PERFECT,
        sigma_mm=sigma_mm,
    )


def studies(prior: Sequence[Ball], current: Sequence[Ball], grid=GRID) -> tuple[Timepoint, Timepoint]:
    return timepoint(with_balls(grid, current), CURRENT_UID), timepoint(with_balls(grid, prior), PRIOR_UID)


def follow(
    prior: Sequence[Ball],
    current: Sequence[Ball],
    *,
    absent: Sequence[KnownLesion] = (),
    how: Registration | None = None,
) -> tuple[LesionTrack, ...]:
    now, before = studies(prior, current)
    known = (*baseline_identities(PRIOR_UID, measure_lesions(before.lesions)), *absent)
    return match(now, measure_lesions(now.lesions), before, known, how or registration())


def fates(tracks: Sequence[LesionTrack]) -> dict[str, tuple[str, list[int], list[int]]]:
    """By tracking identifier: state, numbers of prior lesions, numbers of current lesions."""
    return {
        track.tracking_id: (
            track.state.value,
            sorted(lesion.number for lesion in track.prior),
            sorted(lesion.number for lesion in track.current),
        )
        for track in tracks
    }


def resolved(tracking_id: str, site_mm: tuple[float, float, float]) -> KnownLesion:
    return KnownLesion(
        tracking_uid=f"1.2.{tracking_id[1:]}", tracking_id=tracking_id, lesion=None, last_centroid_mm=site_mm
    )


def test_unchanged_lesions_persist_under_their_names() -> None:
    balls = [((-15, 0, 0), 4), ((10, 5, -5), 3), ((0, -20, 12), 1.2)]
    tracks = follow(balls, balls)
    assert fates(tracks) == {f"L{n}": ("persistent", [n], [n]) for n in (1, 2, 3)}
    assert all(track.confidence > 0.99 for track in tracks)
    assert all(track.change_percent == pytest.approx(0.0) for track in tracks)
    assert not any(track.remarks for track in tracks)


def test_lesions_that_appear_and_vanish() -> None:
    tracks = follow([((-15, 0, 0), 4), ((10, 5, -5), 3)], [((10, 5, -5), 5), ((0, -20, 12), 2)])
    assert fates(tracks) == {"L1": ("resolved", [1], []), "L2": ("persistent", [2], [1]), "L3": ("new", [], [2])}
    new = next(track for track in tracks if track.state == TrackState.NEW)
    assert new.tracking_uid == new_tracking_uid(CURRENT_UID, new.current[0].centroid_mm)


def test_merged_lesions_go_on_under_the_largest() -> None:
    tracks = follow([((-6, 0, 0), 3), ((2, 0, 0), 5), ((25, 0, 0), 3)], [((-1, 0, 0), 9), ((25, 0, 0), 3)])
    assert fates(tracks) == {"L2": ("merged", [1, 2], [1]), "L3": ("persistent", [3], [2])}
    assert tracks[0].remarks[0] == "includes L1, merged into this lesion"
    assert tracks[0].prior_volume_mm3 == pytest.approx(sum(lesion.total_volume_mm3 for lesion in tracks[0].prior))


def test_three_lesions_merge() -> None:
    tracks = follow([((-7, 0, 0), 3), ((0, 0, 0), 3), ((7, 0, 0), 3.5)], [((0, 0, 0), 11)])
    assert fates(tracks) == {"L3": ("merged", [1, 2, 3], [1])}


def test_the_parts_of_a_split_lesion_are_one_track() -> None:
    tracks = follow([((0, 0, 0), 8)], [((-5, 0, 0), 3), ((5, 0, 0), 3)])
    assert fates(tracks) == {"L1": ("split", [1], [1, 2])}
    assert tracks[0].change_percent < 0


def test_parts_of_one_identity_stay_together() -> None:
    now, before = studies([((-5, 0, 0), 3), ((5, 0, 0), 3)], [((-5, 0, 0), 3), ((5, 0, 0), 4)])
    parts = baseline_identities(PRIOR_UID, measure_lesions(before.lesions))
    known = [replace(part, tracking_uid="1.2.3", tracking_id="L1") for part in parts]
    tracks = match(now, measure_lesions(now.lesions), before, known, registration())
    assert fates(tracks) == {"L1": ("persistent", [1, 2], [1, 2])}


def test_a_neighbour_is_no_merge() -> None:
    """A lesion that resolves beside a persisting one has not merged into it."""
    tracks = follow([((-10, 0, 0), 3), ((0, 0, 0), 4)], [((0, 0, 0), 4)])
    assert fates(tracks) == {"L1": ("resolved", [1], []), "L2": ("persistent", [2], [1])}


def test_a_lesion_that_returns_is_recurrent_and_one_that_stays_away_is_carried_on() -> None:
    absent = (resolved("L4", (-15.0, 0.0, 0.0)), resolved("L7", (15.0, 15.0, 15.0)))
    tracks = follow([((10, 5, -5), 3)], [((10, 5, -5), 3), ((-14, 1, 0), 2), ((0, -20, 0), 2)], absent=absent)
    assert fates(tracks) == {
        "L1": ("persistent", [1], [1]),
        "L4": ("recurrent", [], [2]),
        "L7": ("resolved", [], []),
        "L8": ("new", [], [3]),
    }
    assert [track.tracking_uid for track in tracks][1:3] == ["1.2.4", "1.2.7"]


def test_a_lesion_may_return_a_little_beside_its_old_place() -> None:
    absent = (resolved("L4", (-15.0, 0.0, 0.0)),)
    found = [follow([], [((-15 + shift, 0, 0), 2.4)], absent=absent) for shift in (5.5, 9.0)]
    assert [sorted(track.state.value for track in tracks) for tracks in found] == [["recurrent"], ["new", "resolved"]]


def test_numbers_are_not_used_twice() -> None:
    tracks = follow([], [((0, 0, 0), 3), ((20, 0, 0), 3)], absent=(resolved("L12", (-20.0, -20.0, -20.0)),))
    assert [track.tracking_id for track in tracks] == ["L12", "L13", "L14"]


def test_prior_in_another_position_and_on_another_grid() -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", (20, -15, 30), degrees=True).as_matrix()
    matrix[:3, 3] = (40, -60, 25)
    places = [((-15.0, 0.0, 0.0), 5.0), ((12.0, 5.0, -5.0), 4.0), ((0.0, -18.0, 12.0), 6.0)]
    moved = [(matrix[:3, :3] @ place + matrix[:3, 3], radius) for place, radius in reversed(places)]
    coarse = empty_grid((16, 70, 70), (5.0, 0.9, 0.9), turn_deg=(10, 3, -5), centre_mm=(40, -60, 25))
    now, before = timepoint(with_balls(GRID, places), CURRENT_UID), timepoint(with_balls(coarse, moved), PRIOR_UID)
    known = baseline_identities(PRIOR_UID, measure_lesions(before.lesions))
    tracks = match(now, measure_lesions(now.lesions), before, known, registration(matrix, sigma_mm=1.5))
    assert fates(tracks) == {f"L{4 - n}": ("persistent", [4 - n], [n]) for n in (1, 2, 3)}


def test_lesions_smaller_than_the_lattice_are_not_lost() -> None:
    fine = empty_grid((40, 40, 40), (0.5, 0.5, 0.5), centre_mm=(0.25, 0.25, 0.25))
    labels = fine.array.copy()
    labels[20, 20, 20], labels[10, 10, 10] = 1, 2
    now = timepoint(fine.with_array(labels), CURRENT_UID)
    before = timepoint(fine.with_array(np.roll(labels, 1, axis=0)), PRIOR_UID)
    known = baseline_identities(PRIOR_UID, measure_lesions(before.lesions))
    tracks = match(now, measure_lesions(now.lesions), before, known, registration())
    assert [track.state for track in tracks] == [TrackState.PERSISTENT, TrackState.PERSISTENT]


def test_resolved_needs_the_current_field_of_view() -> None:
    now = timepoint(with_balls(GRID, [((0, 0, 0), 3)]), CURRENT_UID)
    wide = empty_grid((120, 120, 120))
    before = timepoint(with_balls(wide, [((0, 0, 0), 3), ((0, 0, 50), 3)]), PRIOR_UID)
    known = baseline_identities(PRIOR_UID, measure_lesions(before.lesions))
    tracks = match(now, measure_lesions(now.lesions), before, known, registration())
    assert [track.state for track in tracks] == [TrackState.PERSISTENT, TrackState.NOT_ASSESSED]
    assert "does not show its place" in tracks[1].remarks[0]


def test_new_needs_the_prior_field_of_view() -> None:
    wide = empty_grid((120, 120, 120))
    now = timepoint(with_balls(wide, [((0, 0, 0), 3), ((0, 0, 50), 3)]), CURRENT_UID)
    before = timepoint(with_balls(GRID, [((0, 0, 0), 3)]), PRIOR_UID)
    known = baseline_identities(PRIOR_UID, measure_lesions(before.lesions))
    tracks = match(now, measure_lesions(now.lesions), before, known, registration())
    assert [track.state for track in tracks] == [TrackState.PERSISTENT, TrackState.BASELINE]
    assert "may be older" in tracks[1].remarks[0]


def test_doubt_is_told() -> None:
    apart = follow([((0, 0, 0), 2)], [((6.5, 0, 0), 2)])
    assert [track.state for track in apart] == [TrackState.RESOLVED, TrackState.NEW]
    assert all(re.match("verify: a lesion of .* mm", track.remarks[0]) for track in apart)
    failed = follow([((0, 0, 0), 3)], [((0, 0, 0), 3)], how=registration(sigma_mm=10.0, kind=RegistrationKind.NONE))
    assert failed[0].confidence <= 0.5
    assert "could not be registered" in failed[0].remarks[-1]


def test_the_farther_off_the_less_sure() -> None:
    shifts_mm = (0.0, 2.0, 3.0, 4.0)
    sure = [follow([((0, 0, 0), 2)], [((shift, 0, 0), 2)])[0].confidence for shift in shifts_mm]
    assert sure == sorted(sure, reverse=True)
    assert sure[0] > 0.99 > sure[-1]


class UnevenAlignment(GivenAlignment):
    """Registration that is good on the patient's right (negative x) and poor on the left."""

    def sigma_at(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        return np.where(np.asarray(points_mm, float).reshape(-1, 3)[:, 0] < 0, 0.5, 5.0)


def test_the_error_of_registration_counts_where_the_lesion_is() -> None:
    now, before = studies([((-15, 0, 0), 2), ((15, 0, 0), 2)], [((-15, 8, 0), 2), ((15, 8, 0), 2)])
    known = baseline_identities(PRIOR_UID, measure_lesions(before.lesions))
    uneven = UnevenAlignment(fixed_study_uid=CURRENT_UID, moving_study_uid=PRIOR_UID)
    assert fates(match(now, measure_lesions(now.lesions), before, known, uneven)) == {
        "L1": ("resolved", [1], []),
        "L2": ("persistent", [2], [2]),
        "L3": ("new", [], [1]),
    }


def test_two_candidates_are_told() -> None:
    tracks = follow([((0, 0, 0), 1.6)], [((-4, 0, 0), 1.6), ((4, 0, 0), 1.6)], how=registration(sigma_mm=3.0))
    followed = next(track for track in tracks if track.state == TrackState.PERSISTENT)
    assert followed.confidence < 0.5
    assert "would fit nearly as well" in followed.remarks[-1]


def test_links_name_the_lesions_of_both_studies() -> None:
    tracks = follow([((-6, 0, 0), 3), ((2, 0, 0), 5), ((25, 0, 0), 3)], [((25, 0, 0), 3), ((-1, 0, 0), 9)])
    merged, persistent = tracks
    assert {(link.prior, link.current, link.kind.value) for link in merged.links} == {(2, 2, "pair"), (1, 2, "merge")}
    assert [name.tracking_id for name in merged.absorbed] == ["L1"]
    assert {(link.prior, link.current) for link in persistent.links} == {(3, 1)}


def test_a_missing_part_of_a_lesion_is_remembered() -> None:
    """One of two parts is not found at the second study; at the third it is known by its place."""
    left, right = ((-6.0, 0.0, 0.0), 3.0), ((6.0, 0.0, 0.0), 3.0)
    now, before = studies([left, right], [left])
    parts = [
        replace(part, tracking_uid="1.2.3", tracking_id="L1")
        for part in baseline_identities(PRIOR_UID, measure_lesions(before.lesions))
    ]
    (second,) = match(now, measure_lesions(now.lesions), before, parts, registration())
    assert [site.site_mm for site in second.empty_sites] == [pytest.approx(right[0], abs=0.1)]
    later, middle = studies([left], [left, right])
    (third,) = match(later, measure_lesions(later.lesions), middle, known_after(second), registration())
    assert third.tracking_uid == "1.2.3"
    assert len(third.current) == 2
    assert "a part was found again" in third.remarks[0]


def test_a_lesion_that_the_prior_does_not_show_is_not_recurrent() -> None:
    outside = (0.0, 0.0, 50.0)
    now = timepoint(with_balls(empty_grid((120, 120, 120)), [(outside, 3)]), CURRENT_UID)
    before = timepoint(GRID, PRIOR_UID)
    (track,) = match(now, measure_lesions(now.lesions), before, [resolved("L4", outside)], registration())
    assert (track.tracking_id, track.state) == ("L4", TrackState.PERSISTENT)
    assert "does not show this place" in track.remarks[0]


def test_neighbours_tell_of_a_shift_that_registration_has_left() -> None:
    """Six lesions are 5 mm off in one direction; the seventh has gone, and a new one stands where it seems to be."""
    places = [(-24, 0, 0), (0, -24, 4), (0, 0, 24), (24, 3, 0), (5, 24, 0), (3, 0, -24)]
    shift = np.array([5.0, 0.0, 0.0])
    before = [(place, 2.5) for place in (*places, (0, 0, 0))]
    after = [(np.add(place, shift), 2.5) for place in (*places, (-5, 0, 0))]
    tracks = follow(before, after, how=registration(sigma_mm=5.0))
    assert fates(tracks) == {
        **{f"L{n}": ("persistent", [n], [n]) for n in range(1, 7)},
        "L7": ("resolved", [7], []),
        "L8": ("new", [], [7]),
    }


ball = st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.integers(-3, 3))
places = st.lists(ball, max_size=4, unique=True)
radii = st.lists(st.sampled_from([1.3, 2.2, 3.4]), min_size=8, max_size=8)


def balls_at(places: Sequence[tuple[int, int, int]], radii: Sequence[float], shift_mm: float = 0.0) -> list[Ball]:
    return [
        (tuple(9 * step + shift_mm for step in place), radius) for place, radius in zip(places, radii, strict=False)
    ]


@settings(max_examples=25, deadline=None)
@given(prior=places, current=places, sizes=radii, shift=st.integers(-2, 2))
def test_moving_both_studies_changes_nothing(
    prior: list[tuple[int, int, int]], current: list[tuple[int, int, int]], sizes: list[float], shift: int
) -> None:
    still = follow(balls_at(prior, sizes), balls_at(current, sizes[4:]))
    moved = follow(balls_at(prior, sizes, shift), balls_at(current, sizes[4:], shift))
    assert fates(still) == fates(moved)


@settings(max_examples=25, deadline=None)
@given(prior=places, current=places, sizes=radii)
def test_every_lesion_is_in_exactly_one_track(
    prior: list[tuple[int, int, int]], current: list[tuple[int, int, int]], sizes: list[float]
) -> None:
    tracks = follow(balls_at(prior, sizes), balls_at(current, sizes[4:]))
    assert sorted(lesion.number for track in tracks for lesion in track.prior) == list(range(1, len(prior) + 1))
    assert sorted(lesion.number for track in tracks for lesion in track.current) == list(range(1, len(current) + 1))
    assert len({track.tracking_uid for track in tracks}) == len({track.tracking_id for track in tracks}) == len(tracks)
    assert all(0 <= track.confidence <= 1 for track in tracks)
    both = set(prior) & set(current)
    assert sum(track.state == TrackState.PERSISTENT for track in tracks) == len(both)
    if not prior:
        assert all(track.state == TrackState.NEW for track in tracks)
    if not current:
        assert all(track.state == TrackState.RESOLVED for track in tracks)


@settings(max_examples=15, deadline=None)
@given(current=st.permutations([(-2, 0, 0), (0, 1, 0), (2, 0, 1), (0, 0, -2)]), sizes=radii)
def test_relabelling_changes_no_identity(current: list[tuple[int, int, int]], sizes: list[float]) -> None:
    size_of = dict(zip(sorted(current), sizes, strict=False))
    prior = balls_at(sorted(current), sizes)
    tracks = follow(prior, balls_at(current, [size_of[place] for place in current]))
    assert [track.prior[0].centroid_mm for track in tracks] == [track.current[0].centroid_mm for track in tracks]


def reversed_follow(prior: Sequence[Ball], current: Sequence[Ball]) -> tuple[LesionTrack, ...]:
    now, before = studies(prior, current)
    backward = replace(registration(), fixed_study_uid=PRIOR_UID, moving_study_uid=CURRENT_UID)
    known = baseline_identities(CURRENT_UID, measure_lesions(now.lesions))
    return match(before, measure_lesions(before.lesions), now, known, backward)


def count(tracks: Sequence[LesionTrack], *states: TrackState) -> list[int]:
    return [sum(track.state == state for track in tracks) for state in states]


event = st.sampled_from(["stay", "new", "resolved", "merge", "split"])


@settings(max_examples=25, deadline=None)
@given(events=st.lists(event, min_size=1, max_size=6), sizes=st.lists(st.floats(1.8, 3.0), min_size=6, max_size=6))
def test_time_reversed_merges_are_splits_and_new_ones_are_resolved(events: list[str], sizes: list[float]) -> None:
    centres = [(-18, -18, -18), (18, -18, -18), (-18, 18, -18), (-18, -18, 18), (18, 18, 18), (18, 18, -18)]
    prior: list[Ball] = []
    current: list[Ball] = []
    for what, centre, size in zip(events, centres, sizes, strict=False):
        x, y, z = centre
        two: list[Ball] = [((x - size - 1.5, y, z), size), ((x + size + 1.5, y, z), size + 0.4)]
        one: list[Ball] = [(centre, size if what in ("stay", "new", "resolved") else 2.2 * size + 2)]
        prior += {"new": [], "merge": two}.get(what, one)
        current += {"resolved": [], "split": two}.get(what, one)
    forward, backward = follow(prior, current), reversed_follow(prior, current)
    assert count(forward, TrackState.MERGED, TrackState.SPLIT, TrackState.NEW, TrackState.RESOLVED) == [
        events.count(what) for what in ("merge", "split", "new", "resolved")
    ]
    assert count(backward, TrackState.SPLIT, TrackState.MERGED, TrackState.RESOLVED, TrackState.NEW) == [
        events.count(what) for what in ("merge", "split", "new", "resolved")
    ]
    links = {(link.prior, link.current) for track in forward for link in track.links}
    assert {(link.current, link.prior) for track in backward for link in track.links} == links


@settings(max_examples=25, deadline=None)
@given(prior=places, current=places, sizes=radii)
def test_volumes_add_up(
    prior: list[tuple[int, int, int]], current: list[tuple[int, int, int]], sizes: list[float]
) -> None:
    now, before = studies(balls_at(prior, sizes), balls_at(current, sizes[4:]))
    tracks = follow(balls_at(prior, sizes), balls_at(current, sizes[4:]))
    assert sum(track.prior_volume_mm3 for track in tracks) == pytest.approx((before.lesions.array > 0).sum())
    assert sum(track.current_volume_mm3 for track in tracks) == pytest.approx((now.lesions.array > 0).sum())


def test_bad_input_is_named() -> None:
    now, before = studies([((0, 0, 0), 3)], [((0, 0, 0), 3)])
    lesions = measure_lesions(now.lesions)
    with pytest.raises(ValueError, match="register these two"):
        match(before, lesions, now, (), registration())
    with pytest.raises(ValueError, match="has no label volume"):
        match(replace(now, lesions=None), lesions, before, (), registration())
    stranger = baseline_identities(PRIOR_UID, [replace(lesions[0], number=9)])
    with pytest.raises(ValueError, match="Lesion number 9 is not in the label volume"):
        match(now, lesions, before, stranger, registration())


def test_after_a_failed_registration_nothing_is_new_and_nothing_gone() -> None:
    how = registration(sigma_mm=10.0, kind=RegistrationKind.NONE)
    tracks = follow([((-20, 0, 0), 3), ((10, 0, 0), 4)], [((10, 0, 0), 4), ((0, 25, 0), 3)], how=how)
    assert [track.state for track in tracks] == [TrackState.NOT_ASSESSED, TrackState.PERSISTENT, TrackState.BASELINE]
    assert all("could not be registered" in track.remarks[-1] for track in tracks)
    assert tracks[0].confidence == 0


def test_a_new_lesion_that_the_model_doubts_is_to_be_verified() -> None:
    now, before = studies([], [((0, 0, 0), 3)])
    (lesion,) = measure_lesions(now.lesions)
    for probability, remarks in ((0.41, ("verify: the model is only 41 % sure of it",)), (0.8, ())):
        found = replace(lesion, confidence=probability)
        (new,) = match(now, [found], before, (), registration())
        assert (new.state, new.remarks) == (TrackState.NEW, remarks)
        (first,) = baseline_tracks(CURRENT_UID, [found])
        assert (first.state, first.remarks, first.confidence) == (TrackState.BASELINE, remarks, 1.0)


def test_lesions_that_merge_as_equals_need_no_second_look() -> None:
    (merged,) = follow([((-5, 0, 0), 4), ((5, 0, 0), 4)], [((0, 0, 0), 9)])
    assert merged.state == TrackState.MERGED
    assert not any("verify" in remark for remark in merged.remarks)


def test_what_the_prior_did_not_show_is_not_called_resolved_in_it() -> None:
    outside = resolved("L7", (0, 0, 60))
    shifted = registration(np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 60.0], [0, 0, 0, 1]]))
    now, before = studies([], [])
    (gone,) = match(now, (), before, [outside], shifted)
    assert gone.remarks[-1] == "the prior study does not show its place"


def test_names_of_merged_lesions_are_not_given_again() -> None:
    now, before = studies([((0, 0, 0), 4)], [((0, 0, 0), 4), ((20, 0, 0), 4)])
    known = baseline_identities(PRIOR_UID, measure_lesions(before.lesions))
    tracks = match(now, measure_lesions(now.lesions), before, known, registration(), taken=["L2"])
    assert [track.tracking_id for track in tracks] == ["L1", "L3"]
