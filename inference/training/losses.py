"""Losses by name: small lesions count as much as large ones, and what is unknown counts nowhere.

Every loss takes logits (batch, classes, i, j, k); tissue (batch, i, j, k): the class, or `truth.SOME_LESION` or
`truth.NO_LESION` where no more is known; lesion numbers and weights of the same shape; and the classes that are lesion.
Weight 0 leaves a voxel out. Where the class is not known, the classes that are possible answer for it together. The
first four are those of Rudie et al. (Radiology: AI 2021).
"""

from collections.abc import Sequence
from typing import Final, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.training.truth import NO_LESION, SOME_LESION

SMOOTHING_VOXELS = 20.0
COMPONENT_SMOOTHING_VOXELS = 5.0
FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0
# An outline that is off by this much is no error of finding.
REACH_VOXELS = 2
# About the size of a vessel cut across, at 1 mm.
WORST_VOXELS = 64

Classes = Sequence[int]


class Loss(Protocol):
    """A loss; see this module's docstring."""

    def __call__(self, logits: Tensor, tissue: Tensor, lesions: Tensor, weight: Tensor, *, lesion: Classes) -> Tensor:
        """Return the loss, a scalar."""


def cross_entropy(logits: Tensor, tissue: Tensor, lesions: Tensor, weight: Tensor, *, lesion: Classes) -> Tensor:  # noqa: ARG001 - one signature
    """Return weighted cross-entropy, mean over known voxels."""
    entropy = _entropy(logits, tissue, lesion)
    return (entropy * weight).sum() / _known(weight)


def balanced_cross_entropy(
    logits: Tensor,
    tissue: Tensor,
    lesions: Tensor,  # noqa: ARG001
    weight: Tensor,
    *,
    lesion: Classes,
) -> Tensor:
    """Return cross-entropy in which lesion and all else each count half, however small the lesion."""
    entropy = _entropy(logits, tissue, lesion)
    inside = is_lesion(tissue, lesion)
    halves = [(weight > 0) & side for side in (~inside, inside)]
    present = [half for half in halves if bool(half.any())]
    means = [(entropy * half).sum() / half.sum() for half in present]
    return torch.stack(means).mean() if means else entropy.sum() * 0


def soft_dice(logits: Tensor, tissue: Tensor, lesions: Tensor, weight: Tensor, *, lesion: Classes) -> Tensor:  # noqa: ARG001
    """Return 1 - weighted soft Dice of the whole lesion over the whole batch."""
    return _soft_dice(lesion_probability(logits, lesion), is_lesion(tissue, lesion), weight)


def focal(logits: Tensor, tissue: Tensor, lesions: Tensor, weight: Tensor, *, lesion: Classes) -> Tensor:  # noqa: ARG001
    """Return focal loss with alpha .25 on lesion, .75 on all else, and gamma 2."""
    entropy = _entropy(logits, tissue, lesion)
    alpha = torch.where(is_lesion(tissue, lesion), FOCAL_ALPHA, 1 - FOCAL_ALPHA)
    return (alpha * (1 - (-entropy).exp()) ** FOCAL_GAMMA * entropy * weight).sum() / _known(weight)


def dice_cross_entropy(logits: Tensor, tissue: Tensor, lesions: Tensor, weight: Tensor, *, lesion: Classes) -> Tensor:
    """Return cross-entropy plus soft Dice of the whole lesion and of each further tissue that has a class."""
    total = cross_entropy(logits, tissue, lesions, weight, lesion=lesion)
    total = total + soft_dice(logits, tissue, lesions, weight, lesion=lesion)
    for label in range(1, logits.shape[1]):
        if label not in lesion[:1]:
            probability = logits.float().softmax(1)[:, label]
            known = tissue != (SOME_LESION if label in lesion else NO_LESION)
            total = total + 0.25 * _soft_dice(probability, tissue == label, weight * known)
    return total


def component(logits: Tensor, tissue: Tensor, lesions: Tensor, weight: Tensor, *, lesion: Classes) -> Tensor:  # noqa: ARG001
    """Return 1 - the mean soft Dice inside each lesion: a lesion of 10 voxels counts as much as one of 10,000."""
    present = lesions > 0
    if not bool(present.any()):
        return logits.float().sum() * 0
    batch = torch.arange(len(lesions), device=lesions.device).reshape(-1, 1, 1, 1)
    number = (batch * (lesions.max() + 1) + lesions)[present]
    probability = lesion_probability(logits, lesion)[present]
    _, index, size = torch.unique(number, return_inverse=True, return_counts=True)
    found = torch.zeros(len(size), device=probability.device).index_add(0, index, probability)
    dice: Tensor = (2 * found + COMPONENT_SMOOTHING_VOXELS) / (found + size + COMPONENT_SMOOTHING_VOXELS)
    return 1 - dice.mean()


