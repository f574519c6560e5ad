"""Whom a training learns from and whom it is judged by: a patient is on one side only."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
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
from inference.training.datasets.doors import read_data_sets
from inference.training.datasets.records import Quality, for_evaluation
from inference.training.heads import (
    HeadSource,
    LabelMap,
    RealHead,
    training_sources,
    validation_heads,
    validation_label_maps,
)
from inference.training.labelled import (
    LabelledPatient,
    at_least,
    described,
    labelled_patients,
    names_of,
    studies_by_data_set,
)
from inference.training.pool import HeadPool, prepare
from tracking.timepoint import MRSequence

# A training that decides by its validation, and was told no folds, sets this part of the patients aside.
FOLDS_OF_DECISIONS = 5
SMOKE_STEP = 3
SMOKE_PATIENTS = 10
log = logging.getLogger(__name__)

Kinds = Sequence[Sequence[HeadSource]]


@dataclass(frozen=True, kw_only=True)
class SmallHead:
    """The head that comes with this package at a third of its size: quick to make, good for trying a training only.

    Attributes
    ----------
    number
        Of the pretended patient whom the one head stands for.
    sequences
        What to draw beside the T1c.
    """

    number: int
    sequences: tuple[MRSequence, ...] = ()

    @property
    def patient(self) -> str:
        """A patient for each number."""
        return f"small head {self.number}"

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
        Folder with ``heads/`` and ``label_maps/``; None: the one head that comes with this package. It is not looked at
        where the settings want no synthetic heads.
    config
        Settings; `TrainingConfig.fold` is None only where there are no folds.

    Raises
    ------
    FileNotFoundError
        If the folder has no heads, or that of a labelled data set no studies.
    ValueError
        If there are fewer patients than folds, or a labelled data set cannot be read or has no labels of the quality.
    """
    synthetic = _synthetic(data, config) if config.synthetic_heads else _Candidates(learn=[])
    return _with_labelled(synthetic, config)


def smoke_sources(config: TrainingConfig) -> Sources:
    """Return small heads of pretended patients beside the labelled ones, for trying a training."""
    sequences = sequences_of(config.channels)
    patients = range(max(SMOKE_PATIENTS, config.folds))
    small = [SmallHead(number=n, sequences=sequences) for n in patients]
    return _with_labelled(_Candidates(learn=[small], held_out=[SmallHead(number=-1)]), config)


def sequences_of(channels: Sequence[str]) -> tuple[MRSequence, ...]:
    """Return the sequences that channels need beside the T1c; a subtraction needs the T1."""
    needed = {*channels, str(MRSequence.T1)} if SUBTRACTION in channels else set(channels)
    return tuple(sequence for sequence in MRSequence if sequence != MRSequence.T1C and str(sequence) in needed)


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
        patients = sorted({source.patient for source in kind} - fold_of.keys())
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
    if not sources:
        log.warning("no head to be judged by: no patient with gold labels of metastases was set aside")
        return
    for number in range(pool.next_number(), count):
        source = sources[number % len(sources)]
        pool.add(number, prepare(source.make(generator_for(seed, f"validation head {number}"), visits=visits)))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Candidates:
    """Heads before patients are set aside.

    Attributes
    ----------
    learn
        Kinds of sources to learn from.
    judge
        Kinds of sources that judge where their patients are set aside; None: the same.
    held_out
        Sources that judge where no patients are set aside.
    """

    learn: Kinds
    judge: Kinds | None = None
    held_out: Sequence[HeadSource] = ()


def _synthetic(data: Path | None, config: TrainingConfig) -> _Candidates:
    sequences = sequences_of(config.channels)
    if data is None:
        shipped = LabelMap(path=Path(str(resources.files("inference") / "data" / SHIPPED_MAP)), sequences=sequences)
        return _Candidates(learn=[[shipped]], held_out=[shipped])
    held_out: Kinds = [validation_heads(data), validation_label_maps(data)]
    return _Candidates(learn=training_sources(data, sequences), held_out=_in_turn(held_out))


