"""Training of the lesion detector: every run can be stopped at any moment and goes on from its last checkpoint."""

import logging
import math
import time
from copy import deepcopy
from dataclasses import dataclass, replace
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Generator, Tensor, nn
from torch.optim import AdamW

from inference.networks.unet import build_unet
from inference.synthesis import chance
from inference.training.checkpoint import TrainingState, load_checkpoint, read_checkpoint, save_checkpoint
from inference.training.config import TrainingConfig
from inference.training.heads import training_sources
from inference.training.losses import LOSSES, lesion_probability
from inference.training.patches import Batch, PatchPlan, draw_batch
from inference.training.pool import HeadPool, Recipe, start_worker

log = logging.getLogger(__name__)

WARM_UP = 0.05
LOG_EVERY_S = 20.0
NEW_CLASS_PENALTY = 2.0
POLL_S = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """Where a training runs and what it reads and writes."""

    config: TrainingConfig
    pool: HeadPool
    checkpoint: Path
    device: torch.device
    workers: tuple[SpawnProcess, ...] = ()


def new_state(config: TrainingConfig, device: torch.device) -> TrainingState:
    """Return untrained weights, their average, optimiser and random state."""
    torch.manual_seed(config.seed)
    network = build_unet(config.features, channels=len(config.channels), labels=len(config.labels)).to(device)
    if config.bf16:
        network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch forgot it
    optimiser = AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    average = deepcopy(network).requires_grad_(False)
    return TrainingState(
        network=network,
        average=average,
        optimiser=optimiser,
        generator=Generator().manual_seed(config.seed),
    )


def start_from(saved: dict[str, Any], state: TrainingState) -> None:
    """Give a fresh state the averaged weights of another training; optimiser, schedule and patches begin anew.

    The other network may have had fewer input channels or classes: see `widened`.
    """
    wanted = state.average.state_dict()
    weights = {key: widened(value, wanted[key]) for key, value in saved["average"].items()}
    for network in (state.network, state.average):
        network.load_state_dict(weights)


def widened(weights: Tensor, wanted: Tensor) -> Tensor:
    """Return weights for a network with more input channels or classes than the one that they come from.

    Parameters
    ----------
    weights
        Shape (out, in, ...) or (out,).
    wanted
        A tensor of the wanted shape. What comes first keeps its place: new inputs weigh 0, so that the network
        answers as before; new classes begin as its last class did, but less likely.

    Raises
    ------
    ValueError
        If anything but the first two axes differs, or something would have to be dropped.
    """
    if weights.shape == wanted.shape:
        return weights
    grown = [new - old for new, old in zip(wanted.shape, weights.shape, strict=False)]
    if weights.ndim != wanted.ndim or min(grown) < 0 or any(grown[2:]):
        raise ValueError(
            f"weights of shape {tuple(weights.shape)} cannot start a network that wants {tuple(wanted.shape)}: "
            "only input channels and classes can be added"
        )
    if weights.ndim > 1:
        weights = torch.cat([weights, weights.new_zeros(weights.shape[0], grown[1], *weights.shape[2:])], 1)
    added = weights[-1:].expand(grown[0], *weights.shape[1:])
    return torch.cat([weights, added - NEW_CLASS_PENALTY if weights.ndim == 1 else added])


def progress(config: TrainingConfig, state: TrainingState) -> float:
    """Return the share of the budget that is used, 0 to 1."""
    if config.steps is not None:
        return min(1.0, state.step / config.steps)
    return min(1.0, state.elapsed_s / (60 * config.minutes))


def rate_factor(done: float) -> float:
    """Return the learning rate's factor at a share ``done`` of the budget: linear warm-up, then cosine to 1 %."""
    if done < WARM_UP:
        return max(done / WARM_UP, 0.02)
    return 0.01 + 0.99 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2


def train(run: Run, state: TrainingState) -> TrainingState:
    """Train until the budget is used; write a checkpoint every ``config.checkpoint_s`` seconds and at the end.

    Raises
    ------
    RuntimeError
        If a worker that makes heads has died.
    """
    config = run.config
    saved_at = told_at = time.monotonic()
    losses: list[float] = []
    while progress(config, state) < 1:
        started = time.monotonic()
        losses.append(train_step(run, state))
        now = time.monotonic()
        state.elapsed_s += now - started
        if now - told_at > LOG_EVERY_S:
            _tell(run, state, losses)
            told_at, losses = now, []
        if now - saved_at > config.checkpoint_s:
            _check_workers(run.workers)
            save_checkpoint(run.checkpoint, state, config)
            saved_at = now
    save_checkpoint(run.checkpoint, state, config)
    return state


def train_step(run: Run, state: TrainingState) -> float:
    """Draw a batch, make one step of AdamW, follow it with the average; return the loss."""
    config = run.config
    factor = rate_factor(progress(config, state))
    for group in state.optimiser.param_groups:
        group["lr"] = config.learning_rate * factor
    batch = next_batch(run, state).to(run.device)
    logits = forward(state.network, batch.image, bf16=config.bf16)
    loss = LOSSES[config.loss](logits, batch.tissue, batch.lesions, batch.weight)
    state.hard.note(batch, lesion_probability(logits.detach()))
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    nn.utils.clip_grad_norm_(state.network.parameters(), 5.0)
    state.optimiser.step()
    state.step += 1
    _follow(state, min(config.ema_decay, (1 + state.step) / (10 + state.step)))
    return float(loss.detach())


