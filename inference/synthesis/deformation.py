"""Individual heads from one: a random affine map and a smooth displacement, sampled in one step."""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from inference.synthesis import chance
from inference.synthesis.axes import smooth_noise


def rotation(angles_rad: tuple[float, float, float]) -> Tensor:
    """Return the rotation about the axes i, j and k, in this order, float32 (3, 3)."""
    (si, ci), (sj, cj), (sk, ck) = [(math.sin(a), math.cos(a)) for a in angles_rad]
    about_i = torch.tensor([[1, 0, 0], [0, ci, -si], [0, si, ci]])
    about_j = torch.tensor([[cj, 0, sj], [0, 1, 0], [-sj, 0, cj]])
    about_k = torch.tensor([[ck, -sk, 0], [sk, ck, 0], [0, 0, 1]])
    return about_k @ about_j @ about_i


def random_affine(generator: Generator, *, degrees: float, scale: float, shear: float) -> Tensor:
    """Return a random linear map near identity, float32 (3, 3)."""
    angles = [math.radians(chance.uniform(generator, -degrees, degrees)) for _ in range(3)]
    sizes = torch.tensor([1 + chance.uniform(generator, -scale, scale) for _ in range(3)])
    skew = torch.eye(3) + torch.triu(torch.rand((3, 3), generator=generator).mul(2).sub(1) * shear, 1)
    return rotation((angles[0], angles[1], angles[2])) @ skew @ torch.diag(sizes)


def random_displacement(shape: tuple[int, ...], *, cell: float, size: float, generator: Generator) -> Tensor:
    """Return a smooth random displacement in voxels, float32 (i, j, k, 3); ``size`` is its deviation per axis."""
    return torch.stack([size * smooth_noise(shape, cell=cell, generator=generator) for _ in range(3)], -1)


def voxel_positions(shape: tuple[int, ...], device: torch.device | None = None) -> Tensor:
    """Return the index of every voxel, float32 (i, j, k, 3)."""
    lines = [torch.arange(n, dtype=torch.float32, device=device) for n in shape]
    return torch.stack(torch.meshgrid(*lines, indexing="ij"), -1)


def sample(volume: Tensor, positions: Tensor, *, nearest: bool = False, edge: bool = False) -> Tensor:
    """Sample a volume (i, j, k) or (channels, i, j, k) at voxel positions (..., 3), as float32.

    Linear, or nearest neighbour; outside the volume zero, or with ``edge`` the nearest voxel of its edge.
    """
    channels = volume if volume.ndim == 4 else volume[None]
    size = torch.tensor(channels.shape[1:], device=volume.device)
    where = (positions / (size - 1).clamp_min(1) * 2 - 1).flip(-1)
    flat = where.reshape(1, 1, 1, -1, 3) if where.ndim != 4 else where[None]
    mode, padding = "nearest" if nearest else "bilinear", "border" if edge else "zeros"
    found = F.grid_sample(channels[None].float(), flat, mode=mode, padding_mode=padding, align_corners=True)[0]
    found = found.reshape(channels.shape[0], *positions.shape[:-1])
    return found if volume.ndim == 4 else found[0]


def individual(labels: Tensor, *, generator: Generator) -> Tensor:
    """Return a label map deformed at random, same shape, nearest neighbour."""
    shape = tuple(labels.shape)
    positions = voxel_positions(shape, labels.device)
    centre = torch.tensor(shape, device=labels.device) / 2
    affine = random_affine(generator, degrees=8, scale=0.1, shear=0.06).to(positions)
    positions = (positions - centre) @ affine.T + centre
    positions += random_displacement(shape, cell=36, size=1.45, generator=generator)
    return sample(labels.float(), positions, nearest=True).to(labels.dtype)
