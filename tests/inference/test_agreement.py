"""When two computations count as the same, and what they are compared on."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.agreement import BFLOAT16, FEWEST_VOXELS, Agreement, compare, generated_channels
from inference.preprocessing import POSITIONS
from inference.windows import seen_voxels
from tests.inference.test_predictor import MANIFEST

SHAPE = (20, 20, 20)


def result(lesion: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([1 - lesion, lesion])


def cube(probability: float, *, start: int = 0) -> NDArray[np.float32]:
    lesion = np.zeros(SHAPE, np.float32)
    lesion[start : start + 10, :10, :10] = probability
    return result(lesion)


def test_a_result_agrees_with_itself() -> None:
    assert compare(cube(0.9), cube(0.9), threshold=0.5) == Agreement(voxels=1000, dice=1, difference=0)


def test_a_shifted_lesion_costs_dice() -> None:
    found = compare(cube(0.9), cube(0.9, start=1), threshold=0.5)
    assert found.voxels == 1100
    assert found.dice == pytest.approx(0.9)
    assert found.difference == pytest.approx(0.9)


def test_background_alone_makes_nobody_agree() -> None:
    nothing = compare(cube(0), cube(0), threshold=0.5)
    assert (nothing.voxels, nothing.dice, nothing.difference) == (0, 0, 1)


def test_sure_background_does_not_dilute_the_difference() -> None:
    assert compare(cube(0.9), cube(0.8), threshold=0.5).difference == pytest.approx(0.1)


def test_every_class_but_background_counts() -> None:
    enhancing, necrosis = cube(0.3)[1], cube(0.4)[1]
    one = np.stack([1 - enhancing - necrosis, enhancing, necrosis])
    other = np.stack([1 - enhancing - necrosis, necrosis, enhancing])
    found = compare(one, other, threshold=0.5)
    assert (found.voxels, found.dice) == (1000, 1)
    assert found.difference == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("agreement", "allowed"),
    [
        (Agreement(voxels=FEWEST_VOXELS, dice=0.99, difference=0.05), True),
        (Agreement(voxels=FEWEST_VOXELS - 1, dice=1, difference=0), False),
        (Agreement(voxels=5000, dice=0.989, difference=0), False),
        (Agreement(voxels=5000, dice=1, difference=0.051), False),
        (None, False),
    ],
)
def test_limits(agreement: Agreement | None, allowed: bool) -> None:
    assert BFLOAT16.allow(agreement) is allowed


@pytest.mark.slow
def test_the_head_shows_brain_and_lesions_and_is_always_the_same() -> None:
    manifest = replace(MANIFEST, channels=("T1c", "prior_mask", *POSITIONS))
    channels = generated_channels(manifest, threads=1)
    assert channels.dtype == np.float32
    assert channels.shape[0] == 5
    assert not channels[1].any()
    assert np.abs(channels[2:]).max() <= 1.5
    seen = seen_voxels(channels, manifest.channels)
    assert 1e6 < seen.sum() < 3e6
    assert channels[0][seen].max() > 3  # enhancing lesions stand out
    np.testing.assert_array_equal(generated_channels(manifest, threads=1), channels)
