"""Points and grids between two spaces, against closed forms and SimpleITK's own resampling."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tests.tracking.phantoms import bulge, empty_grid, voxel_centres_mm, with_balls
from tracking.geometry import from_sitk_array, to_sitk
from tracking.registration.transform import DisplacementField, Transform

angle = st.floats(-60, 60)


def matrix(turn_deg: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> np.ndarray:
    result = np.eye(4)
    result[:3, :3] = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix()
    result[:3, 3] = shift_mm
    return result


def bulging(strength_mm: float = 6.0, spacing_mm: float = 2.0, turn_deg: tuple[float, float, float] = (9, 20, -7)):
    size = int(80 / spacing_mm)
    grid = empty_grid((size, size, size), (spacing_mm,) * 3, turn_deg=turn_deg)
    points = voxel_centres_mm(grid)
    move = bulge((3.0, -4.0, 5.0), (strength_mm, -strength_mm / 2, strength_mm / 3), 10.0)
    return DisplacementField(vectors_mm=(move(points) - points).astype(np.float32), affine=grid.affine), move


@settings(max_examples=30, deadline=None)
@given(turn=st.tuples(angle, angle, angle), strength=st.floats(-9, 9), seed=st.integers(0, 99))
def test_points_return_to_where_they_were(turn: tuple[float, float, float], strength: float, seed: int) -> None:
    field, _ = bulging(strength)
    transform = Transform(matrix=matrix(turn, (30, -20, 10)), displacement=field.tapered(10))
    points = np.random.default_rng(seed).uniform(-45, 45, (50, 3))
    assert np.abs(transform.to_fixed(transform.to_moving(points)) - points).max() < 0.05
    assert np.abs(transform.to_moving(transform.to_fixed(points)) - points).max() < 0.05


def test_the_field_moves_points_as_its_closed_form_does() -> None:
    field, move = bulging()
    points = np.random.default_rng(0).uniform(-25, 25, (200, 3))
    rigid = matrix((5, 6, 7), (1, 2, 3))
    truth = move(points) @ rigid[:3, :3].T + rigid[:3, 3]
    assert np.abs(Transform(matrix=rigid, displacement=field).to_moving(points) - truth).max() < 0.1


def test_the_jacobian_is_that_of_the_closed_form() -> None:
    field, move = bulging(spacing_mm=1.0)
    points = np.random.default_rng(0).uniform(-20, 20, (100, 3))
    steps = np.eye(3) * 1e-4
    truth = np.linalg.det(np.stack([(move(points + s) - move(points - s)) / 2e-4 for s in steps], axis=-1))
    assert np.abs(field.jacobian_at(points) - truth).max() < 0.05


def test_outside_its_margin_the_field_is_at_rest_and_inside_continuous() -> None:
    field = DisplacementField(vectors_mm=np.full((10, 10, 10, 3), 4.0, np.float32), affine=np.diag([2.0, 2.0, 2.0, 1]))
    tapered = field.tapered(8.0)
    along = np.column_stack([np.linspace(-20, 40, 601), np.full(601, 9.0), np.full(601, 9.0)])
    values = tapered.at(along)[:, 0]
    assert values[0] == values[-1] == 0
    assert np.abs(np.diff(values)).max() < 0.11
    np.testing.assert_allclose(tapered.at(np.array([[9.0, 9.0, 9.0]])), 4.0)


def test_warping_agrees_with_mapping_points() -> None:
    field, _ = bulging()
    transform = Transform(matrix=matrix((10, -5, 20), (8, 3, -6)), displacement=field.tapered(10))
    centre = np.array([6.0, 2.0, -4.0])
    moving = with_balls(
        empty_grid((40, 90, 90), (2.0, 1.0, 1.0), turn_deg=(4, 30, 11)), [(transform.to_moving(centre)[0], 6.0)]
    )
    fixed = empty_grid((70, 60, 50), (1.0, 1.0, 1.2), turn_deg=(-12, 0, 5))
    soft = transform.warp(moving, fixed)
    place = np.average(voxel_centres_mm(fixed).reshape(-1, 3), axis=0, weights=soft.array.ravel())
    assert soft.geometry_equal(fixed)
    assert np.linalg.norm(place - centre) < 0.7  # the bulge also deforms the ball
    assert np.abs(transform.to_fixed(transform.to_moving([centre])) - centre).max() < 0.02


def test_a_field_survives_simpleitk() -> None:
    field, _ = bulging()
    back = DisplacementField.from_sitk(field.to_sitk())
    np.testing.assert_allclose(back.affine, field.affine, atol=1e-9)
    np.testing.assert_array_equal(back.vectors_mm, field.vectors_mm)


@pytest.mark.parametrize("mirrored", [False, True])
def test_rigid_warping_agrees_with_simpleitk(mirrored: bool) -> None:
    """Also for grids whose axes are left-handed."""
    volume = with_balls(empty_grid((20, 40, 40), (3.0, 1.0, 1.0), turn_deg=(10, 0, 0)), [((4, 3, 2), 9)])
    if mirrored:
        volume = volume.flip_spatial(0)
    transform = Transform(matrix=matrix((0, 12, 3), (2, -1, 4)))
    euler = sitk.Euler3DTransform()
    euler.SetMatrix(transform.matrix[:3, :3].ravel().tolist())
    euler.SetTranslation([2.0, -1.0, 4.0])
    fixed = empty_grid((40, 40, 40))
    expected = from_sitk_array(sitk.Resample(to_sitk(volume), to_sitk(fixed), euler, sitk.sitkLinear, 0.0))
    np.testing.assert_allclose(transform.warp(volume, fixed).array, expected, atol=1e-5)


def test_no_points_map_to_no_points() -> None:
    field, _ = bulging()
    transform = Transform(matrix=np.eye(4), displacement=field)
    assert transform.to_fixed([]).shape == transform.to_moving([]).shape == (0, 3)


@pytest.mark.parametrize(
    "matrix", [np.eye(3), np.zeros((4, 4)), np.full((4, 4), np.nan), np.diag([1.0, 1, 1, 2]), [[1, 2], [3, 4]]]
)
def test_a_matrix_that_is_no_transform_is_refused(matrix) -> None:
    with pytest.raises(ValueError, match="4 x 4 matrix"):
        Transform(matrix=matrix)


def test_a_matrix_may_be_a_list() -> None:
    assert Transform(matrix=np.eye(4).tolist()).to_fixed([(1.0, 2.0, 3.0)]).tolist() == [[1.0, 2.0, 3.0]]
