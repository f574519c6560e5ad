"""Grids in patient space, against linear functions of the place, which linear sampling must keep exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.tracking.phantoms import empty_grid, voxel_centres_mm, with_balls
from tracking.geometry import from_sitk_array, isotropic_grid, resample_like, to_sitk

angle = st.floats(-80, 80)
SLOPE = np.array([0.3, -0.2, 0.5])


def edges_mm(volume: object) -> NDArray[np.float64]:
    corners = np.stack(np.meshgrid(*([-0.5, size - 0.5] for size in volume.spatial_shape), indexing="ij"), axis=-1)
    return corners.reshape(-1, 3) @ volume.affine[:3, :3].T + volume.affine[:3, 3]


@settings(max_examples=15, deadline=None)
@given(turn=st.tuples(angle, angle, angle), spacing=st.tuples(*[st.floats(0.4, 6)] * 3), step=st.floats(0.5, 4))
def test_an_isotropic_grid_covers_the_box_it_is_made_for(
    turn: tuple[float, float, float], spacing: tuple[float, float, float], step: float
) -> None:
    volume = empty_grid((7, 20, 11), spacing, turn_deg=turn, centre_mm=(5, -40, 13))
    grid = isotropic_grid(volume, step)
    np.testing.assert_allclose(grid.spacing, step)
    np.testing.assert_allclose(grid.direction, volume.direction, atol=1e-9)
    extra = np.array(grid.spatial_shape) * step - np.array(volume.spatial_shape) * spacing
    assert np.all(extra > -0.01 * step)
    assert np.all(extra < step)
    np.testing.assert_allclose(edges_mm(grid).mean(axis=0), edges_mm(volume).mean(axis=0), atol=1e-6)


@settings(max_examples=8, deadline=None)
@given(turn=st.tuples(angle, angle, angle), other=st.tuples(angle, angle, angle))
def test_linear_sampling_keeps_a_linear_image(
    turn: tuple[float, float, float], other: tuple[float, float, float]
) -> None:
    volume = empty_grid((30, 60, 60), (2.0, 1.0, 1.1), turn_deg=turn, centre_mm=(9, 2, -4))
    image = volume.with_array((voxel_centres_mm(volume) @ SLOPE).astype(np.float32))
    grid = empty_grid((12, 15, 18), (1.3, 1.0, 0.8), turn_deg=other, centre_mm=(9, 2, -4))
    np.testing.assert_allclose(resample_like(image, grid).array, voxel_centres_mm(grid) @ SLOPE, atol=1e-3)


def test_labels_keep_their_type_and_numbers() -> None:
    labels = with_balls(empty_grid((20, 20, 20)), [((0, 0, 0), 5), ((6, 6, 6), 2)])
    sampled = resample_like(
        labels, empty_grid((40, 30, 30), (0.5, 0.7, 0.7), turn_deg=(20, 0, 0)), interpolation="nearest"
    )
    assert sampled.array.dtype == np.uint16
    assert set(np.unique(sampled.array)) == {0, 1, 2}


def test_outside_the_image_is_the_fill_value() -> None:
    image = empty_grid((4, 4, 4)).with_array(np.ones((4, 4, 4), np.float32))
    far = empty_grid((3, 3, 3), centre_mm=(100, 0, 0))
    assert np.all(resample_like(image, far, fill=-7.0).array == -7.0)


@pytest.mark.parametrize("mirrored", [False, True])
def test_simpleitk_gives_the_same_place_to_every_voxel(mirrored: bool) -> None:
    volume = empty_grid((3, 4, 5), (3.0, 0.9, 0.8), turn_deg=(11, -7, 31), centre_mm=(1, 2, 3))
    volume = volume.with_array(np.arange(60, dtype=np.uint16).reshape(3, 4, 5))
    if mirrored:
        volume = volume.flip_spatial(0)
    image = to_sitk(volume, keep_type=True)
    i, j, k = 2, 1, 4
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((i, j, k)), voxel_centres_mm(volume)[i, j, k])
    assert image[i, j, k] == volume.array[i, j, k]
    np.testing.assert_array_equal(from_sitk_array(image), volume.array)
