"""From masks to lesions: components by hand, and balls that touch."""

import numpy as np
import pytest

from tests.tracking.phantoms import empty_grid, with_balls
from tracking.components import number_components, separate_touching
from tracking.matching.sites import sites_of
from tracking.measurement import measure_lesions

GRID = empty_grid((48, 48, 48))
THICK = empty_grid((16, 96, 96), (3.0, 0.5, 0.5))


def merged(*balls, grid=GRID):
    """The balls as one mask."""
    return number_components(grid.with_array(with_balls(grid, balls).array > 0))


def known(*balls, grid=GRID):
    labels = with_balls(grid, balls)
    return sites_of(measure_lesions(labels), labels)


def test_voxels_that_touch_at_a_corner_are_one_lesion_and_the_largest_comes_first() -> None:
    mask = np.zeros((6, 6, 6), bool)
    mask[0, 0, 0] = True
    mask[2, 2, 2] = mask[3, 3, 3] = True
    numbered = number_components(empty_grid((6, 6, 6)).with_array(mask))
    assert numbered.array[2, 2, 2] == numbered.array[3, 3, 3] == 1
    assert numbered.array[0, 0, 0] == 2


@pytest.mark.parametrize(("minimum_mm3", "lesions"), [(0.0, 2), (6.75, 2), (6.8, 1), (3001.0, 0)])
def test_the_smallest_size_is_in_cubic_millimetres(minimum_mm3: float, lesions: int) -> None:
    labels = THICK.array.copy()
    labels[2:12, 20:40, 20:40] = 1
    labels[12:15, 60:63, 60] = 1  # 9 voxels of 0.75 mm³
    assert number_components(THICK.with_array(labels), minimum_mm3=minimum_mm3).array.max() == lesions


@pytest.mark.parametrize("grid", [GRID, THICK], ids=["cubic", "thick slices"])
def test_lesions_in_touch_are_kept_apart(grid) -> None:
    balls = ((-5.0, 0, 0), 5.0), ((4.6, 0, 0), 4.8)
    labels = merged(*balls, grid=grid)
    assert labels.array.max() == 1
    divided = separate_touching(labels, known(*balls, grid=grid))
    volumes = [lesion.total_volume_mm3 for lesion in measure_lesions(divided)]
    truth = [lesion.total_volume_mm3 for lesion in measure_lesions(with_balls(grid, balls))]
    assert sorted(volumes) == pytest.approx(sorted(truth), rel=0.05)
    assert sum(volumes) == pytest.approx((labels.array > 0).sum() * grid.voxel_volume)


def test_lesions_that_have_grown_into_each_other_stay_one() -> None:
    labels = merged(((-3, 0, 0), 6), ((3, 0, 0), 6))
    divided = separate_touching(labels, known(((-5, 0, 0), 3), ((5, 0, 0), 3)))
    assert np.array_equal(divided.array, labels.array)


def test_a_chain_of_three() -> None:
    balls = ((-11.0, 0, 0), 4.0), ((-3.2, 0, 0), 4.0), ((9.2, 0, 0), 8.6)
    divided = separate_touching(merged(*balls), known(*balls))
    assert len(measure_lesions(divided)) == 3


def test_other_lesions_keep_their_numbers() -> None:
    labels = with_balls(GRID, [((15, 15, 15), 3), ((-5, 0, 0), 5), ((4.6, 0, 0), 4.8)])
    labels = labels.with_array(np.where(labels.array == 3, 2, labels.array))
    divided = separate_touching(labels, known(((-5, 0, 0), 5), ((4.6, 0, 0), 4.8), ((15, 15, 15), 3)))
    assert np.array_equal(divided.array == 1, labels.array == 1)
    assert set(np.unique(divided.array)) == {0, 1, 2, 3}


def test_nothing_known_changes_nothing() -> None:
    labels = merged(((-5, 0, 0), 5), ((4.6, 0, 0), 4.8))
    assert np.array_equal(separate_touching(labels, ()).array, labels.array)
    assert separate_touching(GRID, known(((0, 0, 0), 3))).array.max() == 0
