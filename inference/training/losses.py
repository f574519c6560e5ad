"""Losses by name: small lesions count as much as large ones, and what is unknown counts nowhere.

Every loss takes logits (batch, classes, i, j, k), tissue (batch, i, j, k; 0 background), lesion numbers and weights of
the same shape; weight 0 leaves a voxel out. The first four are those of Rudie et al. (Radiology: AI 2021).
"""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

SMOOTHING_VOXELS = 20.0
COMPONENT_SMOOTHING_VOXELS = 5.0
FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, tissue: Tensor, lesions: Tensor, weight: Tensor) -> Tensor:  # noqa: ARG001 - one signature
    """Return weighted cross-entropy, mean over known voxels."""
    entropy = F.cross_entropy(logits.float(), tissue, reduction="none")
    return (entropy * weight).sum() / _known(weight)


def balanced_cross_entropy(logits: Tensor, tissue: Tensor, lesions: Tensor, weight: Tensor) -> Tensor:  # noqa: ARG001
    """Return cross-entropy in which background and lesion each count half, however small the lesion."""
    entropy = F.cross_entropy(logits.float(), tissue, reduction="none")
    halves = [(weight > 0) & side for side in (tissue == 0, tissue > 0)]
    present = [half for half in halves if bool(half.any())]
    means = [(entropy * half).sum() / half.sum() for half in present]
    return torch.stack(means).mean() if means else entropy.sum() * 0


def soft_dice(logits: Tensor, tissue: Tensor, lesions: Tensor, weight: Tensor) -> Tensor:  # noqa: ARG001
    """Return 1 - weighted soft Dice of the whole lesion over the whole batch."""
    return _soft_dice(lesion_probability(logits), tissue > 0, weight)


def focal(logits: Tensor, tissue: Tensor, lesions: Tensor, weight: Tensor) -> Tensor:  # noqa: ARG001
    """Return focal loss with alpha .25 on lesion, .75 on background, and gamma 2."""
    entropy = F.cross_entropy(logits.float(), tissue, reduction="none")
    alpha = torch.where(tissue > 0, FOCAL_ALPHA, 1 - FOCAL_ALPHA)
    return (alpha * (1 - (-entropy).exp()) ** FOCAL_GAMMA * entropy * weight).sum() / _known(weight)


def dice_cross_entropy(logits: Tensor, tissue: Tensor, lesions: Tensor, weight: Tensor) -> Tensor:
    """Return cross-entropy plus soft Dice of the whole lesion and of each further tissue that has a class."""
    total = cross_entropy(logits, tissue, lesions, weight) + soft_dice(logits, tissue, lesions, weight)
    for label in range(2, logits.shape[1]):
        probability = logits.float().softmax(1)[:, label]
        total = total + 0.25 * _soft_dice(probability, tissue == label, weight)
    return total


def component(logits: Tensor, tissue: Tensor, lesions: Tensor, weight: Tensor) -> Tensor:  # noqa: ARG001
    """Return 1 - the mean soft Dice inside each lesion: a lesion of 10 voxels counts as much as one of 10,000."""
    present = lesions > 0
    if not bool(present.any()):
        return logits.float().sum() * 0
    batch = torch.arange(len(lesions), device=lesions.device).reshape(-1, 1, 1, 1)
    number = (batch * (lesions.max() + 1) + lesions)[present]
    probability = lesion_probability(logits)[present]
    _, index, size = torch.unique(number, return_inverse=True, return_counts=True)
    found = torch.zeros(len(size), device=probability.device).index_add(0, index, probability)
    dice: Tensor = (2 * found + COMPONENT_SMOOTHING_VOXELS) / (found + size + COMPONENT_SMOOTHING_VOXELS)
    return 1 - dice.mean()


def dice_cross_entropy_component(logits: Tensor, tissue: Tensor, lesions: Tensor, weight: Tensor) -> Tensor:
    """Return the loss of the default weights: cross-entropy, soft Dice, and half the component loss."""
    return dice_cross_entropy(logits, tissue, lesions, weight) + 0.5 * component(logits, tissue, lesions, weight)


LOSSES: Final[dict[str, Loss]] = {
    "cross_entropy": cross_entropy,
    "balanced_cross_entropy": balanced_cross_entropy,
    "dice": soft_dice,
    "focal": focal,
    "dice_ce": dice_cross_entropy,
    "dice_ce_component": dice_cross_entropy_component,
}


def lesion_probability(logits: Tensor) -> Tensor:
    """Return the probability of any lesion tissue, float32 (batch, i, j, k)."""
    return 1 - logits.float().softmax(1)[:, 0]


def _soft_dice(probability: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    overlap = (weight * probability * truth).sum()
    size = (weight * (probability + truth)).sum()
    loss: Tensor = 1 - (2 * overlap + SMOOTHING_VOXELS) / (size + SMOOTHING_VOXELS)
    return loss


def _known(weight: Tensor) -> Tensor:
    return (weight > 0).sum().clamp(min=1)
