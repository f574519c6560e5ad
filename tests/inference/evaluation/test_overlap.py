"""Voxel and surface measures against MONAI, and against numbers worked out by hand."""

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance
from numpy.typing import NDArray

from inference.evaluation.overlap import (
    Confusion,
    boxes_of,
    confusion,
    f_beta,
    hd95_mm,
    ndsc,
    prediction_odds,
    surface_distances_mm,
    truth_odds,
    union_box,
)
from tests.inference.evaluation.phantoms import cubes

NAN = float("nan")


def masks(seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Two rough blobs that overlap in part."""
    rng = np.random.default_rng(seed)
    first = cubes(((3, 3, 3), 9)) > 0
    second = np.roll(first, rng.integers(1, 4, 3).tolist(), axis=(0, 1, 2))
    return first & (rng.random(first.shape) < 0.9), second & (rng.random(first.shape) < 0.9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.5, 2.0, 3.3)])
def test_hd95_and_dice_are_those_of_monai(seed: int, spacing_mm: tuple[float, float, float]) -> None:
    first, second = masks(seed)
    ours, theirs = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (first, second))
    hd95 = compute_hausdorff_distance(ours, theirs, include_background=True, percentile=95, spacing=list(spacing_mm))
    assert hd95_mm(first, second, spacing_mm) == pytest.approx(float(hd95), abs=1e-5)
    counts = confusion(first, second, np.ones(first.shape, bool))
    assert counts.dice == pytest.approx(float(compute_dice(ours, theirs, include_background=True)), abs=1e-6)


def test_distance_of_two_voxels_is_in_mm() -> None:
    first, second = np.zeros((2, 5, 5, 5), bool)
    first[1, 1, 1] = second[1, 3, 4] = True
    assert hd95_mm(first, second, (9.0, 2.0, 1.0)) == pytest.approx(5.0)  # 4 mm and 3 mm


def test_an_empty_mask_has_no_distance() -> None:
    mask = cubes(((3, 3, 3), 2)) > 0
    assert hd95_mm(mask, ~mask & mask, (1.0, 1.0, 1.0)) is None
    assert surface_distances_mm(~mask & mask, ~mask & mask, (1.0, 1.0, 1.0)) is None


def test_a_mask_at_the_edge_of_the_array_has_its_surface_there() -> None:
    slab = np.ones((3, 3, 3), bool)
    distances = surface_distances_mm(slab, slab, (1.0, 1.0, 1.0))
    assert distances is not None
    assert len(distances[0]) == 26  # all but the centre


def test_counts_stay_in_the_domain() -> None:
    truth, prediction = cubes(((0, 0, 0), 2)) > 0, cubes(((1, 0, 0), 2)) > 0
    everywhere = np.ones(truth.shape, bool)
    assert confusion(truth, prediction, everywhere) == Confusion(tp=4, fp=4, fn=4, tn=24**3 - 12)
    domain = everywhere.copy()
    domain[0] = False
    assert confusion(truth, prediction, domain) == Confusion(tp=4, fp=4, fn=0, tn=23 * 24 * 24 - 8)


def test_defect_3_f_beta_weighs_with_one_plus_beta_squared() -> None:
    """(1 + β)² in its place gives 4.5 for a perfect F2 of 0.5 and 0.5, and 9/5 for a perfect score of 1."""
    assert f_beta(1.0, 1.0, beta=2.0) == pytest.approx(1.0)
    assert f_beta(0.5, 0.5, beta=2.0) == pytest.approx(0.5)
    assert f_beta(0.9, 0.3, beta=2.0) == pytest.approx(5 * 0.27 / (4 * 0.9 + 0.3))
    assert f_beta(0.9, 0.3) == pytest.approx(0.45)  # the harmonic mean


def test_defect_3_nothing_to_find_and_nothing_found_is_no_zero() -> None:
    assert np.isnan(f_beta(NAN, NAN))
    assert Confusion(tp=0, fp=0, fn=0, tn=9).dice is None
    np.testing.assert_array_equal(f_beta([NAN, 0.0, 0.0], [0.0, NAN, 0.0]), [0, 0, 0])


def test_ndsc_is_dice_where_the_load_is_that_of_the_reference() -> None:
    counts = Confusion(tp=30, fp=20, fn=10, tn=940)
    assert ndsc(counts, odds=truth_odds(counts), rate=0.04) == pytest.approx(counts.dice)


def test_ndsc_by_hand() -> None:
    counts = Confusion(tp=30, fp=20, fn=10, tn=940)
    kappa = (50 / 950) * (1 / 0.01 - 1)
    assert prediction_odds(counts) == pytest.approx(50 / 950)
    assert truth_odds(counts) == pytest.approx(40 / 960)
    expected = 2 / (2 + kappa * 20 / 30 + 10 / 30)
    assert ndsc(counts, odds=prediction_odds(counts), rate=0.01) == pytest.approx(expected)
    assert ndsc(Confusion(tp=0, fp=3, fn=2, tn=5), odds=1, rate=0.1) == 0
    assert ndsc(Confusion(tp=0, fp=0, fn=0, tn=5), odds=0, rate=0.1) is None


def test_boxes_are_joined() -> None:
    first, second = boxes_of(cubes(((1, 2, 3), 2))), boxes_of(cubes(((5, 1, 4), 3)))
    assert union_box(first[0], second[0]) == (slice(1, 8), slice(1, 4), slice(3, 7))
    assert union_box(None, second[0]) == second[0]
    with pytest.raises(ValueError, match="nothing"):
        union_box(None, None)