def _with_labelled(synthetic: _Candidates, config: TrainingConfig) -> Sources:
    """Add the labelled data sets that the settings name, or put them in the place of synthetic heads, and split."""
    if not config.labelled:
        return _split(synthetic, config)
    every = read_data_sets(config.labelled)
    wanted = partial(
        labelled_patients, names=names_of(every), visits=config.visits, sequences=sequences_of(config.channels)
    )
    learn = wanted(at_least(every, Quality[config.label_quality.upper()]))
    if not learn:
        raise ValueError(
            f"labelled {', '.join(config.labelled)}: of {len(every)} studies, no patient has {config.visits} with a "
            f"T1c and labels of quality {config.label_quality} or better; lower label_quality, or name other data sets"
        )
    judge = wanted(for_evaluation(every))
    if not config.synthetic_heads:
        return _split(_Candidates(learn=learn, judge=judge), config)
    return _split(
        _Candidates(learn=[*synthetic.learn, *learn], judge=[*synthetic.learn, *judge], held_out=synthetic.held_out),
        config,
    )


def _split(candidates: _Candidates, config: TrainingConfig) -> Sources:
    """Set the fold's patients aside; without folds, the heads that no training sees judge, if there are such.

    Patients who cannot judge are learned from in every fold.
    """
    judge = candidates.learn if candidates.judge is None else candidates.judge
    k = config.folds or _parts(len({source.patient for source in chain(*judge)}), config)
    if not k:
        return _sources(candidates.learn, candidates.held_out)
    fold_of = patient_folds(judge, k, seed=config.fold_seed)
    fold = config.fold or 0
    aside = [[source for source in kind if fold_of[source.patient] == fold] for kind in judge]
    kept = [[source for source in kind if fold_of.get(source.patient) != fold] for kind in candidates.learn]
    return _sources(kept, _in_turn(aside))


def _parts(patients: int, config: TrainingConfig) -> int:
    """Return into how many parts to split patients where the settings do not say: 0, or one part is set aside."""
    decides = config.objective == "ssl" or config.pretrain or (config.labelled and config.validate_every)
    return min(patients, FOLDS_OF_DECISIONS) if decides and patients > 1 else 0


def _in_turn(kinds: Kinds) -> list[HeadSource]:
    """Return all sources, one of each kind after another as long as they last."""
    longest = max(map(len, kinds), default=0)
    return [kind[n] for n in range(longest) for kind in kinds if n < len(kind)]


def _sources(kinds: Kinds, validation: Sequence[HeadSource]) -> Sources:
    every = [source for kind in kinds for source in kind]
    labelled = [source for source in every if isinstance(source, LabelledPatient)]
    real = sum(isinstance(source, RealHead) for source in every)
    maps = len({source.path for source in every if isinstance(source, LabelMap)})
    maps += any(isinstance(source, SmallHead) for source in every)
    terms = ["the code is Apache-2.0"]
    if labelled:
        terms.insert(0, f"subject to the terms of {', '.join(studies_by_data_set(labelled))}")
    if real:
        terms.insert(0, "research use only (some training images are CC BY-NC-SA 4.0)")
    return Sources(
        training=[kind for kind in kinds if kind],
        validation=validation,
        training_data="; ".join(filter(None, [_synthetic_described(real, maps), described(labelled)])),
        licence="; ".join(terms),
    )


def _synthetic_described(real: int, maps: int) -> str:
    where = [
        f"{real} real post-contrast glioma heads (TCGA-LGG, centres CS and DU)" if real else "",
        f"{maps} SynthSeg label map{'s' if maps > 1 else ''}" if maps else "",
    ]
    return f"synthetic lesions in {' and in '.join(filter(None, where))}" if real or maps else ""


def blank_channels(pool: HeadPool, channels: Sequence[str]) -> list[str]:
    """Return the image channels that no head of the pool has: a network learns nothing from them."""
    images = {SUBTRACTION, *map(str, MRSequence)}
    there = {name for path in pool.paths() for name in _images_in(path)}
    return [name for name in channels if name in images and name not in there]


def _images_in(path: Path) -> list[str]:
    visits = torch.load(path, weights_only=True, mmap=True)
    return list(visits[-1]["images"])
