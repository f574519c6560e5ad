"""Small trainings on balls in a ball, for the tests of the training."""

from pathlib import Path
from typing import Any

import torch

from inference.training.checkpoint import TrainingState
from inference.training.config import TrainingConfig
from inference.training.heads import HeadSource
from inference.training.members import Pools, build_objective
from inference.training.pool import HeadPool, Recipe, fill
from inference.training.train import Run, new_state

CPU = torch.device("cpu")
TINY = TrainingConfig(
    features=(4, 4, 4, 4, 4, 4),
    patches=(32,),
    batch=2,
    steps=4,
    workers=0,
    first_heads=3,
    validate_every=0,
    validation_patches=4,
    precision="float32",
)


def ball_pools(folder: Path, source: HeadSource, *, visits: int = 1) -> Pools:
    """Three heads to learn from and two to be judged by, which stay."""
    pools = Pools(
        training=HeadPool(folder=folder / "pool", capacity=3),
        validation=HeadPool(folder=folder / "validation", capacity=2),
    )
    fill(Recipe(sources=[[source]], seed=5, visits=visits), pools.training, heads=3)
    fill(Recipe(sources=[[source]], seed=6, visits=visits), pools.validation, heads=2)
    return pools


def begin(folder: Path, pools: Pools, config: TrainingConfig = TINY) -> tuple[Run, TrainingState]:
    """Return a training in a folder and its fresh state."""
    return Run(config=config, folder=folder, device=CPU), new_state(config, build_objective(config, pools), CPU)


def same(ours: Any, theirs: Any) -> bool:
    """Tell whether two networks have the same weights and buffers, bit by bit."""
    first, second = ours.state_dict(), theirs.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
