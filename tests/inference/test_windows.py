"""Windows: where they lie, that they cover what is seen, and that their sum is MONAI's where both lay the same ones."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.utils import compute_importance_map
from monai.inferers.inferer import SlidingWindowInferer
from numpy.typing import NDArray
from torch import nn

from inference.preprocessing import POSITIONS
from inference.windows import Size, importance, lay_windows, seen_voxels, slide


def ellipsoid(shape: Size) -> NDArray[np.bool_]:
    """The largest one that the array holds, like a brain in its box."""
    axes = np.ogrid[tuple(slice(-1, 1, size * 1j) for size in shape)]
    return np.asarray(sum(axis**2 for axis in axes) <= 1)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(*[st.integers(16, 50)] * 3),
    size=st.sampled_from([(16, 16, 16), (16, 8, 12)]),
    overlap=st.sampled_from([0.0, 0.25, 0.5]),
    seed=st.integers(0, 100),
)
def test_every_seen_voxel_lies_in_a_window_and_every_window_in_the_array(
    shape: Size, size: Size, overlap: float, seed: int
) -> None:
    seen = np.random.default_rng(seed).random(shape) > 0.999
    covered = np.zeros(shape, bool)
    for window in lay_windows(seen, size=size, overlap=overlap):
        assert [w.stop - w.start for w in window] == list(size)
        assert all(w.start >= 0 and w.stop <= extent for w, extent in zip(window, shape, strict=True))
        assert seen[window].any()
        covered[window] = True
    assert not (seen & ~covered).any()


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_neighbours_overlap_by_at_least_the_wanted_share(overlap: float) -> None:
    starts = sorted(w[0].start for w in lay_windows(np.ones((203, 16, 16), bool), size=(16, 16, 16), overlap=overlap))
    assert max(np.diff(starts)) <= 16 * (1 - overlap)
    assert (starts[0], starts[-1]) == (0, 203 - 16)


def test_a_brain_needs_fewer_windows_than_its_box() -> None:
    in_box = lay_windows(np.ones((143, 177, 136), bool), size=(32, 32, 32), overlap=0.25)
    of_brain = lay_windows(ellipsoid((143, 177, 136)), size=(32, 32, 32), overlap=0.25)
    assert len(in_box) == 6 * 8 * 6
    assert len(of_brain) < 0.8 * len(in_box)


def test_the_axis_that_saves_most_is_divided_first() -> None:
    seen = np.zeros((40, 40, 40), bool)
    seen[:, :16, :16] = seen[:16, 16:, 16:32] = True
    for turned in (seen, seen.transpose(1, 2, 0), seen.transpose(2, 0, 1)):
        starts = [tuple(axis.start for axis in w) for w in lay_windows(turned, size=(16, 16, 16), overlap=0.0)]
        assert len(starts) == 5
        assert starts == sorted(starts)  # in the order of the array, whichever axis was divided first


def test_blank_arrays_need_no_window() -> None:
    assert lay_windows(np.zeros((20, 20, 20), bool), size=(16, 16, 16), overlap=0.25) == []


def test_position_channels_are_no_sight() -> None:
    channels = np.ones((5, 4, 4, 4), np.float32)
    channels[:2] = 0
    channels[0, 1, 1, 1] = -2
    channels[1, 2, 2, 2] = 1
    seen = seen_voxels(channels, ("T1c", "prior_mask", *POSITIONS))
    assert np.argwhere(seen).tolist() == [[1, 1, 1], [2, 2, 2]]


def test_weights_are_those_of_monai() -> None:
    expected = compute_importance_map((32, 16, 48), mode="gaussian", sigma_scale=0.125)
    np.testing.assert_allclose(importance((32, 16, 48)), expected.numpy(), rtol=1e-5)


@pytest.mark.parametrize("shape", [(16, 16, 16), (40, 28, 16), (28, 52, 28)])
def test_stitched_as_by_monai_where_both_lay_the_same_windows(shape: Size) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.InstanceNorm3d(4), nn.Conv3d(4, 3, 3, padding=1))
    channels = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    inferer = SlidingWindowInferer(roi_size=(16, 16, 16), overlap=0.25, mode="gaussian")
    with torch.inference_mode():
        expected = inferer(torch.from_numpy(channels)[None], network)[0].softmax(0).numpy()
        found = slide(
            channels,
            lambda window: network(torch.from_numpy(window)).numpy(),
            seen=np.ones(shape, bool),
            labels=3,
            size=(16, 16, 16),
            overlap=0.25,
        )
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_nothing_is_computed_away_from_what_is_seen_and_background_is_exact_there() -> None:
    channels = np.zeros((1, 64, 64, 64), np.float32)
    channels[0, 20:30, 20:30, 20:30] = 1
    calls = []

    def network(window: NDArray[np.float32]) -> NDArray[np.float32]:
        calls.append(window.shape)
        return np.concatenate([np.zeros_like(window), window + 3], axis=1)

    found = slide(channels, network, seen=channels[0] != 0, labels=2, size=(16, 16, 16), overlap=0.25)
    assert calls == [(1, 1, 16, 16, 16)]
    assert (found[:, 0, 0, 0] == (1, 0)).all()
    np.testing.assert_allclose(found[1, 20:30, 20:30, 20:30], 1 / (1 + np.exp(-4)), rtol=1e-6)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-6)


def test_great_logits_do_not_overflow() -> None:
    image = np.full((1, 16, 16, 16), 1e4, np.float32)
    found = slide(
        image,
        lambda window: np.concatenate([-window, window], axis=1),
        seen=image[0] != 0,
        labels=2,
        size=(16, 16, 16),
        overlap=0.25,
    )
    assert (found[1] == 1).all()
