"""A checkpoint is written whole or not at all, and holds all that a run needs to go on as if never stopped."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Generator, nn
from torch.optim import Optimizer

from inference.training.config import TrainingConfig
from inference.training.patches import HardPlaces, Place


@dataclass(kw_only=True, eq=False)
class TrainingState:
    """What changes from step to step.

    Attributes
    ----------
    network, average
        The network in training and its exponential moving average, which is what gets used.
    optimiser
        AdamW with its moments.
    generator
        Source of all patches.
    hard
        Where the network erred lately.
    step
        Steps made.
    elapsed_s
        Seconds of computing so far, over all resumed runs.
    """

    network: nn.Module
    average: nn.Module
    optimiser: Optimizer
    generator: Generator
    hard: HardPlaces = field(default_factory=HardPlaces)
    step: int = 0
    elapsed_s: float = 0.0


def save_checkpoint(path: Path, state: TrainingState, config: TrainingConfig) -> None:
    """Write the state atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    torch.save(
        {
            "network": state.network.state_dict(),
            "average": state.average.state_dict(),
            "optimiser": state.optimiser.state_dict(),
            "generator": state.generator.get_state(),
            "hard": [(place.head, *place.voxel) for place in state.hard.places],
            "step": state.step,
            "elapsed_s": state.elapsed_s,
            "config": asdict(config),
        },
        unfinished,
    )
    unfinished.replace(path)


def load_checkpoint(path: Path, state: TrainingState) -> None:
    """Bring a fresh state to where the checkpoint was.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    saved = read_checkpoint(path)
    state.network.load_state_dict(saved["network"])
    state.average.load_state_dict(saved["average"])
    state.optimiser.load_state_dict(saved["optimiser"])
    state.generator.set_state(saved["generator"])
    state.hard = HardPlaces()
    state.hard.places.extend(Place(head=head, voxel=(i, j, k)) for head, i, j, k in saved["hard"])
    state.step, state.elapsed_s = saved["step"], saved["elapsed_s"]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the raw content of a checkpoint, on the processor."""
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content
