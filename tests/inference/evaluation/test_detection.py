"""Matches under each rule on cubes whose shared voxels can be counted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from inference.evaluation.detection import DetectionCounts, MatchRule, Meetings, attributed, components, meet
from tests.inference.evaluation.phantoms import box, cubes

EVERYWHERE = np.ones((24, 24, 24), bool)
EDGES_MM = (1.0, 1.0, 1.0)


def met(truth: NDArray[np.int32], prediction: NDArray[np.int32]) -> Meetings:
    return meet(components(truth > 0), components(prediction > 0), EVERYWHERE)


def test_any_overlap_needs_one_voxel() -> None:
    counts = met(cubes(((2, 2, 2), 4), ((12, 12, 12), 4)), cubes(((5, 5, 5), 4), ((20, 2, 2), 2)))
    assert counts.counts(MatchRule.ANY_OVERLAP) == DetectionCounts(
        lesions=2, found=1, predictions=2, true_predictions=1
    )


def test_iou_must_exceed_a_quarter() -> None:
    truth = box(cubes(), (2, 2, 2), (5, 2, 2))  # 20 voxels
    quarter = box(cubes(), (5, 2, 2), (5, 2, 2))  # shares 8 of 32: exactly .25
    more = box(cubes(), (5, 2, 2), (4, 2, 2))  # shares 8 of 28
    assert met(truth, quarter).counts(MatchRule.IOU).found == 0
    assert met(truth, quarter).counts(MatchRule.IOU).false_positives == 1
    assert met(truth, more).counts(MatchRule.IOU).found == 1


def test_ior_is_of_the_lesion_and_includes_its_limit() -> None:
    truth = box(cubes(), (2, 2, 2), (5, 2, 2))
    fifth = box(cubes(), (6, 2, 2), (17, 2, 2))  # shares 4 of 20, but is far larger than the lesion
    less = box(cubes(), (6, 2, 2), (1, 1, 3))  # shares 2 of 20
    assert met(truth, fifth).counts(MatchRule.IOR).found == 1
    assert met(truth, less).counts(MatchRule.IOR).found == 0
    assert met(truth, less).counts(MatchRule.ANY_OVERLAP).found == 1


def test_defect_8_a_prediction_over_two_lesions_finds_both() -> None:
    truth = cubes(((2, 2, 2), 4), ((8, 2, 2), 4))
    merged = box(cubes(), (2, 2, 2), (10, 4, 4))
    for rule in MatchRule:
        counts = met(truth, merged).counts(rule)
        assert (counts.found, counts.true_predictions, counts.false_positives) == (2, 1, 0)


def test_defect_8_two_parts_of_a_lesion_are_both_true() -> None:
    truth = box(cubes(), (2, 2, 2), (10, 4, 4))
    split = cubes(((2, 2, 2), 4), ((8, 2, 2), 4))
    for rule in MatchRule:
        counts = met(truth, split).counts(rule)
        assert (counts.found, counts.true_predictions, counts.false_positives) == (1, 2, 0)


def test_what_reaches_the_unknown_and_meets_no_lesion_counts_neither_way() -> None:
    known = EVERYWHERE.copy()
    known[:, :, 20:] = False
    truth = components(cubes(((2, 2, 2), 4)) > 0)
    prediction = components(cubes(((3, 3, 3), 4), ((10, 10, 18), 4), ((18, 18, 2), 2)) > 0)
    counts = meet(truth, prediction, known).counts(MatchRule.ANY_OVERLAP)
    assert (counts.found, counts.predictions, counts.false_positives) == (1, 2, 1)


def test_overlap_in_the_unknown_is_no_overlap() -> None:
    known = EVERYWHERE.copy()
    known[4:] = False
    truth = components((cubes(((2, 2, 2), 4)) > 0) & known)
    prediction = components(cubes(((4, 2, 2), 4)) > 0)
    assert meet(truth, prediction, known).counts(MatchRule.ANY_OVERLAP).found == 0


def test_only_known_voxels_of_a_prediction_weigh() -> None:
    """Of 4 layers of the prediction 3 are unknown: what is known of it is the lesion."""
    known = EVERYWHERE.copy()
    known[:, :, 3:] = False
    truth, prediction = box(cubes(), (2, 2, 2), (4, 4, 1)), cubes(((2, 2, 2), 4))
    meetings = meet(components(truth > 0), components(prediction > 0), known)
    assert (meetings.predictions.tolist(), meetings.shared.tolist()) == ([16], [[16]])


def test_rates_of_nothing_are_none() -> None:
    counts = met(cubes(), cubes(((2, 2, 2), 2))).counts(MatchRule.ANY_OVERLAP)
    assert (counts.recall, counts.precision) == (None, 0)
    counts = met(cubes(((2, 2, 2), 2)), cubes()).counts(MatchRule.IOU)
    assert (counts.recall, counts.precision) == (0, None)


def test_a_prediction_over_two_lesions_is_divided_at_the_middle() -> None:
    """Lesions of 4 voxels' width with a gap of 2: each gets its own voxels and half of the gap."""
    truth = components(cubes(((2, 2, 2), 4), ((8, 2, 2), 4)) > 0)
    prediction = components(box(cubes(), (2, 2, 2), (10, 4, 4)) > 0)
    mine = attributed(truth, prediction, meet(truth, prediction, EVERYWHERE), EDGES_MM)
    np.testing.assert_array_equal(np.bincount(mine.ravel())[1:], [80, 80])
    assert mine[6, 3, 3] == truth[5, 3, 3]
    assert mine[7, 3, 3] == truth[8, 3, 3]


