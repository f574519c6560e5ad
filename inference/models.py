"""Every model behind one door: a manifest says whether it is a network of ours or a user's plug-in."""

import tomllib
from functools import lru_cache
from pathlib import Path

from inference.adapters.manifest import read_plugin_manifest
from inference.adapters.plugins import load_plugin, verify_plugin
from inference.grid_model import GridModel
from inference.tissue_model import ModelDescription, TissueModel
from inference.weights import load_predictor, read_manifest, verify_weights


def read_model(path: Path) -> ModelDescription:
    """Read what a manifest says of its model.

    Raises
    ------
    WeightsError
        If the manifest is missing or cannot be used.
    """
    return read_plugin_manifest(path) if _is_plugin(path) else read_manifest(path)


def verify_model(path: Path) -> ModelDescription:
    """Check a model's files against its manifest, without loading it.

    Raises
    ------
    WeightsError
        If something is missing, damaged or of another version.
    """
    return verify_plugin(path) if _is_plugin(path) else verify_weights(path)


def load_model(path: Path, *, threads: int | None = None, cache_folder: Path | None = None) -> TissueModel:
    """Load a model that is ready to run; it stays loaded in this process until its files change.

    Parameters
    ----------
    path
        Its manifest.
    threads
        Processor threads it may use; None: one per core.
    cache_folder
        Where comparisons of our own networks' arithmetic are kept; see `inference.weights.load_predictor`.

    Raises
    ------
    WeightsError
        If the model cannot be used.
    """
    if _is_plugin(path):
        return _plugin(path, verify_plugin(path).sha256, threads)
    return GridModel(predictor=load_predictor(path, threads=threads, cache_folder=cache_folder))


@lru_cache(maxsize=1)
def _plugin(path: Path, sha256: str, threads: int | None) -> TissueModel:  # noqa: ARG001 - changed files are loaded anew
    return load_plugin(path, threads=threads)


def _is_plugin(path: Path) -> bool:
    """Tell a plug-in's manifest by its ``kind``; what cannot be read is left to the reader of our own, who says why."""
    try:
        return "kind" in tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError):
        return False
