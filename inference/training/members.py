"""One command makes one training or several (folds, seeds), each in a folder of its own and each resumable."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch

from inference.training.checkpoint import TrainingState, load_checkpoint
from inference.training.config import TrainingConfig
from inference.training.initial import start_from
from inference.training.objectives import Objective, SupervisedObjective
from inference.training.optimisation import chosen_precision
from inference.training.pool import HeadPool, Recipe, fill, start_worker
from inference.training.recall import RecallObjective
from inference.training.sources import Sources, add_validation_heads, blank_channels
from inference.training.ssl import SelfSupervisedObjective
from inference.training.train import Run, check_workers, new_state, train

log = logging.getLogger(__name__)

SETTINGS = "settings.json"
POLL_S = 0.5
# What may differ when a training goes on; anything else would make it another training.
FREE = frozenset(
    {"steps", "epochs", "minutes", "checkpoint_s", "workers", "worker_duty", "threads", "pool_heads", "first_heads"}
)
OBJECTIVES: dict[str, type[SupervisedObjective] | type[SelfSupervisedObjective] | type[RecallObjective]] = {
    "supervised": SupervisedObjective,
    "ssl": SelfSupervisedObjective,
    "recall": RecallObjective,
}

FindSources = Callable[[TrainingConfig], Sources]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pools:
    """Heads to learn from and heads to be judged by."""

    training: HeadPool
    validation: HeadPool


def members(config: TrainingConfig, out: Path) -> dict[Path, TrainingConfig]:
    """Return the trainings that settings ask for, by the folder of each: one for each fold and seed."""
    folds = [config.fold] if config.fold is not None else [*range(config.folds)] or [None]
    found = {}
    for fold in folds:
        for seed in range(config.seed, config.seed + config.seeds):
            folder = out / f"fold_{fold}" if config.folds else out
            folder = folder / f"seed_{seed}" if config.seeds > 1 else folder
            found[folder] = replace(config, fold=fold, seed=seed, seeds=1)
    return found


def run_member(config: TrainingConfig, sources: Sources, folder: Path) -> TrainingState:
    """Make one training in a folder, from its checkpoint where there is one.

    Raises
    ------
    ValueError
        If the folder holds a training with other settings, or the weights to start from do not fit.
    """
    config = resolved(config, folder)
    torch.set_num_threads(config.threads)
    pools = pools_in(folder, config)
    run = Run(config=config, folder=folder, device=_device())
    # Before anything is written: weights that do not fit are told at once.
    state = None if config.pretrain else begun(run, pools)
    remember(config, folder)
    with heads(config, sources, pools) as workers:
        if state is None:
            run = replace(run, config=_pretrained(replace(run, workers=workers), pools))
            state = begun(run, pools)
        return train(replace(run, workers=workers), state)


def begun(run: Run, pools: Pools) -> TrainingState:
    """Return where a run stands: at its checkpoint, at the weights of another training, or at the very beginning."""
    config = run.config
    state = new_state(config, build_objective(config, pools), run.device)
    if run.checkpoint.exists():
        load_checkpoint(run.checkpoint, state)
        log.info("%s resumed at step %d", config.objective, state.step)
    elif config.initial is not None:
        start_from(Path(config.initial), state, config)
        log.info("started from the weights of %s", config.initial)
    return state


def _pretrained(run: Run, pools: Pools) -> TrainingConfig:
    """Train by self-supervision; return the settings of the training that starts from it."""
    config = replace(run.config, objective="ssl", pretrain=False, steps=run.config.pretrain_steps)
    first = replace(run, config=config, folder=run.folder / "ssl")
    train(first, begun(first, pools))
    return replace(run.config, pretrain=False, initial=str(first.checkpoint))


def resolved(config: TrainingConfig, folder: Path) -> TrainingConfig:
    """Return settings with the precision chosen: that of the folder's training, where there is one.

    Raises
    ------
    ValueError
        If the folder holds a training with other settings.
    """
    path = folder / SETTINGS
    if not path.exists():
        return replace(config, precision=chosen_precision(config.precision, threads=config.threads))
    there = json.loads(path.read_text(encoding="utf-8"))
    if config.precision == "auto":
        config = replace(config, precision=there["precision"])
    _check_same(there, _plain(config), folder)
    return config


def remember(config: TrainingConfig, folder: Path) -> None:
    """Write the settings of a training into its folder, before anything that depends on them."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = (folder / SETTINGS).with_suffix(".unfinished")
    unfinished.write_text(json.dumps(_plain(config), indent=1), encoding="utf-8")
    unfinished.replace(folder / SETTINGS)


def pools_in(folder: Path, config: TrainingConfig) -> Pools:
    """Return the pools of a folder, as they are."""
    return Pools(
        training=HeadPool(folder=folder / "pool", capacity=config.pool_heads),
        validation=HeadPool(folder=folder / "validation", capacity=max(1, config.validation_heads)),
    )


@contextmanager
def heads(config: TrainingConfig, sources: Sources, pools: Pools) -> Iterator[tuple[SpawnProcess, ...]]:
    """Keep pools filled: enough to begin with, and more as long as the block runs; yield the processes that do it."""
    recipe = Recipe(sources=sources.training, seed=config.seed, visits=config.visits)
    workers = tuple(
        start_worker(recipe, pools.training, turn=(n, config.workers), duty=config.worker_duty)
        for n in range(config.workers)
    )
    try:
        if config.validate_every:
            log.info("heads to judge by: %d", config.validation_heads)
            add_validation_heads(
                pools.validation,
                sources.validation,
                count=config.validation_heads,
                seed=config.fold_seed,
                visits=config.visits,
            )
        if not workers:
            log.info("heads to learn from: %d", config.first_heads)
            fill(recipe, pools.training, heads=max(0, config.first_heads - len(pools.training.paths())))
        wait_for_heads(pools.training, config.first_heads, workers)
        if blank := blank_channels(pools.training, config.channels):
            log.warning("no head shows %s: the network learns nothing from these channels", ", ".join(blank))
        yield workers
    finally:
        for worker in workers:
            worker.terminate()


def wait_for_heads(pool: HeadPool, count: int, workers: tuple[SpawnProcess, ...]) -> None:
    """Wait until the pool holds enough heads to begin.

    Raises
    ------
    RuntimeError
        If a worker has died.
    """
    while len(pool.paths()) < count:
        check_workers(workers)
        time.sleep(POLL_S)


def build_objective(config: TrainingConfig, pools: Pools) -> Objective[Any]:
    """Return what the settings want to be taught."""
    return OBJECTIVES[config.objective](config=config, pool=pools.training, validation=pools.validation)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _plain(config: TrainingConfig) -> dict[str, Any]:
    """Return settings as JSON gives them back."""
    content: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return content


def _check_same(there: dict[str, Any], here: dict[str, Any], folder: Path) -> None:
    for name, value in here.items():
        if name not in FREE and there.get(name, value) != value:
            raise ValueError(
                f"{folder} holds a training with {name} {there[name]!r}, not {value!r}: name another folder, or "
                "give the settings that it began with"
            )
