"""Preparation of images: geometry and intensities, and that training and inference prepare alike."""

import numpy as np
import pytest
import torch
from highdicom import Volume
from torch import Generator

from inference.preprocessing import (
    SURROUNDINGS_MM,
    brain_box,
    brain_extent,
    normalise,
    position_in_brain,
    to_fixed_orientation,
    to_model_grid,
)
from inference.training.heads import HeadSource
from inference.training.pool import prepare

# Every order of axes, each direction both ways.
ORIENTATIONS = ("HPL", "LPH", "FAR", "PFL", "ARH", "RHA", "LFP", "AHR", "PLF")


def head_with_landmarks(spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> tuple[Volume, Volume]:
    """A brain (40 mm ball) whose intensity tells the position: x + 1000 along L, P and H."""
    shape = tuple(round(100 / s) for s in spacing)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = *spacing, 1
    affine[:3, 3] = (-50 + spacing[2] / 2, -50 + spacing[1] / 2, -50 + spacing[0] / 2)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    points = index @ affine[:3, :3].T + affine[:3, 3]
    image = points @ np.array([1.0, 2.0, 4.0]) + 1000
    brain = np.linalg.norm(points, axis=-1) <= 40
    return Volume(image.astype(np.float32), affine, "PATIENT"), Volume(brain, affine, "PATIENT")


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_orientation_arrives_as_the_same_array(orientation: str) -> None:
    image, brain = head_with_landmarks()
    expected, expected_brain = to_model_grid(image, brain, spacing_mm=1.0)
    turned, turned_brain = to_model_grid(
        image.to_patient_orientation(orientation), brain.to_patient_orientation(orientation), spacing_mm=1.0
    )
    np.testing.assert_allclose(turned.array, expected.array, atol=1e-3)
    np.testing.assert_array_equal(turned_brain.array, expected_brain.array)
    np.testing.assert_allclose(turned.affine, expected.affine, atol=1e-9)


def test_axes_run_towards_head_back_and_left() -> None:
    image, _ = head_with_landmarks()
    array = to_fixed_orientation(image.to_patient_orientation("RAF")).array
    assert np.allclose([np.diff(array, axis=axis).mean() for axis in range(3)], [4, 2, 1])  # H, P, L


def test_thick_slices_land_on_a_cubic_grid_with_values_in_place() -> None:
    image, brain = head_with_landmarks((5.0, 0.8, 1.25))
    sampled, mask = to_model_grid(image, brain, spacing_mm=1.0)
    assert sampled.spacing == pytest.approx((1, 1, 1))
    inside = np.argwhere(mask.array)
    points = inside @ sampled.affine[:3, :3].T + sampled.affine[:3, 3]
    np.testing.assert_allclose(sampled.array[mask.array], points @ [1, 2, 4] + 1000, atol=0.05)
    assert mask.array.sum() == pytest.approx(4 / 3 * np.pi * 40**3, rel=0.03)


def test_brain_box_is_tight_plus_margin_and_cut_at_the_edge() -> None:
    brain = np.zeros((20, 20, 20), bool)
    brain[1:5, 8:12, 10:19] = True
    assert brain_box(brain, margin=(3, 3, 3)) == (slice(0, 8), slice(5, 15), slice(7, 20))


def test_empty_brain_is_refused() -> None:
    with pytest.raises(ValueError, match="brain mask is empty"):
        brain_box(np.zeros((4, 4, 4), bool), margin=(1, 1, 1))


def test_normalised_brain_has_mean_zero_and_deviation_one_whatever_the_units() -> None:
    rng = np.random.default_rng(0)
    brain = np.zeros((30, 30, 30), bool)
    brain[8:22, 8:22, 8:22] = True
    image = rng.normal(300, 40, brain.shape)
    first = normalise(image, brain)
    np.testing.assert_allclose([first[brain].mean(), first[brain].std()], [0, 1], atol=1e-2)
    np.testing.assert_allclose(normalise(7.5 * image + 900, brain), first, atol=1e-4)


def test_head_with_and_without_skull_look_alike_beyond_the_surroundings() -> None:
    rng = np.random.default_rng(0)
    brain = np.zeros((40, 40, 40), bool)
    brain[12:28, 12:28, 12:28] = True
    scaled = normalise(rng.normal(300, 40, brain.shape), brain)
    edge = 12 - SURROUNDINGS_MM
    assert not scaled[:edge].any()
    assert scaled[edge, 20, 20] != 0


def test_training_prepares_a_head_exactly_as_inference_does(ball_head: HeadSource) -> None:
    (head,) = ball_head.make(Generator().manual_seed(3))
    affine = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
    image, brain = (Volume(part.numpy(), affine, "PATIENT") for part in (head.t1c, head.brain))
    sampled, mask = to_model_grid(image, brain, spacing_mm=1.0)
    inference = torch.from_numpy(normalise(sampled.array, mask.array)).half()
    torch.testing.assert_close(prepare([head])[0].images["T1c"], inference, atol=2e-3, rtol=2e-3)


def test_positions_run_from_minus_one_to_one_over_the_brain_and_mirror_left_and_right() -> None:
    brain = np.zeros((20, 30, 21), bool)
    brain[4:15, 5:26, 3:18] = True
    extent = brain_extent(brain)
    whole = position_in_brain(extent, start=(0, 0, 0), shape=brain.shape)
    assert whole.shape == (3, 20, 30, 21)
    assert whole[:, 4, 5, 3].tolist() == pytest.approx([-1, -1, 1])
    assert whole[:, 14, 25, 17].tolist() == pytest.approx([1, 1, 1])
    assert whole[2, 0, 0, 10] == 0
    np.testing.assert_array_equal(whole[2], whole[2, :, :, ::-1])
    assert np.abs(whole).max() <= 1.5


def test_a_patch_has_the_positions_of_the_whole_there() -> None:
    brain = np.zeros((20, 30, 21), bool)
    brain[4:15, 5:26, 3:18] = True
    extent = brain_extent(brain)
    whole = position_in_brain(extent, start=(0, 0, 0), shape=brain.shape)
    patch = position_in_brain(extent, start=(2, -3, 5), shape=(8, 8, 8))
    np.testing.assert_array_equal(patch[:, :, 3:], whole[:, 2:10, 0:5, 5:13])
