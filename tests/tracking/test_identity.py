"""Names of lesions: valid, repeatable, and never given twice."""

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.tracking.phantoms import empty_grid, with_balls
from tracking.identity import baseline_identities, new_tracking_uid, tracking_order
from tracking.measurement import measure_lesions

coordinate = st.floats(-300, 300)


@given(x=coordinate, y=coordinate, z=coordinate)
def test_tracking_uids_are_valid_and_repeatable(x: float, y: float, z: float) -> None:
    uid = new_tracking_uid("1.2.3", (x, y, z))
    assert re.fullmatch(r"2\.25\.(0|[1-9]\d*)", uid)
    assert len(uid) <= 64
    assert uid == new_tracking_uid("1.2.3", (x, y, z))
    assert uid != new_tracking_uid("1.2.4", (x, y, z))


def test_places_count_to_a_tenth_of_a_millimetre() -> None:
    first = new_tracking_uid("1.2.3", (1.0, -0.0, 3.0))
    assert first == new_tracking_uid("1.2.3", (1.00001, 0.0, 2.99999))
    assert first == new_tracking_uid("1.2.3", (1.0, -0.01, 3.0))
    assert first != new_tracking_uid("1.2.3", (1.0, 0.2, 3.0))


def test_lesions_with_one_centre_have_two_names() -> None:
    (lesion,) = measure_lesions(with_balls(empty_grid((9, 9, 9)), [((0, 0, 0), 3)]))
    first, second = baseline_identities("1.2.3", [lesion, replace(lesion, number=2)])
    assert first.tracking_uid != second.tracking_uid
    assert (first.tracking_id, second.tracking_id) == ("L1", "L2")


def test_numbering_goes_on_after_the_highest() -> None:
    (lesion,) = measure_lesions(with_balls(empty_grid((9, 9, 9)), [((0, 0, 0), 3)]))
    (named,) = baseline_identities("1.2.3", [lesion], taken=["L2", "L11", "left frontal", "L3x"])
    assert named.tracking_id == "L12"
    assert named.lesion == lesion


def test_names_are_in_the_order_of_their_numbers() -> None:
    assert sorted(["L10", "edge", "L2", "L1"], key=tracking_order) == ["L1", "L2", "L10", "edge"]
