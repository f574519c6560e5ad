"""Heads wait on disk for the trainer, ready to cut patches from: makers write whole files or none."""

import logging
import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from inference.preprocessing import brain_box, normalise
from inference.synthesis.training_heads import TrainingHead
from inference.training.heads import HeadSource

log = logging.getLogger(__name__)

MARGIN = 8
REFERENCE_VOLUME_MM3 = 1000.0
LARGEST_WEIGHT = 4.0


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedHead:
    """A head as the network sees it, with its truth.

    Attributes
    ----------
    image
        float16 (i, j, k), prepared by `inference.preprocessing.normalise`.
    lesions
        int16 (i, j, k): 0 background, n lesion.
    weight
        float16 (i, j, k): weight in the loss; 0 where nothing is known, more than 1 in small lesions.
    centres
        int64 (lesions, 3): a voxel in the middle of each lesion.
    brain_voxels
        int16 (n, 3): a sample of voxels of the brain.
    """

    image: Tensor
    lesions: Tensor
    weight: Tensor
    centres: Tensor
    brain_voxels: Tensor


def prepare(head: TrainingHead) -> PreparedHead:
    """Crop a head to its brain, normalise it as inference does, and weigh its voxels."""
    brain = head.brain.numpy()
    box = brain_box(brain, margin=(MARGIN, MARGIN, MARGIN))
    image = normalise(head.image.numpy()[box], brain[box])
    lesions = head.lesions[box].to(torch.int16)
    voxels = torch.from_numpy(np.argwhere(brain[box])[::500].astype(np.int16))
    return PreparedHead(
        image=torch.from_numpy(image).half(),
        lesions=lesions,
        weight=voxel_weights(lesions, head.ignore[box]),
        centres=_centres(lesions),
        brain_voxels=voxels,
    )


def voxel_weights(lesions: Tensor, ignore: Tensor) -> Tensor:
    """Return loss weights: 1 for background, (1000 mm³ / V)^½ between 1 and 4 in a lesion of volume V, 0 if unknown."""
    volumes = torch.bincount(lesions.flatten().long()).double().clamp(min=1)
    table = (REFERENCE_VOLUME_MM3 / volumes).sqrt().clamp(1, LARGEST_WEIGHT)
    table[0] = 1
    weight = table[lesions.long()].half()
    weight[ignore & (lesions == 0)] = 0
    return weight


def _centres(lesions: Tensor) -> Tensor:
    found = lesions.nonzero()
    if not len(found):
        return torch.empty((0, 3), dtype=torch.int64)
    numbers = lesions[tuple(found.T)]
    present = sorted(set(numbers.tolist()))
    return torch.stack([found[numbers == n].double().mean(0).round().long() for n in present])


@dataclass(frozen=True, kw_only=True)
class HeadPool:
    """A folder of prepared heads, newest last.

    Attributes
    ----------
    folder
        Where the files are.
    capacity
        How many are kept.
    """

    folder: Path
    capacity: int

    def paths(self) -> list[Path]:
        """Return the files that are complete, oldest first."""
        return sorted(self.folder.glob("head_*.pt"))

    def add(self, number: int, head: PreparedHead) -> None:
        """Write a head under its number and drop the oldest beyond the capacity."""
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"head_{number:06d}.pt"
        unfinished = target.with_suffix(".unfinished")
        torch.save(vars(head), unfinished)
        unfinished.replace(target)
        for old in self.paths()[: -self.capacity]:
            old.unlink(missing_ok=True)

    def next_number(self) -> int:
        """Return the number after the newest head's."""
        paths = self.paths()
        return int(paths[-1].stem.removeprefix("head_")) + 1 if paths else 0

    def draw(self, generator: Generator) -> PreparedHead:
        """Return a random head of those that are there.

        Raises
        ------
        FileNotFoundError
            If the pool is empty.
        """
        while paths := self.paths():
            index = int(torch.randint(len(paths), (1,), generator=generator))
            try:
                return PreparedHead(**torch.load(paths[index], weights_only=True, mmap=True))
            except FileNotFoundError:
                log.debug("%s gave way to a newer head; drawing again", paths[index].name)
        raise FileNotFoundError(f"no heads in {self.folder}: start the training with at least one worker")


def start_worker(
    sources: Sequence[Sequence[HeadSource]], pool: HeadPool, *, seed: int, turn: tuple[int, int], duty: float
) -> SpawnProcess:
    """Start a process that fills the pool until its parent ends.

    Parameters
    ----------
    sources
        Kinds of sources; each kind is as likely as the others.
    pool
        Where heads go.
    seed
        Head n depends on ``seed`` and n alone.
    turn
        This worker's number and the number of workers: it makes every n-th head.
    duty
        Share of the time that it works, 0 to 1, once the pool is full.
    """
    process = multiprocessing.get_context("spawn").Process(
        target=fill, args=(sources, pool), kwargs={"seed": seed, "turn": turn, "duty": duty}, daemon=True
    )
    process.start()
    return process


def fill(
    sources: Sequence[Sequence[HeadSource]],
    pool: HeadPool,
    *,
    seed: int,
    turn: tuple[int, int] = (0, 1),
    duty: float = 1.0,
    heads: int | None = None,
) -> None:
    """Make heads for the pool: ``heads`` of them, or without end until the parent process is gone."""
    torch.set_num_threads(1)
    worker, workers = turn
    parent = os.getppid()
    number = pool.next_number() + worker
    while (heads is None or heads > 0) and os.getppid() == parent:
        started = time.monotonic()
        pool.add(number, prepare(make_head(sources, seed=seed, number=number)))
        if number >= pool.capacity:
            time.sleep((time.monotonic() - started) * (1 / duty - 1))
        number += workers
        heads = None if heads is None else heads - 1


def make_head(sources: Sequence[Sequence[HeadSource]], *, seed: int, number: int) -> TrainingHead:
    """Make the head with this number: a random kind of source, a random one of that kind, random lesions."""
    generator = Generator().manual_seed(seed * 1_000_003 + number)
    kind = sources[int(torch.randint(len(sources), (1,), generator=generator))]
    source = kind[int(torch.randint(len(kind), (1,), generator=generator))]
    return source.make(generator)
