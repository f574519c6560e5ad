"""Detection and re-segmentation become one answer by stated rules; every rule is seen at work on balls."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from highdicom import Volume
from numpy.typing import NDArray

from inference.follow_up import can_resegment, merged_probability, resegment
from inference.grid_model import GridModel
from inference.segmentation import lesion_probability
from tests.inference.test_predictor import MANIFEST
from tests.inference.test_segmentation import scan
from tracking.timepoint import MRSequence

AFFINE = np.diag([1.0, 1.0, 1.0, 1.0])
SHAPE = (40, 40, 40)


def ball(centre: tuple[int, int, int], radius: float) -> NDArray[np.bool_]:
    axes = np.ogrid[tuple(slice(0, size) for size in SHAPE)]
    return np.asarray(sum((axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True)) <= radius**2)


def volume(array: NDArray[Any]) -> Volume:
    return Volume(array, AFFINE, "PATIENT")


def merge(detected: NDArray[np.bool_], again: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Merge two maps of probability .9 (detector) and .8 (re-segmentation); return what is lesion."""
    merged = merged_probability(
        volume(detected * np.float32(0.9)),
        volume(again * np.float32(0.8)),
        volume(known.astype(np.uint16)),
        threshold=0.5,
    )
    return np.asarray(merged.array >= 0.5)


KNOWN, ELSEWHERE = ball((12, 12, 12), 5), ball((30, 30, 30), 4)
NOTHING = np.zeros(SHAPE, bool)


def test_what_the_detector_finds_keeps_its_outline() -> None:
    smaller, larger = ball((12, 12, 12), 3), ball((12, 12, 12), 7)
    np.testing.assert_array_equal(merge(smaller, KNOWN, KNOWN), smaller)
    np.testing.assert_array_equal(merge(larger, KNOWN, KNOWN), larger)


def test_a_known_lesion_that_the_detector_misses_is_found_again() -> None:
    smaller = ball((12, 12, 12), 3)
    np.testing.assert_array_equal(merge(NOTHING, smaller, KNOWN), smaller)
    # though its neighbour was found, and the answer covers both
    neighbour = ball((12, 12, 24), 3)
    both = KNOWN | neighbour | ball((12, 12, 18), 2)
    np.testing.assert_array_equal(merge(neighbour, both, KNOWN | neighbour), both)


def test_what_only_the_detector_finds_elsewhere_is_kept() -> None:
    np.testing.assert_array_equal(merge(ELSEWHERE, NOTHING, KNOWN), ELSEWHERE)
    np.testing.assert_array_equal(merge(ELSEWHERE | KNOWN, KNOWN, KNOWN), ELSEWHERE | KNOWN)


def test_the_resegmentation_cannot_add_lesions_where_none_was_known() -> None:
    np.testing.assert_array_equal(merge(NOTHING, ELSEWHERE, KNOWN), NOTHING)
    np.testing.assert_array_equal(merge(ELSEWHERE, ball((30, 30, 30), 7), KNOWN), ELSEWHERE)


def test_a_known_lesion_is_gone_only_if_neither_finds_it() -> None:
    np.testing.assert_array_equal(merge(KNOWN, NOTHING, KNOWN), KNOWN)
    np.testing.assert_array_equal(merge(NOTHING, NOTHING, KNOWN), NOTHING)


def test_a_lesion_that_moved_a_little_is_still_the_known_one() -> None:
    moved = ball((12, 12, 20), 2)  # 1 mm beyond the known outline
    np.testing.assert_array_equal(merge(NOTHING, moved, KNOWN), moved)


def test_without_known_lesions_the_detector_stands_alone() -> None:
    np.testing.assert_array_equal(merge(ELSEWHERE, KNOWN, NOTHING), ELSEWHERE)


class Prior:
    """A model that finds what it is told."""

    manifest = replace(MANIFEST, channels=("T1c", "prior_mask"))

    def predict(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.stack([1 - channels[1], channels[1]])


def test_the_prior_reaches_the_model_on_its_own_grid_and_the_answer_comes_back() -> None:
    timepoint, _ = scan(spacing=(2.0, 1.0, 1.0))
    t1c = timepoint.images[MRSequence.T1C]
    assert timepoint.brain is not None
    known = t1c.with_array((t1c.array > 200).astype(np.uint16))
    inside = timepoint.brain.array.astype(bool)
    answer = lesion_probability(resegment(timepoint, timepoint.brain, GridModel(predictor=Prior()), known=known))
    assert answer.geometry_equal(t1c)
    agree = (answer.array >= 0.5)[inside] == (known.array > 0)[inside]
    assert agree.mean() > 0.999
    assert (answer.array >= 0.5)[inside & (known.array > 0)].mean() > 0.95


def test_a_model_without_the_channel_is_refused() -> None:
    class Single(Prior):
        manifest = MANIFEST

    timepoint, _ = scan(spacing=(2.0, 2.0, 2.0))
    assert timepoint.brain is not None
    assert can_resegment(Prior.manifest)
    assert not can_resegment(MANIFEST)
    with pytest.raises(ValueError, match="brightness has no channel prior_mask"):
        resegment(timepoint, timepoint.brain, GridModel(predictor=Single()), known=timepoint.brain)
