"""bfloat16 in torch: used where processor and weights bear it, decided once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from inference.bfloat16 import FLAGS, in_bf16_if_near
from inference.kept import processor_flags
from inference.predictor import TorchPredictor
from tests.inference.test_compiled import WEIGHTS, Edges, image

HAS_BF16 = bool(FLAGS & processor_flags())


class Fragile(nn.Module):
    """Adds what bfloat16, with 8 bits, cannot tell from what is there, and takes it away again."""

    def __init__(self) -> None:
        super().__init__()
        self.keep = nn.Conv3d(1, 2, 1, bias=False)
        nn.init.constant_(self.keep.weight, 1.0)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        lesion = (self.keep(image + 512) - 512)[:, :1]
        return torch.cat([torch.zeros_like(lesion), 3 * lesion], 1)


def decide(network: nn.Module, folder: Path, seen: list[int]) -> TorchPredictor:
    def channels() -> NDArray[np.float32]:
        seen.append(1)
        return image(1)

    predictor = TorchPredictor(manifest=WEIGHTS, network=network.eval(), threads=1)
    return in_bf16_if_near(predictor, cache_folder=folder, channels=channels)


def test_weights_that_bear_it_get_it_and_are_asked_once(tmp_path: Path) -> None:
    asked: list[int] = []
    first, second = decide(Edges(), tmp_path, asked), decide(Edges(), tmp_path, asked)
    assert first.bf16 is second.bf16 is HAS_BF16
    assert len(asked) == HAS_BF16


@pytest.mark.skipif(not HAS_BF16, reason="this processor has no bfloat16")
def test_weights_that_do_not_bear_it_stay_in_float32(tmp_path: Path) -> None:
    asked: list[int] = []
    assert not decide(Fragile(), tmp_path, asked).bf16
    assert not decide(Fragile(), tmp_path, asked).bf16
    assert len(asked) == 1


@pytest.mark.skipif(not HAS_BF16, reason="this processor has no bfloat16")
def test_a_verdict_on_other_weights_does_not_count(tmp_path: Path) -> None:
    asked: list[int] = []
    decide(Edges(), tmp_path, asked)
    predictor = TorchPredictor(manifest=replace(WEIGHTS, sha256="b" * 64), network=Fragile().eval(), threads=1)
    assert not in_bf16_if_near(predictor, cache_folder=tmp_path, channels=lambda: image(1)).bf16
