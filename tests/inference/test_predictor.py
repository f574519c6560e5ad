"""Sliding windows: the same answer every time, wherever the windows fall, on as many threads as allowed."""

import numpy as np
import pytest
import torch
from torch import nn

from inference.manifest import Manifest
from inference.predictor import TorchPredictor

MANIFEST = Manifest(
    name="brightness",
    version="1",
    sha256="",
    channels=("T1c",),
    labels=("background", "lesion"),
    spacing_mm=1.0,
    window=(16, 16, 16),
    features=(),
    threshold=0.5,
    minimum_volume_mm3=1.0,
    training_data="none",
    licence="none",
)


class Brightness(nn.Module):
    """Logit of lesion = intensity, voxel by voxel: the result of any window layout is known."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.threads: set[int] = set()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.threads.add(torch.get_num_threads())
        return torch.cat([torch.zeros_like(image), self.gain * image], 1)


@pytest.mark.parametrize("shape", [(16, 16, 16), (40, 33, 21), (5, 50, 9)])
def test_windows_of_any_layout_give_the_voxelwise_answer(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    result = TorchPredictor(manifest=MANIFEST, network=Brightness()).predict(image)
    assert result.shape == (2, *shape)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[1], 1 / (1 + np.exp(-image[0])), atol=1e-5)
    np.testing.assert_allclose(result.sum(0), 1, atol=1e-5)


def test_the_same_image_gives_the_same_bits() -> None:
    image = np.random.default_rng(1).normal(size=(1, 24, 24, 24)).astype(np.float32)
    predictor = TorchPredictor(manifest=MANIFEST, network=Brightness())
    np.testing.assert_array_equal(predictor.predict(image), predictor.predict(image))


def test_threads_are_bounded_and_given_back() -> None:
    network, before = Brightness(), torch.get_num_threads()
    TorchPredictor(manifest=MANIFEST, network=network, threads=1).predict(np.zeros((1, 16, 16, 16), np.float32))
    assert network.threads == {1}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("shape", [(2, 16, 16, 16), (16, 16, 16)])
def test_wrong_channels_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="takes 1 channels"):
        TorchPredictor(manifest=MANIFEST, network=Brightness()).predict(np.zeros(shape, np.float32))