def dice_cross_entropy_component(
    logits: Tensor, tissue: Tensor, lesions: Tensor, weight: Tensor, *, lesion: Classes
) -> Tensor:
    """Return cross-entropy, soft Dice, and half the component loss."""
    return dice_cross_entropy(logits, tissue, lesions, weight, lesion=lesion) + 0.5 * component(
        logits, tissue, lesions, weight, lesion=lesion
    )


def imitations(logits: Tensor, tissue: Tensor, lesions: Tensor, weight: Tensor, *, lesion: Classes) -> Tensor:  # noqa: ARG001
    """Return the mean cross-entropy of the `WORST_VOXELS` that look most like a lesion and are far from any.

    It is to vessels what `component` is to lesions: a false region of 10 voxels counts, however large the patch is.
    """
    far = (weight > 0) & ~near(is_lesion(tissue, lesion))
    likeness = F.softplus(lesion_logit(logits, lesion)) * far
    worst: Tensor = likeness.flatten(1).topk(WORST_VOXELS, dim=1).values.mean()
    return worst


def dice_cross_entropy_regions(
    logits: Tensor, tissue: Tensor, lesions: Tensor, weight: Tensor, *, lesion: Classes
) -> Tensor:
    """Return the loss of the default weights: cross-entropy, soft Dice, half the component loss, and imitations."""
    return dice_cross_entropy_component(logits, tissue, lesions, weight, lesion=lesion) + 0.25 * imitations(
        logits, tissue, lesions, weight, lesion=lesion
    )


LOSSES: Final[dict[str, Loss]] = {
    "cross_entropy": cross_entropy,
    "balanced_cross_entropy": balanced_cross_entropy,
    "dice": soft_dice,
    "focal": focal,
    "dice_ce": dice_cross_entropy,
    "dice_ce_component": dice_cross_entropy_component,
    "dice_ce_regions": dice_cross_entropy_regions,
}


def lesion_probability(logits: Tensor, lesion: Classes) -> Tensor:
    """Return the probability of any lesion class, float32 (batch, i, j, k)."""
    others = [label for label in range(logits.shape[1]) if label not in lesion]
    return 1 - logits.float().softmax(1)[:, others].sum(1)


def lesion_logit(logits: Tensor, lesion: Classes) -> Tensor:
    """Return the log odds of any lesion class, float32 (batch, i, j, k)."""
    others = [label for label in range(logits.shape[1]) if label not in lesion]
    ours = [label for label in range(logits.shape[1]) if label in lesion]
    return logits[:, ours].float().logsumexp(1) - logits[:, others].float().logsumexp(1)


def near(values: Tensor) -> Tensor:
    """Return the largest value within `REACH_VOXELS` along each axis, same type (batch, i, j, k)."""
    edge = 2 * REACH_VOXELS + 1
    return F.max_pool3d(values.float(), edge, stride=1, padding=REACH_VOXELS).to(values.dtype)


def is_lesion(tissue: Tensor, lesion: Classes) -> Tensor:
    """Return where the truth is lesion, bool (batch, i, j, k), of whatever class."""
    return torch.isin(tissue, torch.tensor([*lesion, SOME_LESION], device=tissue.device))


def _entropy(logits: Tensor, tissue: Tensor, lesion: Classes) -> Tensor:
    """Return the cross-entropy of each voxel, that of all possible classes together where the class is not known."""
    if bool((tissue >= 0).all()):
        return F.cross_entropy(logits.float(), tissue, reduction="none")
    chances = logits.float().log_softmax(1)
    others = [label for label in range(logits.shape[1]) if label not in lesion]
    either = [chances[:, classes].logsumexp(1, keepdim=True) for classes in (others, list(lesion))]
    # NO_LESION (-2) and SOME_LESION (-1) are the last but one and the last, as indices of Python are.
    extended = torch.cat([chances, *either], dim=1)
    return F.nll_loss(extended, tissue % extended.shape[1], reduction="none")


def _soft_dice(probability: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    overlap = (weight * probability * truth).sum()
    size = (weight * (probability + truth)).sum()
    loss: Tensor = 1 - (2 * overlap + SMOOTHING_VOXELS) / (size + SMOOTHING_VOXELS)
    return loss


def _known(weight: Tensor) -> Tensor:
    return (weight > 0).sum().clamp(min=1)
