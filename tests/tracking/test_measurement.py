"""Measures against bodies whose volume and axes are known. What a segmentation model draws is not covered here."""

import numpy as np
import pytest
from highdicom import Volume
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.tracking.phantoms import empty_grid, voxel_centres_mm, with_balls
from tracking.lesion import Axis
from tracking.measurement import (
    equivalent_diameter_mm,
    measure_lesions,
    minimum_detectable_change_percent,
    within_measurement_error,
)
from tracking.timepoint import Tissue

OBLIQUE = (17.0, -9.0, 25.0)


def ellipsoid(grid: Volume, radii_mm: tuple[float, float, float]) -> Volume:
    """Number 1, around the middle of the grid; radii along the planes' normal, the rows' and the columns' steps."""
    axes = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    inside = (((voxel_centres_mm(grid)) @ axes / np.array(radii_mm)) ** 2).sum(axis=-1) < 1
    return grid.with_array(inside.astype(np.uint16))


@pytest.mark.parametrize("turn_deg", [(0.0, 0.0, 0.0), OBLIQUE])
@pytest.mark.parametrize(
    ("spacing_mm", "radius_mm"), [((1.0, 1.0, 1.0), 3.0), ((1.0, 0.5, 0.5), 8.0), ((3.0, 0.9, 0.9), 9.0)]
)
def test_balls_have_their_volume_place_and_diameters(
    turn_deg: tuple[float, float, float], spacing_mm: tuple[float, float, float], radius_mm: float
) -> None:
    centre = (12.3, -7.1, 40.4)
    shape = tuple(int(24 / step) for step in spacing_mm)
    grid = empty_grid(shape, spacing_mm, turn_deg=turn_deg, centre_mm=(11.9, -7.4, 40.0))  # type: ignore[arg-type]  # a tuple of three
    (lesion,) = measure_lesions(with_balls(grid, [(centre, radius_mm)]))
    assert lesion.total_volume_mm3 == pytest.approx(4 / 3 * np.pi * radius_mm**3, rel=0.06)
    assert lesion.centroid_mm == pytest.approx(centre, abs=0.15)
    assert lesion.longest_diameter.length_mm == pytest.approx(2 * radius_mm, abs=0.9 * spacing_mm[1])
    assert lesion.perpendicular_diameter.length_mm == pytest.approx(2 * radius_mm, abs=0.9 * spacing_mm[1])


def test_an_ellipsoid_has_its_two_axes() -> None:
    grid = empty_grid((40, 60, 60), (0.5, 0.5, 0.5), turn_deg=OBLIQUE)
    (lesion,) = measure_lesions(ellipsoid(grid, (4.0, 12.0, 6.0)))
    assert lesion.total_volume_mm3 == pytest.approx(4 / 3 * np.pi * 4 * 12 * 6, rel=0.02)
    assert lesion.longest_diameter.length_mm == pytest.approx(24.0, abs=0.5)
    assert lesion.perpendicular_diameter.length_mm == pytest.approx(12.0, abs=0.5)


def test_a_single_voxel_is_one_voxel_large() -> None:
    labels = empty_grid((5, 6, 7), (4.0, 0.8, 0.5), turn_deg=OBLIQUE)
    labels.array[2, 3, 4] = 7
    (lesion,) = measure_lesions(labels)
    assert lesion.number == 7
    assert lesion.total_volume_mm3 == pytest.approx(4.0 * 0.8 * 0.5)
    assert lesion.centroid_mm == pytest.approx(voxel_centres_mm(labels)[2, 3, 4])
    assert lesion.longest_diameter.length_mm == pytest.approx(0.8)
    assert lesion.perpendicular_diameter.length_mm == pytest.approx(0.5)


def test_the_axes_lie_on_the_slice_with_the_longest_diameter() -> None:
    labels = empty_grid((6, 30, 30), (5.0, 1.0, 1.0), turn_deg=OBLIQUE)
    labels.array[1, 10:12, 10:14] = 1
    labels.array[2, 10:12, 5:25] = 1
    labels.array[3, 10:20, 10:20] = 1
    (lesion,) = measure_lesions(labels)
    for axis in (lesion.longest_diameter, lesion.perpendicular_diameter):
        assert axis.slice_index == 2
        np.testing.assert_allclose(ends_in_indices(labels, axis)[:, 0], 2, atol=1e-9)
    # The hull of 2 x 20 pixels: its corners are cut, so the farthest points are the middles of opposite short edges.
    assert lesion.longest_diameter.length_mm == pytest.approx(np.hypot(20, 1), abs=1e-6)


def ends_in_indices(labels: Volume, axis: Axis) -> NDArray[np.float64]:
    return np.array([axis.start_mm, axis.end_mm]) @ labels.inverse_affine[:3, :3].T + labels.inverse_affine[:3, 3]


