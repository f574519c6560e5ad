"""Lesions as signed distances: a shape knows its exact volume, and every image samples the same shape.

A shape is the union of one to four ellipsoids whose surface is moved by smooth noise; its level is then chosen so that
it encloses the requested mm³.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from inference.synthesis import chance

EDGE_MM = 0.35
LARGEST_MM3 = math.pi / 6 * 35.0**3
SMALLEST_MM3 = 5.0
CALIBRATION_POINTS = 56


def radius_mm(volume_mm3: float) -> float:
    """Return the radius of the sphere of this volume."""
    return float((3 * volume_mm3 / (4 * math.pi)) ** (1 / 3))


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """A regular grid of voxels in millimetres.

    Attributes
    ----------
    shape
        Voxels along i, j and k.
    affine
        float32 (4, 4): voxel index to mm.
    """

    shape: tuple[int, int, int]
    affine: Tensor

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxel centres along i, j and k."""
        first, second, third = self.affine[:3, :3].norm(dim=0).tolist()
        return first, second, third

    @classmethod
    def millimetres(cls, shape: Sequence[int], device: torch.device | None = None) -> "Grid":
        """Return the grid whose voxel index is its position in mm."""
        return cls(shape=(int(shape[0]), int(shape[1]), int(shape[2])), affine=torch.eye(4, device=device))


@dataclass(frozen=True, kw_only=True, eq=False)
class Patch:
    """Part of a grid: the slices that cut it out, and the mm positions of its sub-voxels.

    Attributes
    ----------
    slices
        Cut the patch out of a volume on the grid.
    factors
        Sub-voxels per voxel along i, j and k.
    points_mm
        float32 (i × factor, j × factor, k × factor, 3).
    """

    slices: tuple[slice, slice, slice]
    factors: tuple[int, int, int]
    points_mm: Tensor

    def pool(self, fine: Tensor) -> Tensor:
        """Average sub-voxel values to voxels."""
        return fine if self.factors == (1, 1, 1) else F.avg_pool3d(fine[None, None], self.factors)[0, 0]


