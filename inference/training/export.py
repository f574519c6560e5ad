"""From a checkpoint to the two files that the package ships: weights as float16 safetensors, and their manifest."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from typing import Annotated, Any

import typer
from safetensors.torch import save_file
from torch import Tensor

from inference.confidence import Confidence
from inference.inputs import check_channels
from inference.labels import check_labels
from inference.manifest import Manifest
from inference.training.checkpoint import read_checkpoint
from inference.training.config import size_of
from inference.weights import read_manifest, weights_path

TRAINING_DATA = (
    "synthetic lesions in 49 real post-contrast glioma heads (TCGA-LGG, centres CS and DU) "
    "and in 17 SynthSeg label maps; no labelled metastasis"
)
LICENCE = "research use only (some training images are CC BY-NC-SA 4.0); the code is Apache-2.0"
FIRST_WEIGHTS, LAST_WEIGHTS = "conv_0.conv_0.conv.weight", "final_conv.weight"
# What a manifest says of a network only where it is not as published.
USUAL_NETWORK = {"activation": "leaky_relu", "normalisation": "instance"}


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a manifest says of weights beside what their checkpoint knows.

    Attributes
    ----------
    name, version
        Shown in SEG, SR and reports.
    training_data, licence
        For the report and the model card.
    channels, labels
        Names of inputs and classes, for a checkpoint that does not name them; None: as the checkpoint says.
    """

    name: str = "brainmets-detector"
    version: str
    training_data: str = TRAINING_DATA
    licence: str = LICENCE
    channels: Sequence[str] | None = None
    labels: Sequence[str] | None = None


def export_weights(checkpoint: Path, manifest_path: Path, card: Card) -> Manifest:
    """Write the averaged weights and a manifest with a neutral operating point.

    Parameters
    ----------
    checkpoint
        Of a supervised training, see `inference.training.train`.
    manifest_path
        TOML file to write; the weights go beside it.
    card
        What the manifest says of them.

    Raises
    ------
    ValueError
        If the checkpoint is of a self-supervised training, its channels and labels are not named or not as many as the
        network has, or weights are beyond float16.
    """
    saved = read_checkpoint(checkpoint)
    settings = saved["config"]
    if settings.get("objective") == "ssl":
        raise ValueError(
            f"{checkpoint} restores images and finds no lesions: fine-tune it first (initial), then export"
        )
    if settings.get("labelled") and card.training_data == TRAINING_DATA:
        raise ValueError(
            f"{checkpoint} learned from {', '.join(settings['labelled'])}: say so with --training-data and --licence"
        )
    channels = _names("channels", card.channels, settings, checkpoint)
    labels = _names("labels", card.labels, settings, checkpoint)
    check_channels(channels)
    check_labels(labels)
    _check_sizes(saved["average"], channels, labels)
    path = weights_path(manifest_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: _half(key, value) for key, value in saved["average"].items()}, path)
    path.chmod(0o644)  # the writer leaves it to its owner alone
    manifest = Manifest(
        name=card.name,
        version=card.version,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        channels=channels,
        labels=labels,
        spacing_mm=1.0,
        window=max(map(size_of, settings["patches"]), key=prod),
        features=tuple(settings["features"]),
        threshold=0.5,
        least_confidence=0.5,
        minimum_volume_mm3=8.0,
        overlap=0.25,
        training_data=card.training_data,
        licence=card.licence,
        network="stt" if settings.get("objective") == "recall" else "unet",
        **{key: settings[key] for key, usual in USUAL_NETWORK.items() if settings.get(key, usual) != usual},
    )
    write_manifest(manifest, manifest_path)
    return manifest


def _names(what: str, given: Sequence[str] | None, settings: Mapping[str, Any], checkpoint: Path) -> tuple[str, ...]:
    """Return the names that were given, or those of the checkpoint."""
    names = given or settings.get(what)
    if not isinstance(names, list | tuple):
        raise ValueError(  # noqa: TRY004 - the file's content is wrong, not a caller's type
            f"{checkpoint} does not name its {what} (it says {names!r}): name them with --{what}"
        )
    return tuple(names)