def test_division_is_by_mm() -> None:
    """The gap runs along i and the prediction bulges along j: spacing decides which lesion is nearer."""
    truth = components(box(box(cubes(), (2, 2, 2), (2, 2, 2)), (6, 6, 2), (2, 2, 2)) > 0)
    prediction = components(box(cubes(), (2, 2, 2), (6, 6, 2)) > 0)
    at = (6, 3, 2)  # 3 steps along i from the first lesion, 3 along j from the second
    for spacing_mm, place in (((1.0, 5.0, 1.0), (2, 2, 2)), ((5.0, 1.0, 1.0), (6, 6, 2))):
        mine = attributed(truth, prediction, meet(truth, prediction, EVERYWHERE), spacing_mm)
        assert mine[at] == truth[place]


def test_false_positives_belong_to_no_lesion() -> None:
    truth, prediction = components(cubes(((2, 2, 2), 4)) > 0), components(cubes(((12, 2, 2), 4)) > 0)
    assert not attributed(truth, prediction, meet(truth, prediction, EVERYWHERE), EDGES_MM).any()
    empty = components(cubes() > 0)
    assert not attributed(empty, prediction, meet(empty, prediction, EVERYWHERE), EDGES_MM).any()


blobs = arrays(bool, (5, 5, 5), elements=st.booleans())


@settings(max_examples=60)
@given(blobs, blobs, blobs)
def test_laws_of_counting(first: NDArray[np.bool_], second: NDArray[np.bool_], known: NDArray[np.bool_]) -> None:
    truth, prediction = components(first & known), components(second)
    meetings = meet(truth, prediction, known)
    loose, strict = meetings.counts(MatchRule.ANY_OVERLAP), meetings.counts(MatchRule.IOU)
    assert 0 <= strict.found <= loose.found <= loose.lesions == truth.max(initial=0)
    assert 0 <= loose.true_predictions <= loose.predictions <= prediction.max(initial=0)
    assert (loose.found > 0) == (loose.true_predictions > 0) == bool((first & second & known).any())
    mine = attributed(truth, prediction, meetings, EDGES_MM)
    assert not mine[~second].any()
    np.testing.assert_array_equal(mine[(truth > 0) & second], truth[(truth > 0) & second])


@pytest.mark.parametrize("rule", MatchRule)
def test_a_map_against_itself_is_perfect(rule: MatchRule) -> None:
    mask = cubes(((2, 2, 2), 4), ((12, 12, 12), 1))
    counts = met(mask, mask).counts(rule)
    assert (counts.recall, counts.precision) == (1, 1)
