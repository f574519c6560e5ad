"""Small lesions count as much as large ones: weights per lesion enter both terms of the loss."""

from torch import Tensor
from torch.nn import functional as F

SMOOTHING_VOXELS = 20.0


def lesion_loss(logits: Tensor, lesion: Tensor, weight: Tensor) -> Tensor:
    """Return weighted cross-entropy plus weighted soft Dice over the whole batch.

    Parameters
    ----------
    logits
        (batch, 2, i, j, k).
    lesion
        bool (batch, i, j, k).
    weight
        (batch, i, j, k): 0 leaves a voxel out of both terms.
    """
    logits = logits.float()
    entropy = F.cross_entropy(logits, lesion.long(), reduction="none")
    entropy = (entropy * weight).sum() / (weight > 0).sum().clamp(min=1)
    probability = logits.softmax(1)[:, 1]
    overlap = (weight * probability * lesion).sum()
    size = (weight * (probability + lesion)).sum()
    dice = (2 * overlap + SMOOTHING_VOXELS) / (size + SMOOTHING_VOXELS)
    return entropy + 1 - dice
