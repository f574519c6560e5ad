"""Whom a training learns from and whom it is judged by: a patient is on one side only."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Generator

from inference.inputs import SUBTRACTION
from inference.synthesis.chance import generator_for
from inference.synthesis.tissues import SHIPPED_MAP, load_label_map
from inference.synthesis.training_heads import TrainingHead, from_label_map
from inference.training.config import TrainingConfig
from inference.training.heads import (
    HeadSource,
    LabelMap,
    RealHead,
    training_sources,
    validation_heads,
    validation_label_maps,
)
from inference.training.pool import HeadPool, prepare
from tracking.timepoint import MRSequence

# A training that decides by its validation, and was told no folds, sets this part of the patients aside.
FOLDS_OF_DECISIONS = 5
SMOKE_STEP = 3
SMOKE_PATIENTS = 10
DATE = re.compile(r"_\d{8}$")

Kinds = Sequence[Sequence[HeadSource]]


@dataclass(frozen=True, kw_only=True)
class SmallHead:
    """The head that comes with this package at a third of its size: quick to make, good for trying a training only.

    Attributes
    ----------
    patient
        Whom the one head stands for.
    sequences
        What to draw beside the T1c.
    """

    patient: int
    sequences: tuple[MRSequence, ...] = ()

    def make(self, generator: Generator, *, visits: int = 1) -> tuple[TrainingHead, ...]:
        """Return a small head with synthetic images and lesions."""
        labels = load_label_map()[::SMOKE_STEP, ::SMOKE_STEP, ::SMOKE_STEP].contiguous()
        wanted = (MRSequence.T1C, *self.sequences)
        return from_label_map(labels, generator=generator, visits=visits, sequences=wanted)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sources:
    """Heads of a training.

    Attributes
    ----------
    training
        Kinds of sources to learn from; each kind is as likely as the others.
    validation
        Sources to be judged by, kinds in turn.
    training_data, licence
        What a manifest says of weights that learned from them.
    """

    training: Kinds
    validation: Sequence[HeadSource]
    training_data: str
    licence: str


def find_sources(data: Path | None, config: TrainingConfig) -> Sources:
    """Return the heads of a training, all patients or those of its fold.

    Parameters
    ----------
    data
        Folder with ``heads/`` and ``label_maps/``; None: the one head that comes with this package.
    config
        Settings; `TrainingConfig.fold` is None only where there are no folds.

    Raises
    ------
    FileNotFoundError
        If the folder has no heads.
    ValueError
        If there are fewer patients than folds.
    """
    sequences = sequences_of(config.channels)
    if data is None:
        shipped = LabelMap(path=Path(str(resources.files("inference") / "data" / SHIPPED_MAP)), sequences=sequences)
        return _split([[shipped]], [shipped], config)
    held_out: Kinds = [validation_heads(data), validation_label_maps(data)]
    return _split(training_sources(data, sequences), _in_turn(held_out), config)


def smoke_sources(config: TrainingConfig) -> Sources:
    """Return small heads of pretended patients, for trying a training."""
    sequences = sequences_of(config.channels)
    patients = range(max(SMOKE_PATIENTS, config.folds))
    return _split([[SmallHead(patient=n, sequences=sequences) for n in patients]], [SmallHead(patient=-1)], config)


def sequences_of(channels: Sequence[str]) -> tuple[MRSequence, ...]:
    """Return the sequences that channels need beside the T1c; a subtraction needs the T1."""
    needed = {*channels, str(MRSequence.T1)} if SUBTRACTION in channels else set(channels)
    return tuple(sequence for sequence in MRSequence if sequence != MRSequence.T1C and str(sequence) in needed)


def patient_of(source: HeadSource) -> str:
    """Return who a head is of; a source of a kind not known here is a patient of its own."""
    if isinstance(source, RealHead):
        return DATE.sub("", source.stem.name)
    return source.path.name if isinstance(source, LabelMap) else repr(source)


def patient_folds(kinds: Kinds, k: int, *, seed: int) -> dict[str, int]:
    """Return the fold of each patient, from 0; each kind of source is spread over all folds.

    Raises
    ------
    ValueError
        If there are fewer patients than folds.
    """
    random = np.random.default_rng(seed)
    fold_of: dict[str, int] = {}
    for kind in kinds:
        patients = sorted({patient_of(source) for source in kind} - fold_of.keys())
        shuffled = [patients[n] for n in random.permutation(len(patients))]
        first = len(fold_of)
        fold_of |= {patient: (first + n) % k for n, patient in enumerate(shuffled)}
    if len(fold_of) < k:
        raise ValueError(f"{len(fold_of)} patients cannot be split into {k} folds: set folds to {len(fold_of)} or less")
    return fold_of


def add_validation_heads(
    pool: HeadPool, sources: Sequence[HeadSource], *, count: int, seed: int, visits: int = 1
) -> None:
    """Make the heads that a training is judged by, as far as the pool lacks them; always the same ones."""
    for number in range(pool.next_number(), count):
        source = sources[number % len(sources)]
        pool.add(number, prepare(source.make(generator_for(seed, f"validation head {number}"), visits=visits)))


def _split(kinds: Kinds, held_out: Sequence[HeadSource], config: TrainingConfig) -> Sources:
    """Set the fold's patients aside; without folds, the heads that no training sees judge."""
    decides = config.objective == "ssl" or config.pretrain
    single = len({patient_of(source) for source in chain(*kinds)}) == 1
    k = config.folds or (FOLDS_OF_DECISIONS if decides and not single else 0)
    if not k:
        return _sources(kinds, held_out)
    fold_of = patient_folds(kinds, k, seed=config.fold_seed)
    fold = config.fold or 0
    aside = [[source for source in kind if fold_of[patient_of(source)] == fold] for kind in kinds]
    kept = [[source for source in kind if fold_of[patient_of(source)] != fold] for kind in kinds]
    return _sources(kept, _in_turn(aside))


def _in_turn(kinds: Kinds) -> list[HeadSource]:
    """Return all sources, one of each kind after another as long as they last."""
    longest = max(map(len, kinds))
    return [kind[n] for n in range(longest) for kind in kinds if n < len(kind)]


def _sources(kinds: Kinds, validation: Sequence[HeadSource]) -> Sources:
    every = [source for kind in kinds for source in kind]
    real = sum(isinstance(source, RealHead) for source in every)
    maps = len({source.path for source in every if isinstance(source, LabelMap)})
    maps += any(isinstance(source, SmallHead) for source in every)
    licence = "the code is Apache-2.0"
    if real:
        licence = f"research use only (some training images are CC BY-NC-SA 4.0); {licence}"
    return Sources(
        training=[kind for kind in kinds if kind],
        validation=validation,
        training_data=_described(real, maps),
        licence=licence,
    )


def _described(real: int, maps: int) -> str:
    where = [
        f"{real} real post-contrast glioma heads (TCGA-LGG, centres CS and DU)" if real else "",
        f"{maps} SynthSeg label map{'s' if maps > 1 else ''}" if maps else "",
    ]
    return f"synthetic lesions in {' and in '.join(filter(None, where))}; no labelled metastasis"


def blank_channels(pool: HeadPool, channels: Sequence[str]) -> list[str]:
    """Return the image channels that no head of the pool has: a network learns nothing from them."""
    images = {SUBTRACTION, *map(str, MRSequence)}
    there = {name for path in pool.paths() for name in _images_in(path)}
    return [name for name in channels if name in images and name not in there]


def _images_in(path: Path) -> list[str]:
    visits = torch.load(path, weights_only=True, mmap=True)
    return list(visits[-1]["images"])
