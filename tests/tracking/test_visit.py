"""Visits made from tracks, and what a visit refuses to hold."""

from dataclasses import replace

import pytest

from tests.tracking.phantoms import empty_grid, with_balls
from tests.tracking.visits import FIRST_DAY, merged, sighting, sizes, visit
from tracking.history import history_of, volume_mm3
from tracking.measurement import measure_lesions, profile_lesions
from tracking.track import Identity, LesionTrack, TrackState
from tracking.visit import Presence, Sighting, visit_of


def track(name: str, state: TrackState, *current: object, remarks: tuple[str, ...] = ()) -> LesionTrack:
    return LesionTrack(
        tracking_uid=f"2.25.{name}",
        tracking_id=name,
        state=state,
        prior=(),
        current=current,  # type: ignore[arg-type]  # lesions
        confidence=0.9,
        remarks=remarks,
    )


def test_tracks_become_sightings() -> None:
    labels = with_balls(empty_grid((40, 40, 40)), [((-10, 0, 0), 6), ((10, 0, 0), 4), ((0, 12, 0), 3)])
    one, two, three = lesions = measure_lesions(labels)
    tracks = [
        track("a", TrackState.SPLIT, one, two),
        track("b", TrackState.NEW, three, remarks=("verify: a lesion lies 2 mm away",)),
        track("c", TrackState.RESOLVED),
        track("d", TrackState.NOT_ASSESSED),
    ]
    tracks[0] = replace(tracks[0], absorbed=(Identity(tracking_uid="2.25.e", tracking_id="e"),))
    made = visit_of(tracks, profile_lesions(labels, lesions), day=FIRST_DAY, slice_spacing_mm=1.0)
    a, b, c, d, e = made.sightings
    assert a.volume_mm3 == pytest.approx(one.total_volume_mm3 + two.total_volume_mm3)
    assert a.longest_diameter_mm == pytest.approx(one.longest_diameter.length_mm + two.longest_diameter.length_mm)
    assert (a.plane_count, a.slice_count, a.certain, a.onset_known) == (3, 12, True, True)
    assert (b.certain, b.presence) == (False, Presence.PRESENT)
    assert (c.presence, d.presence, e.presence) == (Presence.ABSENT, Presence.NOT_SHOWN, Presence.MERGED)
    assert (e.tracking_id, e.merged_into) == ("e", a.tracking_uid)
    assert made.total_volume_mm3 == pytest.approx(sum(lesion.total_volume_mm3 for lesion in lesions))


def test_the_start_of_a_lesion_without_a_prior_is_not_known() -> None:
    labels = with_balls(empty_grid((20, 20, 20)), [((0, 0, 0), 4)])
    lesions = measure_lesions(labels)
    profiles = profile_lesions(labels, lesions)
    made = visit_of([track("a", TrackState.BASELINE, *lesions)], profiles, day=FIRST_DAY, slice_spacing_mm=1.0)
    assert not made.sightings[0].onset_known
    with pytest.raises(ValueError, match=r"Lesions \[1\] have no profile"):
        visit_of([track("a", TrackState.BASELINE, *lesions)], [], day=FIRST_DAY, slice_spacing_mm=1.0)


def test_contradictions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a is absent, but its volume is 5 mm³"):
        sighting("a", 0, volume_mm3=5)
    with pytest.raises(ValueError, match=r"a is present, but its volume is 0\.0 mm³"):
        Sighting(tracking_uid="2.25.a", tracking_id="a")
    with pytest.raises(ValueError, match="give merged_into for a merged lesion"):
        sighting("a", 0, presence=Presence.MERGED)
    with pytest.raises(ValueError, match=r"lists lesions .* twice"):
        visit(0, sighting("a", 5), sighting("a", 6))


def test_a_chain_of_merges_ends_at_the_last_host() -> None:
    visits = [
        sizes(0, a=10, b=8, c=6),
        visit(30, sighting("a", 12), sighting("b", 11), merged("c", "b")),
        visit(60, sighting("a", 20), merged("b", "a")),
    ]
    history = history_of(visits)
    assert history.groups(2, ["2.25.a", "2.25.b", "2.25.c"]) == {"2.25.a": ("2.25.a", "2.25.b", "2.25.c")}
    assert history.size(2, ["2.25.c"], volume_mm3) == 0.5 * 20**3
    assert history.size(0, ["2.25.c"], volume_mm3) == 0.5 * 6**3


def test_merges_in_a_ring_come_to_an_end() -> None:
    history = history_of([visit(0, merged("a", "b"), merged("b", "a"))])
    assert history.size(0, ["2.25.a"], volume_mm3) == 0
