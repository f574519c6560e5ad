"""The compiled form: it says what torch says, is kept under the weights' checksum, and gives way when it does not."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from inference.compiled import CompiledPredictor, load_compiled, open_compiled
from inference.predictor import Predictor, TorchPredictor
from tests.inference.test_predictor import MANIFEST

pytest.importorskip("openvino", reason="OpenVINO is optional")
WEIGHTS = replace(MANIFEST, sha256="a" * 64)


class Edges(nn.Module):
    """A small network with normalisation, of fixed weights."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(
            nn.Conv3d(1, 8, 3, padding=1), nn.InstanceNorm3d(8), nn.LeakyReLU(0.1), nn.Conv3d(8, 2, 3, padding=1)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = 3 * self.layers(image)
        return logits


class Model:
    """Makes the network and the images, and counts how often it was asked to."""

    def __init__(self, folder: Path, network: nn.Module | None = None) -> None:
        self.folder = folder
        self.network = network or Edges()
        self.made = 0

    def load(self, sha256: str = WEIGHTS.sha256, images: NDArray[np.float32] | None = None) -> Predictor | None:
        manifest = replace(WEIGHTS, sha256=sha256)

        def reference() -> TorchPredictor:
            self.made += 1
            return TorchPredictor(manifest=manifest, network=self.network.eval(), threads=1)

        return load_compiled(
            manifest,
            reference,
            cache_folder=self.folder,
            channels=lambda: image(1) if images is None else images,
            threads=1,
        )


def image(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(1, 40, 33, 21)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return Model(tmp_path)


def test_says_what_torch_says(model: Model) -> None:
    compiled = model.load()
    assert isinstance(compiled, CompiledPredictor)
    expected = TorchPredictor(manifest=WEIGHTS, network=model.network).predict(image(2))
    exact = open_compiled(model.folder / "models" / WEIGHTS.sha256, WEIGHTS, precision="f32", threads=1)
    found = compiled.predict(image(2))
    np.testing.assert_allclose(exact.predict(image(2)), expected, atol=1e-3)
    np.testing.assert_allclose(found, expected, atol=5e-2)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, compiled.predict(image(2)))
    assert compiled.engine.startswith("OpenVINO 20")


def test_made_once(model: Model) -> None:
    first, second = model.load(), model.load()
    assert model.made == 1
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.predict(image(2)), second.predict(image(2)))


def test_other_weights_never_use_the_old_form(model: Model) -> None:
    model.load()
    model.network = Edges(seed=1)
    other = model.load("b" * 64)
    assert model.made == 2
    assert other is not None
    expected = TorchPredictor(manifest=WEIGHTS, network=model.network).predict(image(2))
    np.testing.assert_allclose(other.predict(image(2)), expected, atol=5e-2)


@pytest.mark.parametrize("name", ["openvino.bin", "openvino.xml", "openvino.json"])
def test_a_damaged_file_is_made_again(model: Model, name: str, caplog: pytest.LogCaptureFixture) -> None:
    model.load()
    path = model.folder / "models" / WEIGHTS.sha256 / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    again = model.load()
    assert model.made == 2
    assert name in caplog.text
    assert "made again" in caplog.text
    assert again is not None
    expected = TorchPredictor(manifest=WEIGHTS, network=model.network).predict(image(2))
    np.testing.assert_allclose(again.predict(image(2)), expected, atol=5e-2)
    assert path.read_bytes() != bytes(content)


def test_what_does_not_agree_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Drifting(Edges):
        """It says the contrary once it is compiled."""

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            logits = super().forward(image)
            return -logits if torch.compiler.is_exporting() else logits

    model = Model(tmp_path, Drifting())
    assert model.load() is None
    assert "torch computes" in caplog.text
    assert model.load() is None
    assert model.made == 1  # the verdict is kept, too


def test_images_that_show_nothing_prove_nothing(model: Model) -> None:
    assert model.load(images=np.zeros((1, 16, 16, 16), np.float32)) is None


def test_what_cannot_be_converted_is_left_to_torch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(image.numpy())

    assert Model(tmp_path, Stubborn()).load() is None
    assert "cannot be compiled" in caplog.text


@pytest.mark.parametrize("shape", [(2, 16, 16, 16), (16, 16, 16)])
def test_wrong_channels_are_refused(model: Model, shape: tuple[int, ...]) -> None:
    compiled = model.load()
    assert compiled is not None
    with pytest.raises(ValueError, match="takes 1 channels"):
        compiled.predict(np.zeros(shape, np.float32))


def test_threads_are_bounded(model: Model) -> None:
    compiled = model.load()
    assert isinstance(compiled, CompiledPredictor)
    assert compiled.model.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.model.get_property("NUM_STREAMS") == 1
    assert compiled.model.get_property("ENABLE_CPU_PINNING") is False


def test_nothing_is_reported_to_anybody(tmp_path: Path) -> None:
    """Even where the telemetry package is installed, it is not so much as imported."""
    (tmp_path / "openvino_telemetry").mkdir()
    (tmp_path / "openvino_telemetry" / "__init__.py").write_text("raise SystemExit('telemetry was imported')\n")
    code = "from inference.compiled import _openvino; _openvino().convert_model; print('quiet')"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    found = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert found.stdout == "quiet\n", found.stderr
