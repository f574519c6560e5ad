"""A tiny network and what OpenVINO makes of it, for the tests of the compiled form."""

import hashlib
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from inference.bfloat16 import in_bf16_if_near
from inference.compiled import load_compiled
from inference.manifest import Manifest
from inference.networks.unet import build_unet
from inference.predictor import Predictor, TorchPredictor
from inference.training.export import write_manifest
from inference.weights import load_network, read_manifest, weights_path
from tests.inference.test_predictor import MANIFEST

FEATURES = (2, 2, 4, 4, 4, 2)


@dataclass(frozen=True, kw_only=True)
class TinyModel:
    """A network in a folder, beside its cache; ``asked`` grows with each time that torch is needed."""

    folder: Path
    asked: list[str] = field(default_factory=list)

    @property
    def manifest_path(self) -> Path:
        return self.folder / "tiny.toml"

    @property
    def manifest(self) -> Manifest:
        return read_manifest(self.manifest_path)

    @property
    def cache_folder(self) -> Path:
        return self.folder / "cache"

    @property
    def kept(self) -> Path:
        return self.cache_folder / "models" / self.manifest.sha256

    def in_torch(self) -> TorchPredictor:
        self.asked.append("torch")
        network = load_network(self.manifest, self.manifest_path)
        return TorchPredictor(manifest=self.manifest, network=network, threads=1)

    def quickest_in_torch(self) -> TorchPredictor:
        return in_bf16_if_near(self.in_torch(), cache_folder=self.cache_folder, channels=lambda: image(1))

    def in_other_torch(self) -> TorchPredictor:
        """As if OpenVINO computed something else: the opposite of what the weights say."""

        class Contrary(nn.Module):
            def __init__(self, network: nn.Module) -> None:
                super().__init__()
                self.network = network

            def forward(self, image: torch.Tensor) -> torch.Tensor:
                logits: torch.Tensor = -self.network(image)
                return logits

        exact = self.in_torch()
        return replace(exact, network=Contrary(exact.network))

    def load(self, *, contrary: bool = False) -> Predictor:
        return load_compiled(
            self.manifest_path,
            self.manifest,
            self.in_other_torch if contrary else self.in_torch,
            cache_folder=self.cache_folder,
            channels=lambda: image(1),
            threads=1,
        )

    def copy(self, folder: Path) -> "TinyModel":
        return TinyModel(folder=Path(shutil.copytree(self.folder, folder / "model")))


def image(seed: int) -> NDArray[np.float32]:
    """Noise that takes eight windows."""
    return np.random.default_rng(seed).normal(size=(1, 48, 40, 36)).astype(np.float32)


def make_model(folder: Path) -> TinyModel:
    """Leave a tiny network of fixed weights, sure of what it says, in a folder."""
    torch.manual_seed(0)
    network = build_unet(FEATURES)
    tensors = {name: 10 * value if "final_conv" in name else value for name, value in network.state_dict().items()}
    model = TinyModel(folder=folder)
    path = weights_path(model.manifest_path)
    save_file(tensors, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    write_manifest(
        replace(MANIFEST, sha256=sha256, window=(32, 32, 32), features=FEATURES, threshold=0.5), model.manifest_path
    )
    return model
