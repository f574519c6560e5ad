"""The control network of NYUMets: MONAI's BasicUNet with its published settings (Link et al., Nat Commun 2024)."""

from collections.abc import Sequence
from typing import cast

from monai.networks.nets.basic_unet import BasicUNet
from torch import nn


def build_unet(features: Sequence[int], *, channels: int = 1, labels: int = 2) -> nn.Module:
    """Return an untrained network: (batch, channels, i, j, k) in, logits (batch, labels, i, j, k) out.

    Parameters
    ----------
    features
        Channel counts of the five levels and of the last stage, for example ``(16, 16, 32, 64, 128, 16)``.
    channels, labels
        Number of input images and of output classes. Window edges must be multiples of 16.
    """
    network = BasicUNet(
        spatial_dims=3,
        in_channels=channels,
        out_channels=labels,
        features=tuple(features),
        act=("LeakyReLU", {"negative_slope": 0.1, "inplace": True}),
        norm=("instance", {"affine": True}),
        upsample="deconv",
    )
    return cast(nn.Module, network)
