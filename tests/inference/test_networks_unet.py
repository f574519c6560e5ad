"""U-Nets: shapes and key names as published, and how many inputs and classes each task needs."""

import pytest
import torch
from torch import nn

from inference.networks.unet import PUBLISHED_FEATURES, build_aurora_unet, build_unet

TINY = (2, 2, 4, 4, 8, 2)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def kinds(network: nn.Module) -> set[str]:
    """Activations and normalisations in a network."""
    names = {type(module).__name__ for module in network.modules()}
    return {name for name in names if name.endswith(("ReLU", "Mish", "Norm3d"))}


def test_published_control_network_has_the_published_size() -> None:
    # 19,906,210 of STT less its ConvLSTM cell: 1024 kernels of 512 × 3³, and 1024 biases.
    assert count(build_unet(PUBLISHED_FEATURES)) == 19_906_210 - 1024 * (512 * 27 + 1)


@pytest.mark.parametrize(
    ("channels", "labels"),
    [(1, 2), (2, 2), (4, 4), (5, 4)],
    ids=["detection", "re-segmentation: T1c and prior", "multi-label", "multi-label with prior"],
)
def test_inputs_and_classes_are_free(channels: int, labels: int) -> None:
    network = build_unet(TINY, channels=channels, labels=labels).eval()
    with torch.inference_mode():
        assert network(torch.randn(1, channels, 32, 16, 48)).shape == (1, labels, 32, 16, 48)


def test_defaults_are_nyumets_settings() -> None:
    network = build_unet(TINY)
    assert kinds(network) == {"LeakyReLU", "InstanceNorm3d"}
    assert {m.negative_slope for m in network.modules() if isinstance(m, nn.LeakyReLU)} == {0.1}
    assert all(m.affine for m in network.modules() if isinstance(m, nn.InstanceNorm3d))


def test_ucsf_settings() -> None:
    assert kinds(build_unet(TINY, channels=2, activation="relu", normalisation="batch")) == {"ReLU", "BatchNorm3d"}


def test_aurora_takes_four_images_and_gives_two_regions() -> None:
    network = build_aurora_unet()
    assert kinds(network) == {"Mish", "InstanceNorm3d"}
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert shapes["conv_0.conv_0.conv.weight"] == (32, 4, 3, 3, 3)
    assert shapes["down_4.convs.conv_1.conv.weight"] == (256, 256, 3, 3, 3)
    assert shapes["final_conv.weight"] == (2, 32, 1, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"activation": "swish"}, "unknown activation 'swish': choose one of leaky_relu, relu, mish"),
        ({"normalisation": "layer"}, "unknown normalisation 'layer'"),
    ],
)
def test_unknown_settings_are_named(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_unet(TINY, **arguments)  # type: ignore[arg-type]  # what a user may write


def test_wrong_number_of_features_is_refused() -> None:
    with pytest.raises(ValueError, match=r"6 features .* not \(2, 2, 4\)"):
        build_unet((2, 2, 4))
