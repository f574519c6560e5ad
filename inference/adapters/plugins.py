"""The one place that knows which kinds of plug-ins there are."""

from pathlib import Path

from inference.adapters.manifest import NnUNetManifest, PluginManifest, read_plugin_manifest, verified
from inference.adapters.monai_bundle import load_bundle
from inference.adapters.nnunet import load_nnunet
from inference.tissue_model import TissueModel


def verify_plugin(path: Path) -> PluginManifest:
    """Check a plug-in's manifest and files without loading the model; see `inference.adapters.manifest.verified`."""
    return verified(read_plugin_manifest(path))


def load_plugin(path: Path, *, threads: int | None = None) -> TissueModel:
    """Open the plug-in that a manifest describes.

    Parameters
    ----------
    path
        The manifest, TOML.
    threads
        Processor threads it may use; None: one per core.

    Raises
    ------
    PluginError
        If the manifest or the model cannot be used.
    """
    manifest = read_plugin_manifest(path)
    if isinstance(manifest, NnUNetManifest):
        return load_nnunet(manifest, threads=threads)
    return load_bundle(manifest, threads=threads)
