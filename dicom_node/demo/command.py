"""``dicom-node demo``; this module loads nothing heavy, so that ``dicom-node --help`` answers at once."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dicom_node.packages import require_own_packages

# A patient in whom every state of a lesion is found; how often lesions are missed, the model card says.
DEFAULT_SEED = 2


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results; an earlier demonstration's is replaced.")] = Path(
        "demo-out"
    ),
    seed: Annotated[int, typer.Option(min=0, max=999_999, help="Which synthetic patient.")] = DEFAULT_SEED,
) -> None:
    """Send a synthetic patient's three studies to a node and hold its results against the known truth."""
    require_own_packages()
    console = Console()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the node is stopped, too
    console.print("Loading the generator, the network and the viewer's tools …")
    from dicom_node.demo.outputs import show  # late: these load torch
    from dicom_node.demo.run import run_demo

    show(run_demo(out=out, seed=seed, console=console), out, console)
