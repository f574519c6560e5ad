"""Lesions against truth by other means: spheres, independent lattices, sums of painted voxels."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Generator

from inference.synthesis.deformation import rotation
from inference.synthesis.lesions import Grid, Lesion, Shape, Union, draw_volume_mm3, make_shape, resized
from inference.synthesis.painting import paint_body, push_away
from inference.synthesis.truth import measure
from inference.threads import torch_threads


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Keep to one processor thread: on a busy machine two that wait for each other take many times as long."""
    with torch_threads(1):
        yield


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def sphere(radius_mm: float, centre_mm: tuple[float, float, float] = (20.3, 19.6, 20.1)) -> Shape:
    return Shape(
        centre_mm=torch.tensor(centre_mm),
        volume_mm3=4 / 3 * math.pi * radius_mm**3,
        offsets_mm=torch.zeros((1, 3)),
        radii_mm=torch.full((1, 3), radius_mm),
        rotation=torch.eye(3),
        noise_mm=torch.zeros((1, 1, 7, 7, 7)),
        level_mm=0.0,
    )


def evenly_bright(shape: Shape | Union) -> Lesion:
    return Lesion(body=shape, enhancement=0.0, wall_mm=None, core=0.0, edema_mm=0.0, edema_loss=0.0, texture=0.0)


def painted_mm3(shape: Shape, grid: Grid) -> float:
    image = torch.zeros(grid.shape)
    paint_body(image, evenly_bright(shape), grid, wall=1.0, core=1.0, generator=seeded())
    return float(image.sum()) * float(np.prod(grid.spacing_mm))


@pytest.mark.parametrize("volume_mm3", [5.0, 50.0, 1000.0, 20_000.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_shape_encloses_the_volume_asked_for(volume_mm3: float, seed: int) -> None:
    shape = make_shape(volume_mm3, torch.tensor([1.0, 2.0, 3.0]), generator=seeded(seed))
    points = (torch.rand((400_000, 3), generator=seeded(9)) * 2 - 1) * shape.reach_mm + shape.centre_mm
    share = float((shape.distance(points) < 0).float().mean())
    assert share * (2 * shape.reach_mm) ** 3 == pytest.approx(volume_mm3, rel=0.03)


@pytest.mark.parametrize("volume_mm3", [8.0, 60.0, 700.0, 4000.0])
def test_painted_voxels_sum_to_the_volume(volume_mm3: float) -> None:
    shape = make_shape(volume_mm3, torch.tensor([30.4, 31.3, 29.7]), generator=seeded(4))
    assert painted_mm3(shape, Grid.millimetres((62, 62, 62))) == pytest.approx(volume_mm3, rel=0.08)


def test_partial_volume_holds_on_thick_oblique_slices() -> None:
    affine = torch.eye(4)
    affine[:3, :3] = rotation((0.2, -0.1, 0.3)) @ torch.diag(torch.tensor([4.4, 0.9, 0.9]))
    affine[:3, 3] = torch.tensor([-40.0, -30, -30])
    middle = affine[:3, :3] @ torch.tensor([9.3, 35.2, 34.8]) + affine[:3, 3]
    shape = make_shape(250.0, middle, generator=seeded(5))
    assert painted_mm3(shape, Grid(shape=(20, 70, 70), affine=affine)) == pytest.approx(250.0, rel=0.05)


def test_a_lesion_as_bright_as_its_surroundings_cannot_be_seen() -> None:
    grid, image = Grid.millimetres((40, 40, 40)), torch.ones((40, 40, 40))
    paint_body(image, evenly_bright(sphere(4.0)), grid, wall=1.0, core=1.0, generator=seeded())
    assert torch.allclose(image, torch.ones(grid.shape), atol=1e-5)


def test_a_resized_shape_has_the_new_volume_and_the_same_form() -> None:
    shape = make_shape(400.0, torch.tensor([20.0, 20, 20]), generator=seeded(6))
    grown = resized(shape, 1200.0)
    points = shape.centre_mm + torch.randn((2000, 3), generator=seeded(7)) * 4
    factor = 3 ** (1 / 3)
    scaled = shape.centre_mm + (points - shape.centre_mm) * factor
    assert torch.allclose(grown.distance(scaled), shape.distance(points) * factor, atol=1e-3)


def test_volumes_have_the_distribution_of_metastases() -> None:
    volumes = np.array([draw_volume_mm3(generator) for generator in [seeded(8)] for _ in range(4000)])
    low, median, high = np.percentile(volumes, [25, 50, 75])
    assert (low, median, high) == (
        pytest.approx(20, rel=0.12),
        pytest.approx(50, rel=0.12),
        pytest.approx(180, rel=0.12),
    )
    assert volumes.max() <= math.pi / 6 * 35**3 + 1e-6


def test_a_sphere_is_measured_right() -> None:
    (region,) = measure({"A": sphere(8.0)}, Grid.millimetres((40, 40, 40)))
    assert region.volume_mm3 == pytest.approx(4 / 3 * math.pi * 512, rel=0.02)
    assert region.longest_diameter_mm == pytest.approx(16.0, abs=0.3)
    assert region.centroid_mm == pytest.approx((20.3, 19.6, 20.1), abs=0.05)
    assert region.mask.sum() == pytest.approx(4 / 3 * math.pi * 512, rel=0.02)


def test_shapes_that_overlap_are_one_lesion_and_shapes_apart_are_two() -> None:
    grid = Grid.millimetres((48, 40, 40))
    near = measure({"A": sphere(5.0), "B": sphere(5.0, (28.0, 19.6, 20.1))}, grid)
    far = measure({"A": sphere(3.0), "B": sphere(3.0, (32.0, 19.6, 20.1))}, grid)
    assert [region.names for region in near] == [("A", "B")]
    assert ndimage.label(near[0].mask, np.ones((3, 3, 3)))[1] == 1
    lens = math.pi * (10 - 7.7) ** 2 * (7.7**2 + 4 * 7.7 * 5) / (12 * 7.7)  # common part of two balls 7.7 mm apart
    assert near[0].volume_mm3 == pytest.approx(2 * 4 / 3 * math.pi * 125 - lens, rel=0.02)
    assert [region.names for region in far] == [("A",), ("B",)]
    assert far[1].volume_mm3 == pytest.approx(4 / 3 * math.pi * 27, rel=0.04)
    assert far[1].mask.sum() == pytest.approx(4 / 3 * math.pi * 27, rel=0.08)


def test_a_lesion_outside_the_image_or_too_small_for_a_voxel_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the image"):
        measure({"A": sphere(3.0, (200.0, 20.0, 20.0))}, Grid.millimetres((40, 40, 40)))
    coarse = Grid(shape=(10, 10, 10), affine=torch.diag(torch.tensor([6.0, 6, 6, 1])))
    with pytest.raises(ValueError, match="no voxel"):
        measure({"A": sphere(1.2, (33.0, 33.0, 33.0))}, coarse)


def test_mass_effect_moves_a_wall_outwards() -> None:
    grid = Grid.millimetres((60, 60, 60))
    radius = (torch.stack(torch.meshgrid(*[torch.arange(60.0)] * 3, indexing="ij"), -1) - 30).norm(dim=-1)
    image = (radius < 8).float()
    before = float(image.sum())
    push_away(image, sphere(6.0, (30.0, 30, 30)), strength=0.5, grid=grid)
    # at 8 mm the shift is 0.5 · 6 · (1 − 8.8/19.2)² ≈ 0.9 mm, so the ball grows to about 8.9 mm
    assert (float(image.sum()) / before) ** (1 / 3) * 8 == pytest.approx(8.9, abs=0.25)