@settings(max_examples=40, deadline=None)
@given(
    pixels=st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=30),
    row_mm=st.floats(0.3, 2.0),
    column_mm=st.floats(0.3, 2.0),
)
def test_the_axes_are_exact_on_any_shape(pixels: set[tuple[int, int]], row_mm: float, column_mm: float) -> None:
    labels = empty_grid((4, 9, 9), (3.0, row_mm, column_mm), turn_deg=OBLIQUE)
    for row, column in pixels:
        labels.array[1, row, column] = 1
    (lesion,) = measure_lesions(labels)
    offsets = np.array([(0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)])
    points = (np.array(sorted(pixels))[:, None] + offsets).reshape(-1, 2) * (row_mm, column_mm)
    farthest = np.linalg.norm(points[:, None] - points[None], axis=-1).max()
    assert lesion.longest_diameter.length_mm == pytest.approx(farthest)
    longest, across = (
        np.subtract(axis.end_mm, axis.start_mm) for axis in (lesion.longest_diameter, lesion.perpendicular_diameter)
    )
    assert abs(longest @ across) < 1e-6 * farthest**2
    assert 0 < np.linalg.norm(across) <= farthest + 1e-9


@settings(max_examples=15, deadline=None)
@given(shift=st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), numbers=st.permutations((1, 2, 5)))
def test_measures_do_not_depend_on_place_or_number(shift: tuple[int, int, int], numbers: list[int]) -> None:
    grid = empty_grid((30, 30, 30), (1.5, 1.0, 1.0), turn_deg=OBLIQUE)
    balls = with_balls(grid, [((-8, 0, -8), 4), ((2, 5, 5), 3), ((8, -8, 0), 2)]).array[:25, :25, :25]
    moved = np.zeros_like(grid.array)
    place = tuple(slice(step, step + 25) for step in shift)
    for old, new in zip((1, 2, 3), numbers, strict=True):
        moved[place][balls == old] = new
    still = np.zeros_like(grid.array)
    still[:25, :25, :25] = balls
    before, after = (measure_lesions(grid.with_array(array)) for array in (still, moved))
    named = {lesion.number: lesion for lesion in after}
    shift_mm = grid.affine[:3, :3] @ shift
    for old, new in zip(before, numbers, strict=True):
        assert named[new].total_volume_mm3 == pytest.approx(old.total_volume_mm3)
        assert named[new].longest_diameter.length_mm == pytest.approx(old.longest_diameter.length_mm)
        assert named[new].centroid_mm == pytest.approx(np.array(old.centroid_mm) + shift_mm)


def test_mean_probability_is_that_of_the_lesion() -> None:
    labels = with_balls(empty_grid((12, 12, 12)), [((0, 0, 0), 3)])
    probability = labels.with_array(np.where(labels.array == 1, 0.75, 0.1).astype(np.float32))
    (lesion,) = measure_lesions(labels, probability)
    assert lesion.mean_probability == pytest.approx(0.75)
    assert measure_lesions(labels)[0].mean_probability is None
    assert set(lesion.volume_mm3) == {Tissue.ENHANCING}


def test_no_lesions_measure_as_none() -> None:
    assert measure_lesions(empty_grid((4, 4, 4))) == ()


def test_bad_input_is_named() -> None:
    grid = empty_grid((4, 4, 4))
    with pytest.raises(ValueError, match="must be integers, but their type is float32"):
        measure_lesions(grid.with_array(grid.array.astype(np.float32)))
    with pytest.raises(ValueError, match="on the grid of the lesion labels"):
        measure_lesions(grid, empty_grid((4, 4, 5)))
    with pytest.raises(ValueError, match="renumber from 1"):
        measure_lesions(grid.with_array(np.full((4, 4, 4), 64, np.uint16)))
    with pytest.raises(ValueError, match="must be positive"):
        minimum_detectable_change_percent(0.0, 1.0)


@pytest.mark.parametrize(("diameter_mm", "factor"), [(3, 5.3), (5, 2.7), (10, 1.65), (20, 1.28)])
def test_the_least_detectable_change_is_that_of_the_formula(diameter_mm: float, factor: float) -> None:
    assert 1 + minimum_detectable_change_percent(diameter_mm, 1.0) / 100 == pytest.approx(factor, rel=0.01)
    assert minimum_detectable_change_percent(diameter_mm, 5.0) > minimum_detectable_change_percent(diameter_mm, 1.0)


def test_growth_and_shrinkage_are_judged_alike() -> None:
    volume = 4 / 3 * np.pi * 5**3
    assert equivalent_diameter_mm(volume) == pytest.approx(10.0)
    assert within_measurement_error(volume, 1.6 * volume, 1.0)
    assert within_measurement_error(1.6 * volume, volume, 1.0)
    assert not within_measurement_error(volume, 1.7 * volume, 1.0)
    assert within_measurement_error(volume, 1.7 * volume, 5.0)
