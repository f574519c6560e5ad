"""Weights are loaded only with their manifest, and only if they are byte for byte what the manifest names."""

import hashlib
import tomllib
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from inference.agreement import generated_channels
from inference.bfloat16 import in_bf16_if_near
from inference.compiled import is_installed, load_compiled
from inference.manifest import Manifest, hint_for
from inference.predictor import Predictor, TorchPredictor

if TYPE_CHECKING:
    from torch import nn

GPU_DEVICES: Final = (Path("/dev/nvidiactl"), Path("/dev/dxg"), Path("/dev/kfd"))  # Linux, Windows' Linux, AMD
MOST_LOADED: Final = 2


class WeightsError(ValueError):
    """The weights or their manifest cannot be used."""


def default_manifest_path() -> Path:
    """Return the manifest of the detector that comes with this package."""
    return Path(__file__).with_name("data") / "detector.toml"


def read_manifest(path: Path) -> Manifest:
    """Read a model's manifest (TOML, one key per field of `Manifest`).

    Raises
    ------
    WeightsError
        If the file is missing, no TOML, lacks a key or has an unknown one.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(
            f"no model manifest at {path}: {error.strerror}; reinstall or name another manifest"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise WeightsError(f"the model manifest {path} is no valid TOML: {error}") from error
    names = {field.name for field in fields(Manifest)}
    if unknown := sorted(set(content) - names):
        raise WeightsError(f"the model manifest {path} has unknown keys: {', '.join(unknown)}{hint_for(unknown)}")
    try:
        return TypeAdapter(Manifest).validate_python(content)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg'].lower()}" for e in error.errors())
        raise WeightsError(f"the model manifest {path} is not usable: {problems}") from error


def weights_path(manifest_path: Path) -> Path:
    """Return the weights file of a manifest: the same name, ending in ``.safetensors``."""
    return manifest_path.with_suffix(".safetensors")


def verify_weights(manifest_path: Path) -> Manifest:
    """Check a model's weights against the checksum in its manifest, without loading them.

    Returns
    -------
    Manifest
        The manifest, when the checksum agrees.

    Raises
    ------
    WeightsError
        If weights or manifest are missing or do not belong together.
    """
    manifest = read_manifest(manifest_path)
    path = weights_path(manifest_path)
    if not path.is_file():
        raise WeightsError(f"no weights at {path}: reinstall the package or restore the file")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != manifest.sha256:
        raise WeightsError(
            f"the weights {path} have checksum {found[:12]}…, the manifest wants {manifest.sha256[:12]}…: "
            "the file is damaged or of another version; restore both files together"
        )
    return manifest


def load_predictor(manifest_path: Path, *, threads: int | None = None, cache_folder: Path | None = None) -> Predictor:
    """Load a model that is ready to run, in the quickest form that agrees with float32 in torch.

    That is torch on the GPU where there is one, else OpenVINO where it is installed, else torch in bfloat16 or float32.
    A model stays loaded: the next call gives the same one, unless its files have changed.

    Parameters
    ----------
    manifest_path
        The manifest (TOML); the weights lie beside it under the same name, ending in ``.safetensors``.
    threads
        Processor threads it may use; None: one per core.
    cache_folder
        Where converted networks and the outcome of comparisons are kept; they are made the first time, in about a
        minute.
        None: nothing is kept, and torch computes in float32.

    Raises
    ------
    WeightsError
        If weights or manifest are missing, do not belong together or do not fit the network.
    """
    return _ready(verify_weights(manifest_path), manifest_path, threads, cache_folder)


@lru_cache(maxsize=MOST_LOADED)
def _ready(manifest: Manifest, manifest_path: Path, threads: int | None, cache_folder: Path | None) -> Predictor:
    """Return a model that stays loaded in this process; the manifest's checksum tells other weights apart."""

    def in_torch() -> TorchPredictor:
        return TorchPredictor(manifest=manifest, network=load_network(manifest, manifest_path), threads=threads)

    def channels() -> NDArray[np.float32]:
        return generated_channels(manifest, threads=threads)

    if _has_gpu():
        return replace(in_torch(), device="cuda")
    if cache_folder is None:
        return in_torch()
    if is_installed() and not manifest.remembers:  # the compiled form has one timepoint
        return load_compiled(
            manifest_path, manifest, in_torch, cache_folder=cache_folder, channels=channels, threads=threads
        )
    return in_bf16_if_near(in_torch(), cache_folder=cache_folder, channels=channels)


def load_network(manifest: Manifest, manifest_path: Path) -> "nn.Module":
    """Return a network on the processor in evaluation mode; weights stored as float16 compute in float32."""
    from safetensors.torch import load_file  # late: checking weights needs no torch

    network = _build_network(manifest)
    tensors: dict[str, Any] = {key: value.float() for key, value in load_file(weights_path(manifest_path)).items()}
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise WeightsError(f"the weights of {manifest.name} do not fit its features {manifest.features}") from error
    return network.eval()


def _build_network(manifest: Manifest) -> "nn.Module":
    from inference.networks.stt import SpatioTemporalUNet  # late: see above
    from inference.networks.unet import build_unet

    channels, labels = len(manifest.channels), len(manifest.labels)
    if manifest.network == "stt":
        return SpatioTemporalUNet(manifest.features, channels=channels, labels=labels)
    return build_unet(
        manifest.features,
        channels=channels,
        labels=labels,
        activation=manifest.activation,
        normalisation=manifest.normalisation,
    )


def _has_gpu() -> bool:
    """Tell whether torch can use a GPU; it is asked only where there can be one, since it takes seconds to load."""
    if not any(path.exists() for path in GPU_DEVICES):
        return False
    import torch

    return torch.cuda.is_available()
