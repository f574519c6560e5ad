"""bfloat16 in torch: used where processor and weights bear it, decided once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from inference import bfloat16
from inference.bfloat16 import FLAGS, in_bf16_if_near
from inference.predictor import TorchPredictor
from tests.inference.test_predictor import MANIFEST

WEIGHTS = replace(MANIFEST, sha256="a" * 64)


@pytest.fixture(autouse=True)
def able_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch can compute bfloat16 on any processor, only slowly on most."""
    monkeypatch.setattr(bfloat16, "processor_flags", lambda: FLAGS)


class Edges(nn.Module):
    """A small network with normalisation, of fixed weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv3d(1, 8, 3, padding=1), nn.InstanceNorm3d(8), nn.LeakyReLU(0.1), nn.Conv3d(8, 2, 3, padding=1)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = 3 * self.layers(image)
        return logits


def image(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(1, 40, 33, 21)).astype(np.float32)


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
    assert first.bf16 is second.bf16 is True
    assert len(asked) == 1


def test_weights_that_do_not_bear_it_stay_in_float32(tmp_path: Path) -> None:
    asked: list[int] = []
    assert not decide(Fragile(), tmp_path, asked).bf16
    assert not decide(Fragile(), tmp_path, asked).bf16
    assert len(asked) == 1


def test_a_verdict_on_other_weights_does_not_count(tmp_path: Path) -> None:
    asked: list[int] = []
    decide(Edges(), tmp_path, asked)
    predictor = TorchPredictor(manifest=replace(WEIGHTS, sha256="b" * 64), network=Fragile().eval(), threads=1)
    assert not in_bf16_if_near(predictor, cache_folder=tmp_path, channels=lambda: image(1)).bf16


def test_a_processor_without_it_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bfloat16, "processor_flags", frozenset)
    asked: list[int] = []
    assert not decide(Edges(), tmp_path, asked).bf16
    assert not asked
