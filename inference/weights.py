"""Weights are loaded only with their manifest, and only if they are byte for byte what the manifest names."""

import hashlib
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from inference.manifest import Manifest
from inference.predictor import TorchPredictor


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
        raise WeightsError(f"the model manifest {path} has unknown keys: {', '.join(unknown)}")
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


def load_predictor(manifest_path: Path, *, threads: int | None = None) -> TorchPredictor:
    """Load a model that is ready to run; weights stored as float16 compute in float32.

    Parameters
    ----------
    manifest_path
        The manifest (TOML); the weights lie beside it under the same name, ending in ``.safetensors``.
    threads
        Processor threads it may use; None: one per core.

    Raises
    ------
    WeightsError
        If weights or manifest are missing, do not belong together or do not fit the network.
    """
    manifest = verify_weights(manifest_path)
    import torch  # late: checking weights needs no torch
    from safetensors.torch import load_file

    from inference.networks.unet import build_unet

    network = build_unet(manifest.features, channels=len(manifest.channels), labels=len(manifest.labels))
    tensors: dict[str, Any] = {key: value.float() for key, value in load_file(weights_path(manifest_path)).items()}
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise WeightsError(f"the weights of {manifest.name} do not fit its features {manifest.features}") from error
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return TorchPredictor(manifest=manifest, network=network.to(device).eval(), threads=threads)
