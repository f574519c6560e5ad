"""From probability to numbered lesions, on masks whose every voxel is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.confidence import Confidence, elongations
from inference.postprocessing import OperatingPoint, filled, find_lesions, surroundings

POINT = OperatingPoint(threshold=0.5, least_confidence=0.5, minimum_volume_mm3=1.0)
MILLIMETRE = (1.0, 1.0, 1.0)
EVERYWHERE = np.ones((12, 30, 30), bool)


def blank() -> NDArray[np.float32]:
    return np.zeros((12, 30, 30), np.float32)


def test_numbers_fall_with_volume() -> None:
    probability = blank()
    probability[2, 2, 2:4] = 0.9
    probability[5:8, 10:14, 10:14] = 0.9
    probability[9, 20:22, 20:23] = 0.9
    lesions = find_lesions(probability, EVERYWHERE, point=POINT, spacing_mm=MILLIMETRE)
    assert lesions.dtype == np.uint16
    assert np.bincount(lesions.ravel())[1:].tolist() == [48, 6, 2]


def test_voxels_that_touch_at_a_corner_are_one_lesion() -> None:
    probability = blank()
    probability[3, 3, 3] = probability[4, 4, 4] = 0.9
    assert find_lesions(probability, EVERYWHERE, point=POINT, spacing_mm=MILLIMETRE).max() == 1


def test_minimum_volume_is_in_mm3_not_voxels() -> None:
    probability = blank()
    probability[3, 3, 3:5] = 0.9
    point = OperatingPoint(threshold=0.5, least_confidence=0.5, minimum_volume_mm3=5.0)
    assert find_lesions(probability, EVERYWHERE, point=point, spacing_mm=(2.4, 1.0, 1.0)).max() == 0
    assert find_lesions(probability, EVERYWHERE, point=point, spacing_mm=(2.5, 1.0, 1.0)).max() == 1


def test_a_component_needs_its_confidence() -> None:
    probability = blank()
    probability[3, 3, 3:6] = 0.6
    probability[6, 3, 3:6] = 0.6, 0.95, 0.6
    point = OperatingPoint(threshold=0.5, least_confidence=0.9, minimum_volume_mm3=1.0)
    lesions = find_lesions(probability, EVERYWHERE, point=point, spacing_mm=MILLIMETRE)
    assert lesions[3].max() == 0
    assert lesions[6].sum() == 3


def test_calibrated_confidence_is_of_the_whole_component() -> None:
    probability = blank()
    probability[2:5, 2:5, 2:5] = 0.8
    probability[3, 3, 3] = 0.9999
    how = Confidence(intercept=0.0, mean_log_odds=1.0, ln_mm3=0.0, elongation=0.0)
    for least, count in ((0.82, 1), (0.9, 0)):  # the mean, with one sure voxel among 27, is 0.85
        point = OperatingPoint(threshold=0.5, least_confidence=least, minimum_volume_mm3=1.0, confidence=how)
        assert find_lesions(probability, EVERYWHERE, point=point, spacing_mm=MILLIMETRE).max() == count


def test_at_a_known_place_neither_confidence_nor_shape_count() -> None:
    probability, known = blank(), np.zeros((12, 30, 30), bool)
    probability[3, 3, 3:12] = 0.6  # weak and long
    probability[6, 20, 3:12] = 0.6
    point = OperatingPoint(threshold=0.5, least_confidence=0.9, minimum_volume_mm3=1.0)
    assert find_lesions(probability, EVERYWHERE, point=point, spacing_mm=MILLIMETRE).max() == 0
    known[3, 3, 5:7] = True  # with 2 mm around it, 6 of the 9 voxels
    lesions = find_lesions(probability, EVERYWHERE, point=point, spacing_mm=MILLIMETRE, known=known)
    assert lesions[3].sum() == 9
    assert lesions[6].max() == 0


def test_a_vessel_that_only_passes_a_known_place_is_none() -> None:
    probability, known = blank(), np.zeros((12, 30, 30), bool)
    probability[3, 3, 1:29] = 0.95
    known[3, 3, 5:7] = True
    lesions = find_lesions(probability, EVERYWHERE, point=POINT, spacing_mm=MILLIMETRE, known=known)
    assert lesions.max() == 0


def test_a_known_place_where_nothing_is_left_stays_empty() -> None:
    known = np.zeros((12, 30, 30), bool)
    known[3, 3, 5:9] = True
    assert find_lesions(blank(), EVERYWHERE, point=POINT, spacing_mm=MILLIMETRE, known=known).max() == 0


def test_nothing_is_found_away_from_the_brain() -> None:
    probability = blank()
    probability[3, 3, 3:6] = 0.9
    assert find_lesions(probability, ~EVERYWHERE, point=POINT, spacing_mm=MILLIMETRE).max() == 0


@pytest.mark.parametrize(("columns_inside", "lesions"), [(3, 1), (1, 0)])
def test_a_region_mostly_outside_the_brain_is_no_lesion(columns_inside: int, lesions: int) -> None:
    probability, brain = blank(), EVERYWHERE.copy()
    probability[5, 10:13, 10:15] = 0.9
    brain[:, :, 10 + columns_inside :] = False
    assert find_lesions(probability, brain, point=POINT, spacing_mm=MILLIMETRE).max() == lesions


def test_length_over_breadth_of_a_box_is_measured_in_mm() -> None:
    components = np.zeros((12, 60, 60), np.uint16)
    components[2:4, 2:42, 2:22] = 1  # 40 × 20 rows and columns of 1 mm, 2 slices of 1 mm
    components[6:8, 5:15, 5:45] = 2
    assert elongations(components, (1.0, 1.0, 1.0)) == pytest.approx([0, 2, 4], rel=0.01)


def test_a_vessel_is_no_lesion_but_a_small_lesion_on_two_thick_slices_is() -> None:
    probability = blank()
    probability[2, 10, 2:20] = 0.9
    assert find_lesions(probability, EVERYWHERE, point=POINT, spacing_mm=MILLIMETRE).max() == 0
    probability = blank()
    probability[2:4, 10:13, 10:13] = 0.9
    assert find_lesions(probability, EVERYWHERE, point=POINT, spacing_mm=(6.0, 0.9, 0.9)).max() == 1


def test_necrosis_belongs_to_the_lesion_even_where_slices_cut_the_ring_open() -> None:
    mask = np.zeros((6, 20, 20), bool)
    mask[1:4, 5:12, 5:12] = True
    mask[1:4, 7:10, 7:10] = False  # a tube: open above and below, closed in each slice
    assert filled(mask).sum() == 3 * 49


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.5, 0.5)])
def test_surroundings_reach_three_millimetres(spacing: tuple[float, float, float]) -> None:
    mask = np.zeros((21, 41, 41), bool)
    mask[10, 20, 20] = True
    grown = np.argwhere(surroundings(mask, spacing, 3.0)) - [10, 20, 20]
    reach = np.abs(grown * spacing).max(0)
    assert reach[1:] == pytest.approx([3, 3], abs=0.51)
    assert reach[0] == (3 if spacing[0] == 1 else 0)  # the next slice is 5 mm away
