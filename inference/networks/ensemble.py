"""Bagging as UCSF does it (Rudie et al., Radiol Artif Intell 2021): the mean of what several networks say."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from inference.networks.unet import PUBLISHED_FEATURES, build_unet

MOST_MEMBERS: Final = 8
UCSF_CHANNELS: Final = ("T1c", "subtraction")


class Ensemble(nn.Module):
    """Up to eight networks of the same inputs and classes that answer as one.

    Parameters
    ----------
    members
        Networks that give logits (batch, labels, i, j, k).

    Raises
    ------
    ValueError
        If there are none or more than eight.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if not 1 <= len(members) <= MOST_MEMBERS:
            raise ValueError(f"an ensemble has 1 to {MOST_MEMBERS} members, not {len(members)}")
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logarithm of the members' mean probabilities, (batch, labels, i, j, k).

        A softmax of the result is that mean, so an ensemble stands wherever a single network does.
        """
        total = torch.zeros(())
        for member in self.members:
            total = total.to(images.device) + member(images).float().softmax(dim=1)
        mean = total / len(self.members)
        return mean.clamp_min(torch.finfo(mean.dtype).tiny).log()


def build_ucsf_ensemble(
    members: int = MOST_MEMBERS, *, features: Sequence[int] = PUBLISHED_FEATURES, labels: int = 2
) -> Ensemble:
    """Return an untrained ensemble of U-Nets with the inputs T1c and subtraction, in this order.

    Parameters
    ----------
    members
        Number of networks, 1 to 8.
    features
        Channel counts: the published network goes four levels down, with batch normalisation and ReLU.
    labels
        Number of output classes; the published model has background and enhancing tumour.
    """
    return Ensemble(
        [
            build_unet(features, channels=len(UCSF_CHANNELS), labels=labels, activation="relu", normalisation="batch")
            for _ in range(members)
        ]
    )
