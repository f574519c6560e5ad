"""The control network of NYUMets: MONAI's BasicUNet with its published settings (Link et al., Nat Commun 2024)."""

from collections.abc import Sequence
from typing import Any, Final, cast

from monai.networks.nets.basic_unet import BasicUNet
from torch import nn

from inference.manifest import Activation, Normalisation

PUBLISHED_FEATURES: Final = (32, 32, 64, 128, 256, 32)
AURORA_CHANNELS: Final = ("T1", "T1c", "T2", "FLAIR")
ACTIVATIONS: Final[dict[str, Any]] = {
    "leaky_relu": ("LeakyReLU", {"negative_slope": 0.1, "inplace": True}),
    "relu": ("ReLU", {"inplace": True}),
    "mish": "mish",
}
NORMALISATIONS: Final[dict[str, Any]] = {"instance": ("instance", {"affine": True}), "batch": "batch"}


def build_unet(
    features: Sequence[int],
    *,
    channels: int = 1,
    labels: int = 2,
    activation: Activation = "leaky_relu",
    normalisation: Normalisation = "instance",
) -> nn.Module:
    """Return an untrained network: (batch, channels, i, j, k) in, logits (batch, labels, i, j, k) out.

    Parameters
    ----------
    features
        Channel counts of the five levels and of the last stage, for example ``(16, 16, 32, 64, 128, 16)``.
    channels, labels
        Number of input images and of output classes. Window edges must be multiples of 16.
    activation, normalisation
        After each convolution. NYUMets' are the defaults; UCSF's network has ReLU and batch normalisation.

    Raises
    ------
    ValueError
        If there are not six features, or activation or normalisation is unknown.
    """
    return cast(nn.Module, BasicUNet(**unet_settings(features, channels, labels, activation, normalisation)))


def build_aurora_unet(*, channels: int = len(AURORA_CHANNELS)) -> nn.Module:
    """Return the network of AURORA (Buchner et al., Radiother Oncol 2023), ready for its published checkpoints.

    Parameters
    ----------
    channels
        Number of images it was trained on: those of ``AURORA_CHANNELS``, or fewer of them in the same order.

    Returns
    -------
    nn.Module
        Logits (batch, 2, i, j, k), each for a sigmoid of its own: the whole metastasis with its edema, and the
        metastasis without. Images are scaled from their 0.5th and 99.5th percentile to 0 and 1, without skull.
    """
    return build_unet(PUBLISHED_FEATURES, channels=channels, labels=2, activation="mish")


def unet_settings(
    features: Sequence[int],
    channels: int,
    labels: int,
    activation: Activation = "leaky_relu",
    normalisation: Normalisation = "instance",
) -> dict[str, Any]:
    """Return the arguments of MONAI's BasicUNet; see `build_unet`."""
    if len(features) != 6:
        raise ValueError(f"a BasicUNet has 6 features (five levels and the last stage), not {tuple(features)}")
    return {
        "spatial_dims": 3,
        "in_channels": channels,
        "out_channels": labels,
        "features": tuple(features),
        "act": _known(ACTIVATIONS, "activation", activation),
        "norm": _known(NORMALISATIONS, "normalisation", normalisation),
        "upsample": "deconv",
    }


def _known(choices: dict[str, Any], what: str, name: str) -> object:
    if name not in choices:
        raise ValueError(f"unknown {what} {name!r}: choose one of {', '.join(choices)}")
    return choices[name]