def next_batch(run: Run, state: TrainingState) -> Batch:
    """Draw one of the patch sizes, and as many patches of it as fit into a step."""
    config = run.config
    edge = config.patches[chance.whole(state.generator, 0, len(config.patches) - 1)]
    count = max(1, round(config.batch_voxels / edge**3))
    plan = PatchPlan(channels=config.channels, labels=config.labels, edge=edge, batch=count)
    return draw_batch(run.pool, plan, generator=state.generator, hard=state.hard)


def forward(network: nn.Module, image: Tensor, *, bf16: bool) -> Tensor:
    """Return logits, in bfloat16 with the channels-last layout where asked for."""
    image = image.to(memory_format=torch.channels_last_3d) if bf16 else image
    with torch.autocast(image.device.type, torch.bfloat16, enabled=bf16):
        logits: Tensor = network(image)
    return logits


@torch.no_grad()
def _follow(state: TrainingState, decay: float) -> None:
    for mean, value in zip(state.average.parameters(), state.network.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)


def _tell(run: Run, state: TrainingState, losses: list[float]) -> None:
    log.info(
        "%5.1f %%  step %d  loss %.4f  %.2f s/step  heads made %d",
        100 * progress(run.config, state),
        state.step,
        sum(losses) / len(losses),
        state.elapsed_s / state.step,
        run.pool.next_number(),
    )


def _check_workers(workers: tuple[SpawnProcess, ...]) -> None:
    for worker in workers:
        if not worker.is_alive():
            raise RuntimeError(f"a worker that makes heads ended with code {worker.exitcode}; see its message above")


def wait_for_heads(run: Run) -> None:
    """Wait until the pool holds enough heads to begin."""
    while len(run.pool.paths()) < run.config.first_heads:
        _check_workers(run.workers)
        time.sleep(POLL_S)


def run_training(config: TrainingConfig, *, data: Path, out: Path, initial: Path | None = None) -> TrainingState:
    """Train in ``out``, from its checkpoint where there is one.

    Parameters
    ----------
    config
        Settings.
    data
        Folder with ``heads/`` and ``label_maps/``.
    out
        Folder for the checkpoint and the pool of heads.
    initial
        Checkpoint of another training whose averaged weights a new one starts from.
    """
    torch.set_num_threads(config.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pool = HeadPool(folder=out / "pool", capacity=config.pool_heads)
    recipe = Recipe(sources=training_sources(data), seed=config.seed)
    workers = tuple(
        start_worker(recipe, pool, turn=(n, config.workers), duty=config.worker_duty) for n in range(config.workers)
    )
    run = Run(config=config, pool=pool, checkpoint=out / "checkpoint.pt", device=device, workers=workers)
    state = new_state(config, device)
    if run.checkpoint.exists():
        load_checkpoint(run.checkpoint, state)
        log.info("resumed at step %d", state.step)
    elif initial is not None:
        start_from(read_checkpoint(initial), state)
        log.info("started from the weights of %s", initial)
    try:
        wait_for_heads(run)
        return train(run, state)
    finally:
        for worker in workers:
            worker.terminate()


def fast_bf16(threads: int = 1) -> bool:
    """Return whether bfloat16 with channels last makes a training step faster here: measured, not guessed."""
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        return True
    return _probe_s(bf16=True) < _probe_s(bf16=False)


def _probe_s(*, bf16: bool) -> float:
    config = TrainingConfig(bf16=bf16)
    network = new_state(config, torch.device("cpu")).network
    image = torch.randn(1, len(config.channels), 32, 32, 32)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        forward(network, image, bf16=bf16).float().mean().backward()  # type: ignore[no-untyped-call]  # torch's gap
        times.append(time.perf_counter() - started)
    return min(times)


SMOKE = TrainingConfig(
    features=(4, 4, 8, 8, 16, 4), patches=(32,), batch_voxels=2 * 32**3, steps=4, first_heads=1, checkpoint_s=5
)


def main(  # noqa: PLR0913 - one for each option of the command line
    out: Annotated[Path, typer.Option(help="Folder for checkpoint and heads (resumed from when it exists).")],
    data: Annotated[Path, typer.Option(help="Folder with heads/ and label_maps/.")] = Path("../shared/data"),
    minutes: Annotated[float, typer.Option(help="Budget in minutes of computing.")] = 70.0,
    initial: Annotated[Path | None, typer.Option(help="Checkpoint whose weights a new training starts from.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that make synthetic heads.")] = 1,
    threads: Annotated[int, typer.Option(help="Processor threads of the trainer.")] = 1,
    *,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Run to the end in under a minute with a tiny network.")
    ] = False,
) -> None:
    """Train the lesion detector on synthetic lesions."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = TrainingConfig(minutes=minutes, bf16=fast_bf16(threads))
    config = replace(SMOKE if smoke else settings, workers=workers, threads=threads)
    log.info("%s", config)
    run_training(config, data=data, out=out, initial=initial)


if __name__ == "__main__":
    typer.run(main)
