"""Painting lesions into volumes: partial volume comes from sub-voxels, on any grid and any sequence."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from inference.synthesis import chance
from inference.synthesis.axes import smooth_noise
from inference.synthesis.deformation import sample
from inference.synthesis.lesions import EDGE_MM, Body, Grid, Lesion, Patch, cut_patch

CLEARANCE_MM = 2.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Painted:
    """Where a lesion was painted.

    Attributes
    ----------
    patch
        The part of the grid that it lies in.
    filled, necrosis
        float32 over the patch's voxels: which part of each the lesion fills, and which part its necrosis fills
        (sharp edges, sub-voxels counted).
    """

    patch: Patch
    filled: Tensor
    necrosis: Tensor


def soft(distance: Tensor, edge_mm: float = EDGE_MM) -> Tensor:
    """Return how much of a point is inside: 1 deep inside, 0 outside, a ramp of ``edge_mm`` to each side."""
    return (0.5 - distance / (2 * edge_mm)).clamp(0, 1)


def fineness_mm(body: Body) -> float:
    """Return the sub-voxel edge that keeps partial volume right: fine for small lesions, coarse for large ones."""
    return min(max(body.radius_mm / 7, 0.34), 1.0)


def fits(
    body: Body, grid: Grid, *, allowed: Tensor, taken: Tensor, share: float = 0.9, clearance_mm: float = CLEARANCE_MM
) -> bool:
    """Say whether a body has room.

    Parameters
    ----------
    allowed, taken
        bool (i, j, k) on ``grid``: where it may lie, and what it must keep away from.
    share
        Part of the body that must lie in ``allowed``.
    clearance_mm
        Distance to everything in ``taken``.
    """
    patch = cut_patch(grid, body.centre_mm, body.reach_mm + clearance_mm, fine_mm=torch.inf)
    if patch is None:
        return False
    distance = body.distance(patch.points_mm)
    inside = distance < max(grid.spacing_mm) / 2
    if bool((taken[patch.slices] & (distance < clearance_mm)).any()) or not bool(inside.any()):
        return False
    return float(allowed[patch.slices][inside].float().mean()) >= share


def occupy(body: Body, taken: Tensor, grid: Grid) -> None:
    """Mark where a body lies, in place, so that the next one keeps away."""
    patch = cut_patch(grid, body.centre_mm, body.reach_mm, fine_mm=torch.inf)
    if patch is not None:
        taken[patch.slices] |= body.distance(patch.points_mm) < max(grid.spacing_mm) / 2


def edema_halo(lesion: Lesion, grid: Grid, *, generator: Generator) -> tuple[Patch, Tensor] | None:
    """Return how much edema there is around a lesion, 0 to 1 on a patch of the grid, or None without edema."""
    if lesion.edema_mm <= 0:
        return None
    patch = cut_patch(grid, lesion.body.centre_mm, lesion.body.reach_mm + lesion.edema_mm, fine_mm=torch.inf)
    if patch is None:
        return None
    distance = lesion.body.distance(patch.points_mm)
    cell = 5 / (sum(grid.spacing_mm) / 3)
    ragged = smooth_noise(tuple(distance.shape), cell=cell, generator=generator).to(distance) * 0.23 * lesion.edema_mm
    return patch, ((lesion.edema_mm - distance + ragged) / 2).clamp(0, 1)


def paint_body(
    image: Tensor, lesion: Lesion, grid: Grid, *, wall: float, core: float, generator: Generator
) -> Painted | None:
    """Paint one lesion in place.

    Parameters
    ----------
    image
        float32 (i, j, k) on ``grid``.
    wall, core
        Intensity of the enhancing tissue and of the necrosis.

    Returns
    -------
    Painted
        Where it lies now; None when it lies outside the grid.
    """
    patch = cut_patch(grid, lesion.body.centre_mm, lesion.body.reach_mm, fine_mm=fineness_mm(lesion.body))
    if patch is None:
        return None
    distance = lesion.body.distance(patch.points_mm)
    cover = soft(distance)
    look = torch.full_like(distance, wall)
    if lesion.wall_mm is not None:
        look += (core - wall) * soft(distance + lesion.wall_mm, 0.5)
    paint, filled = patch.pool(cover * look), patch.pool(cover)
    grain = 1 + lesion.texture * smooth_noise(tuple(filled.shape), cell=2.5, generator=generator).to(filled)
    image[patch.slices] = image[patch.slices] * (1 - filled) + paint * grain
    core_reach = torch.inf if lesion.wall_mm is None else lesion.wall_mm
    return Painted(
        patch=patch,
        filled=patch.pool((distance < 0).float()),
        necrosis=patch.pool((distance + core_reach < 0).float()),
    )


def pushed_from(points_mm: Tensor, body: Body, *, strength: float) -> Tensor:
    """Return where tissue now at these points was before a growing body pushed it outwards, (..., 3) mm.

    What lay at the centre moves by ``strength`` radii, less and less with distance.
    """
    offset = points_mm - body.centre_mm
    far = offset.norm(dim=-1, keepdim=True).clamp_min(1e-3)
    shift = strength * body.radius_mm * (1 - far / push_reach_mm(body)).clamp_min(0) ** 2
    before: Tensor = body.centre_mm + offset * (1 - (shift / far).clamp_max(0.9))
    return before


def push_reach_mm(body: Body) -> float:
    """Return how far from its centre a body pushes tissue."""
    return 2.2 * body.radius_mm + 6


def push_away(image: Tensor, body: Body, *, strength: float, grid: Grid) -> None:
    """Push the tissue around a body outwards, in place."""
    patch = cut_patch(grid, body.centre_mm, push_reach_mm(body), fine_mm=torch.inf)
    if patch is None or strength == 0:
        return
    inverse = torch.linalg.inv(grid.affine)
    before = pushed_from(patch.points_mm, body, strength=strength) @ inverse[:3, :3].T + inverse[:3, 3]
    first = torch.tensor([line.start for line in patch.slices], device=image.device)
    image[patch.slices] = sample(image[patch.slices], before - first, edge=True)


def pushes(lesion: Lesion, generator: Generator) -> float:
    """Draw the strength of a lesion's mass effect; small lesions have none."""
    if lesion.body.radius_mm < 4 or chance.happens(generator, 0.4):
        return 0.0
    return chance.uniform(generator, 0.1, 0.5)
