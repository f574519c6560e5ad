"""A network in torch: the same answer every time, on as many threads as allowed, and on a GPU that is too small.

What a real GPU does is not covered: the errors are torch's own, but a network raises them that only says it is there.
"""

from dataclasses import replace
from typing import Any

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
    torch.set_num_threads(2)
    try:
        TorchPredictor(manifest=MANIFEST, network=network, threads=1).predict(np.ones((1, 16, 16, 16), np.float32))
        assert network.threads == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(2, 16, 16, 16), (16, 16, 16)])
def test_wrong_channels_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="takes 1 channels"):
        TorchPredictor(manifest=MANIFEST, network=Brightness()).predict(np.zeros(shape, np.float32))


def test_an_answer_that_is_no_number_is_no_brain_without_lesions() -> None:
    image = np.ones((1, 16, 16, 16), np.float32)
    image[0, 3, 4, 5] = np.nan
    with pytest.raises(ValueError, match=r"brightness answered what is no number in 1 voxels: look for such values"):
        TorchPredictor(manifest=MANIFEST, network=Brightness()).predict(image)


class SmallGpu(Brightness):
    """Says it lies on a GPU, where windows of more than so many voxels do not fit; arrays stay on the processor."""

    def __init__(self, most_voxels: int) -> None:
        super().__init__()
        self.most_voxels = most_voxels
        self.home = "cpu"
        self.windows: list[tuple[str, tuple[int, ...]]] = []

    def to(self, device: Any) -> "SmallGpu":  # type: ignore[override]
        self.home = device
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "SmallGpu":
        copy = SmallGpu(self.most_voxels)
        copy.windows = self.windows
        return copy

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.windows.append((self.home, tuple(image.shape[2:])))
        if self.home == "cuda" and image[0, 0].numel() > self.most_voxels:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().forward(image)


@pytest.mark.parametrize(
    ("most_voxels", "attempts"),
    [
        (96 * 80 * 32, [("cuda", (96, 80, 32))]),
        (48 * 32 * 32, [("cuda", (96, 80, 32)), ("cuda", (48, 32, 32))]),
        (0, [("cuda", (96, 80, 32)), ("cuda", (48, 32, 32)), ("cuda", (32, 32, 32)), ("cpu", (96, 80, 32))]),
    ],
)
def test_a_full_gpu_gets_smaller_windows_and_then_the_processor_computes(
    most_voxels: int, attempts: list[tuple[str, tuple[int, ...]]], caplog: pytest.LogCaptureFixture
) -> None:
    network = SmallGpu(most_voxels)
    predictor = TorchPredictor(manifest=replace(MANIFEST, window=(96, 80, 32)), network=network, device="cuda")
    image = np.random.default_rng(0).normal(size=(1, 100, 90, 40)).astype(np.float32)
    result = predictor.predict(image)
    assert list(dict.fromkeys(network.windows)) == attempts
    np.testing.assert_allclose(result[1], 1 / (1 + np.exp(-image[0])), atol=1e-5)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == len(attempts) - 1
    for warning, (device, size) in zip(warnings, attempts[1:], strict=True):
        assert warning.endswith(f"computing again on {device} in windows of {size}")
    assert network.home == "cpu"


def test_a_gpu_that_cannot_even_hold_the_weights_is_left_alone() -> None:
    class Full(SmallGpu):
        def __deepcopy__(self, memo: dict[int, Any]) -> "SmallGpu":
            raise RuntimeError("CUDA error: out of memory")

    network = Full(0)
    image = np.ones((1, 16, 16, 16), np.float32)
    TorchPredictor(manifest=MANIFEST, network=network, device="cuda").predict(image)
    assert network.windows == [("cpu", (16, 16, 16))]


def test_other_failures_of_a_gpu_are_not_hidden() -> None:
    class Broken(SmallGpu):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            if self.home == "cuda":
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            return super().forward(image)

        def __deepcopy__(self, memo: dict[int, Any]) -> "Broken":
            return Broken(0)

    with pytest.raises(RuntimeError, match="illegal memory access"):
        TorchPredictor(manifest=MANIFEST, network=Broken(0), device="cuda").predict(
            np.ones((1, 16, 16, 16), np.float32)
        )


def test_bfloat16_is_used_where_asked_for_and_not_otherwise() -> None:
    network = nn.Conv3d(1, 2, 3, padding=1)
    image = np.random.default_rng(2).normal(size=(1, 20, 20, 20)).astype(np.float32)
    exact = TorchPredictor(manifest=MANIFEST, network=network)
    quick = replace(exact, bf16=True)
    difference = np.abs(exact.predict(image) - quick.predict(image)).max()
    assert 1e-5 < difference < 2e-2
    assert exact.engine == f"torch {torch.__version__} cpu float32"
    assert quick.engine == f"torch {torch.__version__} cpu bfloat16"
