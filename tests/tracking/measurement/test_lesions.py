"""Measures against bodies whose volume and axes are known. What a segmentation model draws is not covered here."""

import numpy as np
import pytest
from highdicom import Volume
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.tracking.phantoms import empty_grid, voxel_centres_mm, with_balls
from tracking.lesion import Axis
from tracking.measurement import measure_lesions, profile_lesions
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


def test_defect_9_a_single_voxel_is_as_large_as_it_is_and_not_1_mm3() -> None:
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


pixel_sets = st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=30)
EDGE_MIDPOINTS = np.array([(0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)])


@settings(max_examples=40, deadline=None)
@given(pixels=pixel_sets, row_mm=st.floats(0.3, 2.0), column_mm=st.floats(0.3, 2.0))
def test_the_axes_are_exact_on_any_shape(pixels: set[tuple[int, int]], row_mm: float, column_mm: float) -> None:
    labels = empty_grid((4, 9, 9), (3.0, row_mm, column_mm), turn_deg=OBLIQUE)
    for row, column in pixels:
        labels.array[1, row, column] = 1
    (lesion,) = measure_lesions(labels)
    points_mm = (np.array(sorted(pixels))[:, None] + EDGE_MIDPOINTS).reshape(-1, 2) * (row_mm, column_mm)
    farthest_mm = np.linalg.norm(points_mm[:, None] - points_mm[None], axis=-1).max()
    assert lesion.longest_diameter.length_mm == pytest.approx(farthest_mm)
    ends = ends_in_indices(labels, lesion.longest_diameter)[:, 1:] * (row_mm, column_mm)
    along = (ends[1] - ends[0]) / farthest_mm
    expected_mm = widest_chord_mm(points_mm, np.array((-along[1], along[0])))
    assert lesion.perpendicular_diameter.length_mm == pytest.approx(expected_mm, rel=1e-6, abs=1e-6)
    longest, across = (
        np.subtract(axis.end_mm, axis.start_mm) for axis in (lesion.longest_diameter, lesion.perpendicular_diameter)
    )
    assert abs(longest @ across) < 1e-6 * farthest_mm**2


def widest_chord_mm(points_mm: NDArray[np.float64], direction: NDArray[np.float64]) -> float:
    """By brute force: on every line with this direction through a point, all crossings of all lines between points."""
    across = np.array((direction[1], -direction[0]))
    offset, height = points_mm @ across, points_mm @ direction
    start, end = (place.ravel() for place in np.indices((len(points_mm), len(points_mm))))
    run = offset[end] - offset[start]
    lengths = []
    for position in offset:
        level = np.abs(offset - position) < 1e-9
        crossed = (np.minimum(offset[start], offset[end]) < position) & (
            position < np.maximum(offset[start], offset[end])
        )
        part = (position - offset[start][crossed]) / run[crossed]
        heights = height[start][crossed] + part * (height[end] - height[start])[crossed]
        lengths.append(np.ptp(np.concatenate((height[level], heights))))
    return float(max(lengths))


@settings(max_examples=40, deadline=None)
@given(
    voxels=st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40),
    spacing_mm=st.tuples(st.floats(0.3, 5.0), st.floats(0.3, 2.0), st.floats(0.3, 2.0)),
)
def test_the_diameter_in_space_is_exact_on_any_shape(
    voxels: set[tuple[int, int, int]], spacing_mm: tuple[float, float, float]
) -> None:
    labels = empty_grid((6, 6, 6), spacing_mm, turn_deg=OBLIQUE)
    for voxel in voxels:
        labels.array[voxel] = 1
    faces = np.concatenate((np.eye(3), -np.eye(3))) / 2
    points_mm = (np.array(sorted(voxels))[:, None] + faces).reshape(-1, 3) * spacing_mm
    lesions = measure_lesions(labels)
    (profile,) = profile_lesions(labels, lesions)
    assert profile.longest_diameter_3d_mm == pytest.approx(
        np.linalg.norm(points_mm[:, None] - points_mm, axis=-1).max()
    )
    assert profile.longest_diameter_3d_mm >= lesions[0].longest_diameter.length_mm - 1e-9


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


def test_confidence_is_that_of_the_lesion() -> None:
    labels = with_balls(empty_grid((24, 24, 24)), [((-6, 0, 0), 3), ((6, 0, 0), 3)])
    assert [lesion.confidence for lesion in measure_lesions(labels, {1: 0.75, 2: 0.5})] == [0.75, 0.5]
    assert measure_lesions(labels)[0].confidence is None
    assert set(measure_lesions(labels)[0].volume_mm3) == {Tissue.ENHANCING}


def test_no_lesions_measure_as_none() -> None:
    assert measure_lesions(empty_grid((4, 4, 4))) == ()


def test_bad_input_is_named() -> None:
    grid = empty_grid((4, 4, 4))
    with pytest.raises(ValueError, match="must be integers, but their type is float32"):
        measure_lesions(grid.with_array(grid.array.astype(np.float32)))
    with pytest.raises(ValueError, match="renumber from 1"):
        measure_lesions(grid.with_array(np.full((4, 4, 4), 64, np.uint16)))
    with pytest.raises(ValueError, match="start at 1, but -1 was found"):
        measure_lesions(grid.with_array(np.full((4, 4, 4), -1, np.int16)))
    with pytest.raises(ValueError, match="Tissues must lie on the grid of the lesion labels"):
        measure_lesions(grid, tissues=empty_grid((4, 4, 5)))


def test_no_lesion_is_left_out_and_volumes_are_millimetres() -> None:
    """Published code left out the last tumour, and took numbers of voxels for mm³."""
    labels = empty_grid((4, 4, 12), (4.0, 0.5, 0.25))
    for number in range(1, 6):
        labels.array[1, 1, 2 * number : 2 * number + 2] = number
    lesions = measure_lesions(labels)
    assert [lesion.number for lesion in lesions] == [1, 2, 3, 4, 5]
    assert [lesion.total_volume_mm3 for lesion in lesions] == pytest.approx([2 * 4.0 * 0.5 * 0.25] * 5)
