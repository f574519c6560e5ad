"""What a scanner does to a head: coil bias, contrast curve, slice profile, truncated k-space, motion, Rician noise."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from inference.synthesis import chance
from inference.synthesis.axes import apply, gaussian, interpolation, low_pass, slice_profile, smooth_noise


def bias_field(
    shape: tuple[int, ...], *, strength: float, cell: float | Sequence[float], generator: Generator
) -> Tensor:
    """Return a smooth multiplicative coil profile around 1; ``strength`` is the deviation of its logarithm.

    ``cell`` is the distance of its knots in voxels, one for all axes or one each.
    """
    return torch.exp(strength * smooth_noise(shape, cell=cell, generator=generator))


def rician(image: Tensor, *, deviation: float, generator: Generator) -> Tensor:
    """Return the magnitude of ``image`` plus complex Gaussian noise of this standard deviation."""
    real = image + deviation * torch.randn(image.shape, generator=generator, device=image.device)
    imaginary = deviation * torch.randn(image.shape, generator=generator, device=image.device)
    return torch.sqrt(real**2 + imaginary**2)


def thick_slices(size: int, *, thickness: float, generator: Generator) -> Tensor:
    """Return "acquire thick slices, then interpolate back to the fine grid" as one matrix (size, size)."""
    spacing = thickness * chance.uniform(generator, 1.0, 1.2)
    offset = chance.uniform(generator, 0, min(spacing, size - 1))
    seen = slice_profile(size, thickness=thickness, spacing=spacing, offset=offset)
    return interpolation(size, count=len(seen), spacing=spacing, offset=offset) @ seen


def acquire(image: Tensor, *, white: float, thickness_mm: float, slice_axis: int, generator: Generator) -> Tensor:
    """Return what a random scanner would show of a 1 mm volume, on the same grid.

    Parameters
    ----------
    image
        float32 (i, j, k), 1 mm cubic voxels.
    white
        Intensity of white matter, the unit of noise.
    thickness_mm, slice_axis
        Slice thickness (1 or less: three-dimensional sequence) and the axis it lies along.
    """
    shape = tuple(image.shape)
    cell = chance.uniform(generator, 60, 140)
    image = image * bias_field(shape, strength=chance.uniform(generator, 0, 0.17), cell=cell, generator=generator)
    scale = white * 2.5
    image = scale * (image.clamp_min(0) / scale) ** chance.log_uniform(generator, 0.8, 1.25)
    for axis in range(3):
        image = apply(image, _axis_response(shape[axis], axis == slice_axis, thickness_mm, generator).to(image), axis)
    if chance.happens(generator, 0.1):
        image = _ghost(image, axis=(slice_axis + 1) % 3, generator=generator)
    return rician(image, deviation=white * chance.log_uniform(generator, 0.008, 0.07), generator=generator)


def _axis_response(size: int, is_slice: bool, thickness_mm: float, generator: Generator) -> Tensor:
    """Return the point spread of one axis as a matrix: slice profile across slices, blur and ringing in plane."""
    if is_slice and thickness_mm > 1:
        return thick_slices(size, thickness=thickness_mm, generator=generator)
    response = gaussian(size, chance.uniform(generator, 0.25, 0.6))
    if chance.happens(generator, 0.3):
        response = low_pass(size, chance.uniform(generator, 0.6, 0.95)) @ response
    return response


def _ghost(image: Tensor, *, axis: int, generator: Generator) -> Tensor:
    """Add a faint displaced copy along the phase axis, as periodic motion does."""
    shift = image.shape[axis] // chance.whole(generator, 2, 5)
    faint = chance.uniform(generator, 0.01, 0.05)
    return (1 - faint) * image + faint * image.roll(shift, dims=axis)
