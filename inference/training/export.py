"""From a checkpoint to the two files that the package ships: weights as float16 safetensors, and their manifest."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from safetensors.torch import save_file

from inference.manifest import Manifest
from inference.training.checkpoint import read_checkpoint
from inference.weights import read_manifest, weights_path

TRAINING_DATA = (
    "synthetic lesions in 49 real post-contrast glioma heads (TCGA-LGG, centres CS and DU) "
    "and in 17 or 18 SynthSeg label maps; no labelled metastasis"
)
LICENCE = "research use only (some training images are CC BY-NC-SA 4.0); the code is Apache-2.0"


def export_weights(checkpoint: Path, manifest_path: Path, *, version: str) -> Manifest:
    """Write the averaged weights and a manifest with a neutral operating point.

    Parameters
    ----------
    checkpoint
        Written by `inference.training.train`.
    manifest_path
        TOML file to write; the weights go beside it.
    version
        Version of this training.
    """
    saved = read_checkpoint(checkpoint)
    path = weights_path(manifest_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.half().contiguous() for key, value in saved["average"].items()}, path)
    path.chmod(0o644)  # the writer leaves it to its owner alone
    settings = saved["config"]
    edge = max(settings["patches"])
    manifest = Manifest(
        name="brainmets-detector",
        version=version,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        channels=tuple(settings["channels"]),
        labels=tuple(settings["labels"]),
        spacing_mm=1.0,
        window=(edge, edge, edge),
        features=tuple(settings["features"]),
        threshold=0.5,
        peak_threshold=0.5,
        minimum_volume_mm3=8.0,
        overlap=0.25,
        training_data=TRAINING_DATA,
        licence=LICENCE,
    )
    write_manifest(manifest, manifest_path)
    return manifest


def set_operating_point(manifest_path: Path, figures: Path) -> Manifest:
    """Take over the operating point that `inference.evaluation.froc` chose for these very weights.

    Raises
    ------
    ValueError
        If the figures are of other weights.
    """
    manifest = read_manifest(manifest_path)
    content = json.loads(figures.read_text(encoding="utf-8"))
    if content["sha256"] != manifest.sha256:
        raise ValueError(f"{figures} judges other weights than {manifest_path} describes: evaluate these weights first")
    manifest = replace(manifest, **content["choice"])
    write_manifest(manifest, manifest_path)
    return manifest


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest as TOML that `inference.weights.read_manifest` reads back unchanged."""
    # JSON's strings, numbers and flat arrays are TOML's too.
    lines = [f"{key} = {_toml(value)}" for key, value in asdict(manifest).items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def main(
    manifest: Annotated[Path, typer.Option(help="Manifest to write (TOML); the weights go beside it.")],
    checkpoint: Annotated[Path | None, typer.Option(help="Checkpoint to export.")] = None,
    version: Annotated[str, typer.Option(help="Version of the training.")] = "1.0.0",
    figures: Annotated[Path | None, typer.Option(help="JSON of inference.evaluation.froc: its choice is set.")] = None,
) -> None:
    """Export a checkpoint, set an operating point, or both."""
    if checkpoint:
        export_weights(checkpoint, manifest, version=version)
    if figures:
        set_operating_point(manifest, figures)


if __name__ == "__main__":
    typer.run(main)
