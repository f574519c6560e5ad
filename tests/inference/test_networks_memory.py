"""A memory that is added to a trained network must change nothing until it has learnt something."""

import pytest
import torch

from inference.networks.memory import freeze_all_but_memory, start_from_unet
from inference.networks.stt import SpatioTemporalUNet
from inference.networks.unet import build_unet

FEATURES = (4, 4, 8, 8, 16, 4)


@pytest.fixture
def pair() -> tuple[torch.nn.Module, SpatioTemporalUNet]:
    torch.manual_seed(0)
    unet = build_unet(FEATURES, channels=2, labels=3).eval()
    stt = SpatioTemporalUNet(FEATURES, channels=2, labels=3).eval()
    start_from_unet(stt, unet.state_dict())
    return unet, stt


@torch.inference_mode()
def test_the_first_answers_are_the_unets_with_one_study_and_with_several(
    pair: tuple[torch.nn.Module, SpatioTemporalUNet],
) -> None:
    unet, stt = pair
    images = torch.randn(1, 3, 2, 32, 32, 32)
    expected = unet(images[:, -1]).softmax(1)
    alone, _ = stt(images[:, -1:])
    with_history, _ = stt(images)
    assert float((alone.softmax(1) - expected).abs().max()) < 0.05
    assert float((with_history.softmax(1) - expected).abs().max()) < 0.08
    # and nothing of this is trivial: another study has another answer
    assert float((unet(images[:, 0]).softmax(1) - expected).abs().max()) > 0.2


def test_only_the_memory_learns(pair: tuple[torch.nn.Module, SpatioTemporalUNet]) -> None:
    _, stt = pair
    before = {name: value.clone() for name, value in stt.state_dict().items()}
    optimiser = torch.optim.SGD(freeze_all_but_memory(stt), lr=1.0)
    logits, _ = stt(torch.randn(1, 2, 2, 32, 32, 32))
    logits.square().mean().backward()
    optimiser.step()
    changed = {name for name, value in stt.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"convlstm.conv.weight", "convlstm.conv.bias"}


def test_weights_of_another_network_are_refused() -> None:
    stt = SpatioTemporalUNet(FEATURES, channels=2, labels=3)
    with pytest.raises(RuntimeError, match="size mismatch"):
        start_from_unet(stt, build_unet((8, 8, 8, 8, 16, 4), channels=2, labels=3).state_dict())
