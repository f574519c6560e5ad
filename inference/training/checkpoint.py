"""A checkpoint is written whole or not at all, and holds all that a run needs to go on as if never stopped."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from inference.training.config import TrainingConfig
from inference.training.objectives import Objective


@dataclass(kw_only=True, eq=False)
class TrainingState:
    """What changes from step to step.

    Attributes
    ----------
    network, average
        The network in training and its exponential moving average, which is what gets used.
    optimiser
        With its moments.
    scaler
        Scales gradients in float16, else does nothing.
    generator
        Source of all patches.
    objective
        What is taught, with what it remembers.
    step
        Steps made.
    elapsed_s
        Seconds of computing so far, over all resumed runs.
    """

    network: nn.Module
    average: nn.Module
    optimiser: Optimizer
    scaler: GradScaler
    generator: Generator
    objective: Objective[Any]
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
            "scaler": state.scaler.state_dict(),
            "generator": state.generator.get_state(),
            "torch_random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "objective": state.objective.state_dict(),
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
    for name in ("network", "average", "optimiser", "scaler", "objective"):
        getattr(state, name).load_state_dict(saved[name])
    state.generator.set_state(saved["generator"])
    torch.set_rng_state(saved["torch_random"])
    if torch.cuda.is_available() and len(saved["cuda_random"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(saved["cuda_random"])
    state.step, state.elapsed_s = saved["step"], saved["elapsed_s"]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the raw content of a checkpoint, on the processor."""
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content
