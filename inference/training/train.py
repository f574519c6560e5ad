"""The training loop: every run can be stopped at any moment and goes on from its last checkpoint."""

import logging
import math
import time
from copy import deepcopy
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch
from torch import Generator, nn
from torch.amp.grad_scaler import GradScaler

from inference.training.checkpoint import TrainingState, save_checkpoint
from inference.training.config import TrainingConfig
from inference.training.monitor import Monitor
from inference.training.objectives import Objective
from inference.training.optimisation import autocast, build_optimiser, in_layout, rate_factor

log = logging.getLogger(__name__)


class DivergedError(RuntimeError):
    """The loss is no number any more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """Where a training runs and what it writes.

    Attributes
    ----------
    config
        Settings.
    folder
        For the checkpoint and TensorBoard's files.
    device
        Where to compute.
    workers
        Processes that make heads.
    """

    config: TrainingConfig
    folder: Path
    device: torch.device
    workers: tuple[SpawnProcess, ...] = ()

    @property
    def checkpoint(self) -> Path:
        """The checkpoint's file."""
        return self.folder / "checkpoint.pt"


def new_state(config: TrainingConfig, objective: Objective[Any], device: torch.device) -> TrainingState:
    """Return untrained weights, their average, optimiser and random state."""
    torch.manual_seed(config.seed)
    network = in_layout(objective.build_network().to(device), config.precision)
    return TrainingState(
        network=network,
        average=deepcopy(network).requires_grad_(False).eval(),
        optimiser=build_optimiser(config, network.parameters()),
        scaler=GradScaler(device.type, enabled=config.precision == "float16"),
        generator=Generator().manual_seed(config.seed),
        objective=objective,
    )


def progress(config: TrainingConfig, state: TrainingState) -> float:
    """Return the share of the budget that is used, 0 to 1."""
    total = config.total_steps
    used, budget = (state.elapsed_s, 60 * config.minutes) if total is None else (state.step, total)
    return min(1.0, used / budget) if budget else 1.0


def train(run: Run, state: TrainingState) -> TrainingState:
    """Train until the budget is used or the objective is reached.

    A checkpoint is written every ``config.checkpoint_s`` seconds and at the end.

    Raises
    ------
    DivergedError
        If the loss is no number any more.
    RuntimeError
        If a worker that makes heads has died.
    """
    config = run.config
    saved_at = time.monotonic()
    with Monitor(run.folder / "tensorboard", title=config.objective, first_step=state.step + 1) as monitor:
        while progress(config, state) < 1 and not state.objective.finished:
            started = time.monotonic()
            figures = train_step(run, state)
            if config.validate_every and state.step % config.validate_every == 0:
                _validate(run, state, monitor)
            now = time.monotonic()
            state.elapsed_s += now - started
            monitor.stepped(state.step, progress(config, state), figures)
            if now - saved_at > config.checkpoint_s:
                check_workers(run.workers)
                save_checkpoint(run.checkpoint, state, config)
                saved_at = now
    save_checkpoint(run.checkpoint, state, config)
    return state


def train_step(run: Run, state: TrainingState) -> dict[str, float]:
    """Add up the gradients of the step's batches, make one step, follow it with the average; return figures of it."""
    config = run.config
    rate = config.learning_rate * rate_factor(config.schedule, progress(config, state))
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.network.train()
    state.optimiser.zero_grad(set_to_none=True)
    batches = [_backward(run, state) for _ in range(config.accumulation)]
    state.scaler.unscale_(state.optimiser)
    gradient = nn.utils.clip_grad_norm_(state.network.parameters(), config.largest_gradient)
    state.scaler.step(state.optimiser)
    state.scaler.update()
    state.step += 1
    _follow(state, min(config.ema_decay, (1 + state.step) / (10 + state.step)))
    figures = {name: sum(batch[name] for batch in batches) / len(batches) for name in batches[0]}
    return {**figures, "rate": rate, "gradient_norm": float(gradient)}


def _backward(run: Run, state: TrainingState) -> dict[str, float]:
    """Draw a batch and add its share to the gradients; return its loss and the objective's figures."""
    batch = state.objective.draw(state.generator).to(run.device)
    with autocast(run.config.precision, run.device):
        loss, figures = state.objective.loss(state.network, batch)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise DivergedError(
            f"the loss is {value} at step {state.step}: lower learning_rate or largest_gradient, or set precision to "
            "float32; the last checkpoint is sound"
        )
    state.scaler.scale(loss / run.config.accumulation).backward()  # type: ignore[no-untyped-call]  # torch's gap
    return {"loss": value, **figures}


@torch.no_grad()
def _follow(state: TrainingState, decay: float) -> None:
    """Move the average of the weights; running statistics of batch normalisation are averages already."""
    for mean, value in zip(state.average.parameters(), state.network.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)
    for ours, latest in zip(state.average.buffers(), state.network.buffers(), strict=True):
        ours.copy_(latest)


@torch.no_grad()
def _validate(run: Run, state: TrainingState, monitor: Monitor) -> None:
    with autocast(run.config.precision, run.device):
        figures = state.objective.validate(state.average)
        if figures:
            monitor.validated(state.step, figures, state.objective.picture(state.average))


def check_workers(workers: tuple[SpawnProcess, ...]) -> None:
    """Check that all processes that make heads still run.

    Raises
    ------
    RuntimeError
        If one has died.
    """
    for worker in workers:
        if not worker.is_alive():
            raise RuntimeError(f"a worker that makes heads ended with code {worker.exitcode}; see its message above")
