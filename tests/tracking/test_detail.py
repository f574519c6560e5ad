"""Place and notes of each lesion."""

import numpy as np
import pytest

from tests.tracking.phantoms import CURRENT_UID, empty_grid, timepoint, with_balls
from tracking.detail import lesion_details
from tracking.measurement import Side, measure_lesions
from tracking.response import Criteria
from tracking.track import EmptySite, LesionTrack, TrackState

GRID = empty_grid((60, 60, 60))
STUDY = timepoint(with_balls(GRID, [((-12, 0, 0), 7.0), ((12, 0, 0), 3.5)]), CURRENT_UID)
LESIONS = measure_lesions(STUDY.lesions)
LEFT_CEREBELLAR_CORTEX, RIGHT_THALAMUS = 8, 49


def halves() -> np.ndarray:
    """Left (patient: positive x, LPS) cerebellum, right thalamus."""
    x = (np.indices(GRID.spatial_shape).reshape(3, -1).T @ GRID.affine[:3, :3].T + GRID.affine[:3, 3])[:, 0]
    return np.where(x > 0, LEFT_CEREBELLAR_CORTEX, RIGHT_THALAMUS).reshape(GRID.spatial_shape).astype(np.int16)


def track(uid: str, *places: int, state: TrackState = TrackState.NEW) -> LesionTrack:
    return LesionTrack(
        tracking_uid=uid,
        tracking_id=uid,
        state=state,
        prior=(),
        current=tuple(LESIONS[place] for place in places),
        confidence=1.0,
    )


def test_each_lesion_has_its_place_and_what_is_gone_that_of_its_site() -> None:
    tracks = [track("a", 0), track("b", 1), track("c", state=TrackState.RESOLVED)]
    sites = {"c": (EmptySite(site_mm=(20.0, 5.0, 5.0), volume_mm3=None),)}
    found = lesion_details(STUDY, tracks, sites, atlas=GRID.with_array(halves()))
    assert {uid: str(one.place) for uid, one in found.items()} == {
        "a": "right thalamus",
        "b": "left cerebellar cortex",
        "c": "left cerebellar cortex",
    }
    assert found["b"].place.infratentorial
    assert found["a"].place.side == Side.RIGHT
    assert found["c"].notes == ()


def test_the_parts_of_a_split_lesion_are_placed_by_the_largest() -> None:
    (found,) = lesion_details(STUDY, [track("a", 0, 1)], {}, atlas=GRID.with_array(halves())).values()
    assert str(found.place) == "right thalamus"
    total_mm3 = sum(lesion.total_volume_mm3 for lesion in LESIONS)
    assert found.notes[0].startswith("2 parts, longest diameters ")
    low, high = (float(word) for word in found.notes[1].removesuffix(" mm³").split()[-3::2])
    assert low < total_mm3 < high
    assert low * high == pytest.approx(total_mm3**2, rel=0.01)


def test_without_atlas_or_site_no_place_is_made_up() -> None:
    found = lesion_details(STUDY, [track("a", 0), track("c", state=TrackState.RESOLVED)], {})
    assert [str(one.place) for one in found.values()] == ["not known", "not known"]


@pytest.mark.parametrize(("small_lesions", "words"), [(False, "today not measurable by RANO-BM: l"), (True, "today m")])
def test_why_a_lesion_cannot_be_a_target(small_lesions: bool, words: str) -> None:
    found = lesion_details(STUDY, [track("b", 1)], {}, criteria=Criteria(small_lesions=small_lesions))
    assert found["b"].notes[-1].startswith(words)
    whole = lesion_details(STUDY, [track("a", 0)], {}, criteria=Criteria(small_lesions=small_lesions))
    assert whole["a"].notes[-1] == "today measurable by RANO-BM"
