"""Heads wait on disk for the trainer, ready to cut patches from: makers write whole files or none."""

import logging
import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from inference.inputs import SUBTRACTION
from inference.preprocessing import Box, brain_box, brain_extent, normalise
from inference.synthesis.training_heads import TrainingHead
from inference.training.heads import HeadSource
from tracking.timepoint import MRSequence

log = logging.getLogger(__name__)

MARGIN = 8
REFERENCE_VOLUME_MM3 = 1000.0
LARGEST_WEIGHT = 4.0


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedHead:
    """A head at one visit as the network sees it, with its truth.

    Attributes
    ----------
    images
        float16 (i, j, k) per sequence, prepared by `inference.preprocessing.normalise`.
    brain
        bool (i, j, k): brain mask.
    lesions
        int16 (i, j, k): 0 background, n lesion n, the same at every visit.
    tissue
        uint8 (i, j, k): `tracking.timepoint.Tissue`.
    ignore
        bool (i, j, k): where nothing is known.
    lesion_weights
        float32 (lesions + 1,): weight in the loss of a voxel of lesion n; more than 1 in small ones.
    centres
        int64 (lesions, 3): a voxel in the middle of each lesion.
    brain_voxels
        int16 (n, 3): a sample of voxels of the brain.
    extent
        int64 (3, 2): first and last index of the brain along i, j and k.
    """

    images: dict[str, Tensor]
    brain: Tensor
    lesions: Tensor
    tissue: Tensor
    ignore: Tensor
    lesion_weights: Tensor
    centres: Tensor
    brain_voxels: Tensor
    extent: Tensor


Visits = tuple[PreparedHead, ...]


def prepare(heads: Sequence[TrainingHead]) -> Visits:
    """Crop the visits of a head to its brain at the last one; normalise as inference does, and weigh the lesions."""
    box = brain_box(heads[-1].brain.numpy(), margin=(MARGIN, MARGIN, MARGIN))
    return tuple(_prepared(head, box) for head in heads)


def _prepared(head: TrainingHead, box: Box) -> PreparedHead:
    brain, lesions = head.brain[box].clone(), head.lesions[box].to(torch.int16)
    mask = brain.numpy()
    return PreparedHead(
        images={
            name: torch.from_numpy(normalise(image.numpy()[box], mask)).half()
            for name, image in _with_subtraction(head.images).items()
        },
        brain=brain,
        lesions=lesions,
        tissue=head.tissue[box].clone(),
        ignore=head.ignore[box] & (lesions == 0),
        lesion_weights=lesion_weights(lesions),
        centres=_centres(lesions),
        brain_voxels=torch.from_numpy(np.argwhere(mask)[::500].astype(np.int16)),
        extent=torch.from_numpy(brain_extent(mask)),
    )


def _with_subtraction(images: Mapping[MRSequence, Tensor]) -> dict[str, Tensor]:
    """Add T1c minus T1, on intensities that are not normalised yet, where there is a T1 (Rudie et al. 2021)."""
    named = {str(name): image for name, image in images.items()}
    if MRSequence.T1 in images:
        named[SUBTRACTION] = images[MRSequence.T1C] - images[MRSequence.T1]
    return named


def lesion_weights(lesions: Tensor) -> Tensor:
    """Return loss weights per lesion number: 1 for background, (1000 mm³ / V)^½ between 1 and 4 for volume V."""
    volumes = torch.bincount(lesions.flatten().long()).double().clamp(min=1)
    weights = (REFERENCE_VOLUME_MM3 / volumes).sqrt().clamp(1, LARGEST_WEIGHT).float()
    weights[0] = 1
    return weights


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

    def add(self, number: int, visits: Visits) -> None:
        """Write the visits of a head under its number and drop the oldest head beyond the capacity."""
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self._path(number)
        unfinished = target.with_suffix(".unfinished")
        torch.save([vars(visit) for visit in visits], unfinished)
        unfinished.replace(target)
        for old in self.paths()[: -self.capacity]:
            old.unlink(missing_ok=True)

    def next_number(self) -> int:
        """Return the number after the newest head's."""
        paths = self.paths()
        return _number(paths[-1]) + 1 if paths else 0

    def draw(self, generator: Generator) -> tuple[int, Visits]:
        """Return a random head of those that are there, and its number.

        Raises
        ------
        FileNotFoundError
            If the pool is empty.
        """
        while paths := self.paths():
            index = int(torch.randint(len(paths), (1,), generator=generator))
            try:
                return _number(paths[index]), _read(paths[index])
            except FileNotFoundError:
                log.debug("%s gave way to a newer head; drawing again", paths[index].name)
        raise FileNotFoundError(f"no heads in {self.folder}: start the training with at least one worker")

    def get(self, number: int) -> Visits | None:
        """Return the head with this number, or None if it has given way to a newer one."""
        try:
            return _read(self._path(number))
        except FileNotFoundError:
            return None

    def _path(self, number: int) -> Path:
        return self.folder / f"head_{number:06d}.pt"


def _number(path: Path) -> int:
    return int(path.stem.removeprefix("head_"))


def _read(path: Path) -> Visits:
    return tuple(PreparedHead(**visit) for visit in torch.load(path, weights_only=True, mmap=True))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How heads are made.

    Attributes
    ----------
    sources
        Kinds of sources; each kind is as likely as the others.
    seed
        Head n depends on ``seed`` and n alone.
    visits
        Visits of each head.
    """

    sources: Sequence[Sequence[HeadSource]]
    seed: int
    visits: int = 1

    def make(self, number: int) -> tuple[TrainingHead, ...]:
        """Make the head with this number: a random kind of source, a random one of that kind, random lesions."""
        generator = Generator().manual_seed(self.seed * 1_000_003 + number)
        kind = self.sources[int(torch.randint(len(self.sources), (1,), generator=generator))]
        source = kind[int(torch.randint(len(kind), (1,), generator=generator))]
        return source.make(generator, visits=self.visits)


def start_worker(recipe: Recipe, pool: HeadPool, *, turn: tuple[int, int], duty: float) -> SpawnProcess:
    """Start a process that fills the pool until its parent ends.

    Parameters
    ----------
    recipe
        What to make.
    pool
        Where heads go.
    turn
        This worker's number and the number of workers: it makes every n-th head.
    duty
        Share of the time that it works, 0 to 1, once the pool is full.
    """
    process = multiprocessing.get_context("spawn").Process(
        target=fill, args=(recipe, pool), kwargs={"turn": turn, "duty": duty}, daemon=True
    )
    process.start()
    return process


def fill(
    recipe: Recipe,
    pool: HeadPool,
    *,
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
        pool.add(number, prepare(recipe.make(number)))
        if number >= pool.capacity:
            time.sleep((time.monotonic() - started) * (1 / duty - 1))
        number += workers
        heads = None if heads is None else heads - 1
