"""Linear operators along one axis of a volume, as matrices: blur, slice profile, resampling and smooth fields.

Separable operations on whole heads become matrix products, which is what CPUs and GPUs do best.
"""

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

SPLINE_GAIN = 3.0  # a cubic B-spline in three dimensions keeps a ninth of the variance of its knots


def apply(volume: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """Multiply every line of ``volume`` (i, j, k) along ``axis`` by ``matrix`` (new size, old size)."""
    if axis == 0:
        return (matrix @ volume.reshape(volume.shape[0], -1)).reshape(-1, *volume.shape[1:])
    if axis == 1:
        return torch.matmul(matrix, volume)
    return torch.matmul(volume, matrix.T)


def gaussian(size: int, sigma: float) -> Tensor:
    """Return a Gaussian blur of ``sigma`` voxels, shape (size, size); every row sums to 1."""
    if sigma <= 0:
        return torch.eye(size)
    index = torch.arange(size, dtype=torch.float32)
    weights = torch.exp(-0.5 * ((index[:, None] - index[None]) / sigma) ** 2)
    return weights / weights.sum(1, keepdim=True)


def blur(volume: Tensor, sigma: float) -> Tensor:
    """Blur a volume (i, j, k) with a Gaussian of ``sigma`` voxels."""
    for axis in range(3):
        volume = apply(volume, gaussian(volume.shape[axis], sigma).to(volume), axis)
    return volume


def nearness(mask: Tensor, sigma: float) -> Tensor:
    """Blur a mask (bool i, j, k) widely, at half the resolution: 1 deep inside, 0 far away, float32."""
    coarse = F.avg_pool3d(mask.float()[None, None], 2, ceil_mode=True, count_include_pad=False)[0, 0]
    smooth = blur(coarse, math.sqrt(max(sigma**2 - 0.5, 0.04)) / 2)
    fine = F.interpolate(smooth[None, None], scale_factor=2, mode="trilinear")[0, 0]
    return fine[: mask.shape[0], : mask.shape[1], : mask.shape[2]]


def slice_profile(size: int, *, thickness: float, spacing: float, offset: float) -> Tensor:
    """Return what a stack of slices sees of ``size`` fine voxels, shape (slices, size).

    Parameters
    ----------
    size
        Number of fine voxels.
    thickness, spacing, offset
        Slice thickness (full width at half maximum), distance of slice centres and position of the first centre,
        all in fine voxels. The profile is a box with rounded shoulders, as a two-dimensional spin echo has.
    """
    count = max(1, int((size - 1 - offset) / spacing) + 1)
    centres = offset + spacing * torch.arange(count, dtype=torch.float32)
    distance = (torch.arange(size, dtype=torch.float32)[None] - centres[:, None]).abs()
    shoulder = max(0.12 * thickness, 0.25)
    weights = torch.sigmoid((thickness / 2 - distance) / (shoulder / 2)) + 1e-9
    return weights / weights.sum(1, keepdim=True)


def interpolation(size: int, *, count: int, spacing: float, offset: float) -> Tensor:
    """Return linear interpolation from ``count`` samples back to ``size`` fine voxels, shape (size, count)."""
    position = ((torch.arange(size, dtype=torch.float32) - offset) / spacing).clamp(0, count - 1)
    return (1 - (position[:, None] - torch.arange(count, dtype=torch.float32)[None]).abs()).clamp_min(0)


def low_pass(size: int, fraction: float) -> Tensor:
    """Return the truncation of k-space to ``fraction`` of its width (Gibbs ringing), shape (size, size)."""
    spectrum = torch.fft.rfft(torch.eye(size), dim=0)
    spectrum[math.ceil(fraction * len(spectrum)) :] = 0
    truncated: Tensor = torch.fft.irfft(spectrum, n=size, dim=0)
    return truncated


def spline(size: int, knots: int) -> Tensor:
    """Return the cubic B-spline that spreads ``knots`` coefficients evenly over ``size`` voxels, (size, knots)."""
    position = torch.linspace(1, knots - 2, size) if knots > 3 else torch.linspace(0, knots - 1, size)
    distance = (position[:, None] - torch.arange(knots, dtype=torch.float32)[None]).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp_min(0) ** 3 / 6
    weights = torch.where(distance < 1, near, far)
    return weights / weights.sum(1, keepdim=True)


def smooth_noise(shape: Sequence[int], *, cell: float | Sequence[float], generator: Generator) -> Tensor:
    """Return a smooth random field of about unit variance, float32 (i, j, k).

    Parameters
    ----------
    shape
        Voxels along each axis.
    cell
        Distance between the knots of its cubic B-spline, in voxels, one for all axes or one each.
    """
    cells = (cell,) * 3 if isinstance(cell, int | float) else cell
    knots = [max(2, math.ceil(size / step)) + 2 for size, step in zip(shape, cells, strict=True)]
    field = torch.randn(knots, generator=generator, device=generator.device) * SPLINE_GAIN
    for axis in range(3):
        field = apply(field, spline(shape[axis], knots[axis]).to(field), axis)
    return field