def _check_sizes(weights: Mapping[str, Tensor], channels: Sequence[str], labels: Sequence[str]) -> None:
    inputs, classes = weights[FIRST_WEIGHTS].shape[1], weights[LAST_WEIGHTS].shape[0]
    if (inputs, classes) != (len(channels), len(labels)):
        raise ValueError(
            f"the network has {inputs} inputs and {classes} classes, but {len(channels)} channels and {len(labels)} "
            f"labels are named: {tuple(channels)}, {tuple(labels)}"
        )


def _half(key: str, value: Tensor) -> Tensor:
    """Return weights as float16; counters stay whole numbers."""
    if not value.is_floating_point():
        return value.contiguous()
    half = value.half().contiguous()
    if not bool(half.isfinite().all()):
        raise ValueError(f"the weights {key} reach {float(value.abs().max()):.3g}, beyond float16: train them again")
    return half


def set_operating_point(manifest_path: Path, figures: Path) -> Manifest:
    """Take over the operating point that `inference.evaluation.froc` chose for these very weights.

    Raises
    ------
    ValueError
        If the figures are of other weights, or no confidence could be fitted to them.
    """
    manifest = read_manifest(manifest_path)
    content = json.loads(figures.read_text(encoding="utf-8"))
    if content["sha256"] != manifest.sha256:
        raise ValueError(f"{figures} judges other weights than {manifest_path} describes: evaluate these weights first")
    choice = content["choice"]
    if choice["confidence"] is None:
        raise ValueError(
            f"{figures} has no confidence, as the model found only lesions, only other things, or nothing at all: "
            "train it longer, or set threshold and least_confidence in the manifest by hand"
        )
    manifest = replace(manifest, **choice | {"confidence": Confidence(**choice["confidence"])})
    write_manifest(manifest, manifest_path)
    return manifest


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest as TOML that `inference.weights.read_manifest` reads back unchanged."""
    # JSON's strings, numbers and flat arrays are TOML's too.
    lines = [f"{key} = {_toml(value)}" for key, value in asdict(manifest).items() if value is not None]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(part)}" for key, part in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def main(  # noqa: PLR0913 - one for each option of the command line
    manifest: Annotated[Path, typer.Option(help="Manifest to write (TOML); the weights go beside it.")],
    *,
    checkpoint: Annotated[Path | None, typer.Option(help="Checkpoint to export.")] = None,
    version: Annotated[str, typer.Option(help="Version of the training.")] = "1.0.0",
    figures: Annotated[Path | None, typer.Option(help="JSON of inference.evaluation.froc: its choice is set.")] = None,
    name: Annotated[str, typer.Option(help="Name of the model.")] = "brainmets-detector",
    training_data: Annotated[str, typer.Option(help="What it learned from.")] = TRAINING_DATA,
    licence: Annotated[str, typer.Option(help="Licence of the weights.")] = LICENCE,
    channels: Annotated[
        str, typer.Option(help="Inputs, with commas between, where the checkpoint does not name them.")
    ] = "",
    labels: Annotated[str, typer.Option(help="Classes, likewise.")] = "",
) -> None:
    """Export a checkpoint, set an operating point, or both."""
    try:
        if checkpoint:
            card = Card(
                name=name,
                version=version,
                training_data=training_data,
                licence=licence,
                channels=_listed(channels),
                labels=_listed(labels),
            )
            export_weights(checkpoint, manifest, card)
        if figures:
            set_operating_point(manifest, figures)
    except (ValueError, FileNotFoundError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


def _listed(names: str) -> list[str] | None:
    return [name.strip() for name in names.split(",")] if names else None


if __name__ == "__main__":
    typer.run(main)
