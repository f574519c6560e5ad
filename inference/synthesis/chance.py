"""Random draws: every one comes from the caller's `torch.Generator`, so a seed fixes the whole result."""

import hashlib
import math

import torch
from torch import Generator, Tensor


def generator_for(seed: int, purpose: str) -> Generator:
    """Return a generator for one purpose, so that parts drawn from one seed do not disturb each other."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def uniform(generator: Generator, low: float, high: float) -> float:
    """Return one number from the interval [low, high)."""
    return low + (high - low) * float(torch.rand((), generator=generator, device=generator.device))


def log_uniform(generator: Generator, low: float, high: float) -> float:
    """Return one positive number whose logarithm is uniform."""
    return math.exp(uniform(generator, math.log(low), math.log(high)))


def normal(generator: Generator, mean: float = 0.0, deviation: float = 1.0) -> float:
    """Return one normally distributed number."""
    return mean + deviation * float(torch.randn((), generator=generator, device=generator.device))


def happens(generator: Generator, probability: float) -> bool:
    """Return True with the given probability."""
    return uniform(generator, 0.0, 1.0) < probability


def whole(generator: Generator, low: int, high: int) -> int:
    """Return one whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator, device=generator.device))


def direction(generator: Generator) -> Tensor:
    """Return a unit vector, shape (3,), uniform on the sphere."""
    vector = torch.randn(3, generator=generator, device=generator.device)
    unit: Tensor = vector / vector.norm().clamp_min(1e-6)
    return unit


def voxels(generator: Generator, mask: Tensor, count: int) -> Tensor:
    """Return the indices of random True voxels of ``mask``, float32 (count, 3), or (0, 3) if there are none."""
    flat = mask.flatten().nonzero().flatten()
    if not len(flat):
        return torch.zeros((0, 3), device=mask.device)
    picked = flat[torch.randint(0, len(flat), (count,), generator=generator, device=generator.device)]
    size_j, size_k = mask.shape[1], mask.shape[2]
    return torch.stack([picked // (size_j * size_k), picked // size_k % size_j, picked % size_k], 1).float()
