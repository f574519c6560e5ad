"""The command line of a training; settings are read and checked before anything long begins."""

import json
import logging
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.logging import RichHandler

if TYPE_CHECKING:
    from inference.training.config import TrainingConfig
    from inference.training.sources import Sources

log = logging.getLogger("inference.training")

USUAL_DATA = Path("../shared/data")
MANIFEST = "model.toml"
Preset = StrEnum("Preset", ["default", "ucsf", "nyumets", "nyumets_stt", "chuv"])


def main(  # noqa: PLR0913 - one for each option of the command line
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, heads and weights (resumed from when it exists).")],
    *,
    preset: Annotated[Preset, typer.Option(help="Named settings to begin with.")] = Preset.default,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings, which change the preset's.")] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="key=value: a single setting; can be repeated.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help=f"Folder with heads/ and label_maps/ (without it: {USUAL_DATA}, or the package's own head)."),
    ] = None,
    labelled: Annotated[
        list[str] | None,
        typer.Option(help="kind=folder: a labelled data set to learn from, see docs/training.md; can be repeated."),
    ] = None,
    fold: Annotated[
        int | None, typer.Option(help="Train this fold alone, counted from 0 (without it: all, in turn).")
    ] = None,
    version: Annotated[str, typer.Option(help="Version of the weights, for their manifest.")] = "0.1.0",
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke",
            help="Shrink everything but what --set says, and run to the end in under a minute, without data but the "
            "labelled.",
        ),
    ] = False,
) -> None:
    """Train the lesion detector on synthetic lesions and labelled data sets, and write weights with their manifest."""
    changes = [
        *(change or []),
        *([f"labelled={json.dumps(labelled)}"] if labelled else []),
        *([f"fold={fold}"] if fold is not None else []),
    ]
    try:
        # Late: torch takes seconds to load, and neither --help nor a mistyped option needs it.
        from inference.training.settings import changed, read_settings
        from inference.training.settings import smoke as shrunk

        start_log()
        settings = read_settings(preset, file=config, changes=changes)
        settings = changed(shrunk(settings), changes) if smoke else settings
        heads = found_data(data) if settings.synthetic_heads and not smoke else None
        _train_all(settings, out, data=heads, label=Label(preset, version, smoke))
    except (ValueError, FileNotFoundError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


class Label(NamedTuple):
    """What the weights are called, and whether they are of a smoke test."""

    preset: str
    version: str
    smoke: bool


def found_data(data: Path | None) -> Path | None:
    """Return the folder with heads: the one given, or the usual one if it is there."""
    if data is None and not USUAL_DATA.exists():
        log.warning("no data: learning from the one head that comes with this package, and judged by it too")
        return None
    return data or USUAL_DATA


def _train_all(settings: "TrainingConfig", out: Path, *, data: Path | None, label: Label) -> None:
    """Make every training that the settings ask for, and write the weights of each."""
    from inference.training.members import members, run_member  # late: see above
    from inference.training.sources import find_sources, smoke_sources

    log.info("%s", settings)
    everyone = members(settings, out)
    for number, (folder, member) in enumerate(everyone.items(), start=1):
        log.info("training %d of %d in %s", number, len(everyone), folder)
        sources = smoke_sources(member) if label.smoke else find_sources(data, member)
        run_member(member, sources, folder)
        if member.objective != "ssl":
            _export(folder, sources, label)


def _export(folder: Path, sources: "Sources", label: Label) -> None:
    from inference.training.export import Card, export_weights  # late: see above

    card = Card(
        name=f"brainmets-{label.preset}",
        version=label.version,
        training_data=f"smoke test, of no use; {sources.training_data}" if label.smoke else sources.training_data,
        licence=sources.licence,
    )
    export_weights(folder / "checkpoint.pt", folder / MANIFEST, card)
    log.info("wrote %s", folder / MANIFEST)


def start_log() -> None:
    """Send the log to the terminal beside the bar, or to a file in plain lines."""
    from inference.training.monitor import CONSOLE  # late: see above

    bar = [RichHandler(console=CONSOLE, show_path=False)] if CONSOLE.is_terminal else None
    logging.basicConfig(level=logging.INFO, format="%(message)s" if bar else "%(asctime)s %(message)s", handlers=bar)
