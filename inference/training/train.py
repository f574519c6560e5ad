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
from torch import Generator, nn
from torch.optim import AdamW

from inference.networks.unet import build_unet
from inference.training.checkpoint import TrainingState, load_checkpoint, read_checkpoint, save_checkpoint
from inference.training.config import TrainingConfig
from inference.training.heads import training_sources
from inference.training.losses import lesion_loss
from inference.training.patches import Batch, draw_batch
from inference.training.pool import HeadPool, start_worker

log = logging.getLogger(__name__)

WARM_UP = 0.05
LOG_EVERY_S = 20.0
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
    network = build_unet(config.features).to(device)
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
    """Give a fresh state the averaged weights of another training; optimiser, schedule and patches begin anew."""
    for network in (state.network, state.average):
        network.load_state_dict(saved["average"])


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
    batch = draw_batch(run.pool, batch=config.batch, edge=config.patch, generator=state.generator).to(run.device)
    loss = _loss(state.network, batch, bf16=config.bf16)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    nn.utils.clip_grad_norm_(state.network.parameters(), 5.0)
    state.optimiser.step()
    state.step += 1
    _follow(state, min(config.ema_decay, (1 + state.step) / (10 + state.step)))
    return float(loss.detach())


def _loss(network: nn.Module, batch: Batch, *, bf16: bool) -> torch.Tensor:
    image = batch.image.to(memory_format=torch.channels_last_3d) if bf16 else batch.image
    with torch.autocast(image.device.type, torch.bfloat16, enabled=bf16):
        logits = network(image)
    return lesion_loss(logits, batch.lesion, batch.weight)


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
    sources = training_sources(data)
    workers = tuple(
        start_worker(sources, pool, seed=config.seed, turn=(n, config.workers), duty=config.worker_duty)
        for n in range(config.workers)
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
    batch = Batch(
        image=torch.randn(1, 1, 32, 32, 32), lesion=torch.zeros(1, 32, 32, 32).bool(), weight=torch.ones(1, 32, 32, 32)
    )
    times = []
    for _ in range(3):
        started = time.perf_counter()
        _loss(network, batch, bf16=bf16).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        times.append(time.perf_counter() - started)
    return min(times)


SMOKE = TrainingConfig(features=(4, 4, 8, 8, 16, 4), patch=32, steps=4, first_heads=1, checkpoint_s=5)


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