def cut_patch(grid: Grid, centre_mm: Tensor, reach_mm: float, *, fine_mm: float) -> Patch | None:
    """Return the part of ``grid`` within ``reach_mm`` of a point, sampled every ``fine_mm`` or finer, or None."""
    inverse = torch.linalg.inv(grid.affine.cpu().double())
    index = inverse[:3, :3] @ centre_mm.cpu().double() + inverse[:3, 3]
    half = inverse[:3, :3].norm(dim=1) * reach_mm
    low = [max(0, math.floor(float(c - h))) for c, h in zip(index, half, strict=True)]
    high = [min(n, math.ceil(float(c + h)) + 1) for n, c, h in zip(grid.shape, index, half, strict=True)]
    if any(a >= b for a, b in zip(low, high, strict=True)):
        return None
    factors = [math.ceil(spacing / fine_mm - 0.01) // 2 * 2 + 1 for spacing in grid.spacing_mm]  # odd: no ties
    lines = [
        torch.arange(a, b, 1 / f, device=grid.affine.device)[: (b - a) * f] + (1 / f - 1) / 2
        for a, b, f in zip(low, high, factors, strict=True)
    ]
    points = torch.stack(torch.meshgrid(*lines, indexing="ij"), -1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    slices = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    return Patch(slices=slices, factors=(factors[0], factors[1], factors[2]), points_mm=points)


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """A closed surface in mm.

    Attributes
    ----------
    centre_mm
        float32 (3,).
    volume_mm3
        What the surface encloses.
    offsets_mm, radii_mm
        float32 (n, 3): the ellipsoids, in the shape's own axes.
    rotation
        float32 (3, 3): patient axes to the shape's own.
    noise_mm
        float32 (1, 1, 7, 7, 7): how far the surface is moved, over a cube of five radii.
    level_mm
        Added to the distance so that the volume is right.
    """

    centre_mm: Tensor
    volume_mm3: float
    offsets_mm: Tensor
    radii_mm: Tensor
    rotation: Tensor
    noise_mm: Tensor
    level_mm: float

    @property
    def radius_mm(self) -> float:
        """Radius of the sphere of equal volume."""
        return radius_mm(self.volume_mm3)

    @property
    def reach_mm(self) -> float:
        """Distance from the centre beyond which the shape never goes."""
        return 2.5 * self.radius_mm

    def distance(self, points_mm: Tensor) -> Tensor:
        """Return the signed distance to the surface in mm, negative inside; shape (..., 3) → (...)."""
        own = (points_mm - self.centre_mm) @ self.rotation.T
        return _ellipsoids(own, self.offsets_mm, self.radii_mm) + self._noise(own) + self.level_mm

    def _noise(self, own: Tensor) -> Tensor:
        where = (own / self.reach_mm).reshape(1, -1, 1, 1, 3)
        moved = F.grid_sample(self.noise_mm, where, align_corners=True, padding_mode="border")
        return moved.reshape(own.shape[:-1])


def _ellipsoids(own: Tensor, offsets: Tensor, radii: Tensor) -> Tensor:
    """Return the distance to a union of ellipsoids (first-order, exact on spheres), smallest over all of them."""
    nearest = torch.full(own.shape[:-1], torch.inf, device=own.device)
    for offset, radius in zip(offsets, radii, strict=True):
        scaled = (own - offset) / radius
        length = scaled.norm(dim=-1)
        slope = (scaled / radius).norm(dim=-1).clamp_min(1e-6)
        nearest = torch.minimum(nearest, length * (length - 1) / slope)
    return nearest


def make_shape(
    volume_mm3: float, centre_mm: Tensor, *, generator: Generator, roughness: float = 0.16, flatness: float = 1.0
) -> Shape:
    """Return a random shape of exactly this volume.

    Parameters
    ----------
    volume_mm3
        Enclosed volume.
    centre_mm
        Position, shape (3,).
    roughness
        How far noise moves the surface, as a part of the radius.
    flatness
        Factor on the first axis of the ellipsoids; 0.3 gives a plate.
    """
    radius, device = radius_mm(volume_mm3), generator.device
    count = 1 + int(chance.uniform(generator, 0, 1) ** 2 * min(4.0, 1 + radius / 2))
    radii = radius * (0.75 + 0.5 * torch.rand((count, 3), generator=generator, device=device))
    radii[:, 0] *= flatness
    offsets = 0.45 * radius * torch.randn((count, 3), generator=generator, device=device).clamp(-1.5, 1.5)
    offsets[0] = 0
    rotation = torch.linalg.qr(torch.randn((3, 3), generator=generator, device=device))[0]
    noise = roughness * radius * torch.randn((1, 1, 7, 7, 7), generator=generator, device=device)
    shape = Shape(
        centre_mm=centre_mm.to(device, torch.float32),
        volume_mm3=volume_mm3,
        offsets_mm=offsets - offsets.mean(0),
        radii_mm=radii,
        rotation=rotation,
        noise_mm=noise,
        level_mm=0.0,
    )
    return _with_level(shape)


def _with_level(shape: Shape) -> Shape:
    """Move the surface until it encloses the shape's volume."""
    line = torch.linspace(-1, 1, CALIBRATION_POINTS, device=shape.centre_mm.device) * shape.reach_mm
    points = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1) + shape.centre_mm
    cell_mm3 = (2 * shape.reach_mm / (CALIBRATION_POINTS - 1)) ** 3
    rank = max(1, round(shape.volume_mm3 / cell_mm3))
    level = float(shape.distance(points).flatten().kthvalue(rank).values)
    return replace(shape, level_mm=shape.level_mm - level)


def resized(shape: Shape, volume_mm3: float) -> Shape:
    """Return the same shape grown or shrunk about its centre to another volume."""
    factor = (volume_mm3 / shape.volume_mm3) ** (1 / 3)
    return replace(
        shape,
        volume_mm3=volume_mm3,
        offsets_mm=shape.offsets_mm * factor,
        radii_mm=shape.radii_mm * factor,
        noise_mm=shape.noise_mm * factor,
        level_mm=shape.level_mm * factor,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Union:
    """Several shapes that are one body where they overlap."""

    shapes: tuple[Shape, ...]

    @property
    def centre_mm(self) -> Tensor:
        """Mean of the centres, float32 (3,)."""
        return torch.stack([shape.centre_mm for shape in self.shapes]).mean(0)

    @property
    def radius_mm(self) -> float:
        """Radius of the smallest shape, which decides how finely the body must be sampled."""
        return min(shape.radius_mm for shape in self.shapes)

    @property
    def reach_mm(self) -> float:
        """Distance from the centre beyond which no shape goes."""
        centre = self.centre_mm
        return max(float((shape.centre_mm - centre).norm()) + shape.reach_mm for shape in self.shapes)

    def distance(self, points_mm: Tensor) -> Tensor:
        """Return the smallest signed distance of any shape, mm; shape (..., 3) → (...)."""
        return torch.stack([shape.distance(points_mm) for shape in self.shapes]).amin(0)


class Body(Protocol):
    """What can be painted: a shape or a union of shapes."""

    @property
    def centre_mm(self) -> Tensor:
        """Position in mm, float32 (3,)."""

    @property
    def radius_mm(self) -> float:
        """Size that decides how finely it is sampled."""

    @property
    def reach_mm(self) -> float:
        """Distance from the centre beyond which it never goes."""

    def distance(self, points_mm: Tensor) -> Tensor:
        """Return the signed distance to its surface, mm; shape (..., 3) → (...)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesion:
    """A body and how it looks.

    Attributes
    ----------
    body
        Its surface: enhancing tissue and necrosis.
    enhancement
        Brightness of its wall above white matter, as a part of white matter.
    wall_mm
        Thickness of the enhancing wall; None when it enhances throughout.
    core
        Brightness of the necrosis, as a part of white matter.
    edema_mm
        Width of the edema around it; 0 for none.
    edema_loss
        How much darker edema is on T1 (0.05 to 0.20).
    texture
        Relative variation of the enhancement inside.
    """

    body: Body
    enhancement: float
    wall_mm: float | None
    core: float
    edema_mm: float
    edema_loss: float
    texture: float


def draw_volume_mm3(generator: Generator) -> float:
    """Draw a volume: log-normal, median 50 mm³, interquartile range 20-180 mm³, tail to 35 mm in diameter."""
    side = chance.normal(generator)
    volume = 50.0 * math.exp(side * (1.36 if side < 0 else 1.90))
    return min(max(volume, SMALLEST_MM3), LARGEST_MM3)


def dress(shape: Shape, *, generator: Generator) -> Lesion:
    """Give a shape a random look: brightness, necrosis (more often when large) and edema."""
    diameter = 2 * shape.radius_mm
    ring = chance.happens(generator, 0.6 * min(max((diameter - 6) / 9, 0), 1))
    edema = chance.happens(generator, min(0.15 + diameter / 25, 0.8))
    wall = min(chance.uniform(generator, 1.5, 4.0), 0.3 * diameter)
    return Lesion(
        body=shape,
        enhancement=chance.uniform(generator, 0.2, 1.0) + chance.uniform(generator, 0.0, 0.6),
        wall_mm=wall if ring else None,
        core=chance.uniform(generator, 0.4, 1.05),
        edema_mm=chance.uniform(generator, 1.0, min(20.0, 3.0 + diameter)) if edema else 0.0,
        edema_loss=chance.uniform(generator, 0.05, 0.20),
        texture=chance.uniform(generator, 0.0, 0.1),
    )
