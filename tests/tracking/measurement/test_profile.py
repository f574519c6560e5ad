"""What a profile adds to a lesion; its parts have tests of their own."""

import numpy as np
import pytest

from tests.tracking.phantoms import empty_grid, with_balls
from tracking.measurement import measure_lesions, profile_lesions, volume_interval_mm3


@pytest.mark.parametrize(
    ("extent", "slices", "planes"), [((1, 1, 1), 1, 0), ((1, 3, 3), 1, 1), ((2, 1, 3), 2, 1), ((2, 2, 2), 2, 3)]
)
def test_slices_and_planes_in_which_a_lesion_is_seen(extent: tuple[int, int, int], slices: int, planes: int) -> None:
    labels = empty_grid((6, 6, 6), (3.0, 1.0, 1.0))
    labels.array[tuple(slice(1, 1 + length) for length in extent)] = 1
    (profile,) = profile_lesions(labels, measure_lesions(labels))
    assert (profile.slice_count, profile.plane_count) == (slices, planes)


def test_the_interval_is_that_of_the_slice_spacing() -> None:
    labels = with_balls(empty_grid((10, 30, 30), (5.0, 1.0, 1.0)), [((0, 0, 0), 8)])
    (profile,) = profile_lesions(labels, measure_lesions(labels))
    assert profile.volume_interval_mm3 == volume_interval_mm3(profile.lesion.total_volume_mm3, 5.0)


def test_the_diameter_in_space_sees_what_no_slice_shows() -> None:
    labels = empty_grid((30, 9, 9), (1.0, 1.0, 1.0))
    labels.array[2:27, 3:5, 3:5] = 1
    (profile,) = profile_lesions(labels, measure_lesions(labels))
    assert profile.longest_diameter_3d_mm == pytest.approx(np.sqrt(25**2 + 1 + 1))
    assert profile.lesion.longest_diameter.length_mm < 3


def test_a_lesion_that_is_not_in_the_labels_is_named() -> None:
    labels = with_balls(empty_grid((12, 12, 12)), [((0, 0, 0), 3)])
    with pytest.raises(ValueError, match=r"Lesions \[1\] are not in the label volume"):
        profile_lesions(empty_grid((12, 12, 12)), measure_lesions(labels))
