"""A patch is what one training step learns from: half are centred on lesions, half anywhere in the brain."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from inference.training.pool import HeadPool, PreparedHead


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Patches with their truth.

    Attributes
    ----------
    image
        float32 (batch, 1, i, j, k).
    lesion
        bool (batch, i, j, k).
    weight
        float32 (batch, i, j, k); 0 where nothing is known.
    """

    image: Tensor
    lesion: Tensor
    weight: Tensor

    def to(self, device: torch.device) -> "Batch":
        """Return the same batch on another device."""
        return Batch(image=self.image.to(device), lesion=self.lesion.to(device), weight=self.weight.to(device))


def draw_batch(pool: HeadPool, *, batch: int, edge: int, generator: Generator) -> Batch:
    """Draw patches from random heads of the pool; even ones are centred near a lesion where the head has one."""
    patches = [
        _augmented(_patch(pool.draw(generator), edge=edge, on_lesion=n % 2 == 0, generator=generator), generator)
        for n in range(batch)
    ]
    images, lesions, weights = (torch.stack(part) for part in zip(*patches, strict=True))
    return Batch(image=images[:, None], lesion=lesions > 0, weight=weights)


def _patch(head: PreparedHead, *, edge: int, on_lesion: bool, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    centres = head.centres if on_lesion and len(head.centres) else head.brain_voxels.long()
    centre = centres[int(torch.randint(len(centres), (1,), generator=generator))]
    jitter = torch.randint(-edge // 3, edge // 3 + 1, (3,), generator=generator)
    start = centre + jitter - edge // 2
    image, lesions, weight = (cut(part, start, edge) for part in (head.image, head.lesions, head.weight))
    return image.float(), lesions, weight.float()


def cut(array: Tensor, start: Tensor, edge: int) -> Tensor:
    """Return a cube of ``edge`` voxels from ``start`` (i, j, k); 0 beyond the array, as in sliding windows."""
    low = [max(0, -int(s)) for s in start]
    high = [max(0, int(s) + edge - size) for s, size in zip(start, array.shape, strict=True)]
    box = tuple(slice(max(0, int(s)), max(0, int(s) + edge)) for s in start)
    return F.pad(array[box], (low[2], high[2], low[1], high[1], low[0], high[0]))


def _augmented(patch: tuple[Tensor, Tensor, Tensor], generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    image, lesions, weight = patch
    gain, shift, flip = torch.rand(3, generator=generator).tolist()
    # Blank surroundings stay 0, as in inference.
    image = torch.where(image == 0, image, image * (0.85 + 0.3 * gain) + 0.4 * (shift - 0.5))
    if flip < 0.5:  # left and right
        image, lesions, weight = image.flip(2), lesions.flip(2), weight.flip(2)
    return image, lesions, weight
