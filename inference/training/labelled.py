"""Heads of patients whose lesions were outlined: a `HeadSource` for each patient of the labelled data sets."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Final

import cc3d
import numpy as np
import torch
from highdicom import Volume
from numpy.typing import NDArray
from torch import Generator

from inference.labels import LESION
from inference.synthesis import chance
from inference.synthesis.training_heads import TrainingHead
from inference.training.datasets.files import read_volume
from inference.training.datasets.folds import patients_with_same_images, persons
from inference.training.datasets.labels import NOTHING_KNOWN, bits
from inference.training.datasets.records import Disease, PatientKey, Quality, StudyRecord, by_patient
from inference.training.datasets.volumes import Sampler, brain_of, brain_on, grid_of, image_on, possible_on
from inference.training.truth import OPEN
from tracking.geometry import resample_like
from tracking.registration import register
from tracking.timepoint import MRSequence, Timepoint, Tissue

SPACING_MM = 1.0
CONNECTIVITY: Final = 26
# Registration asks for a date and does not use it.
ANY_DATE = date(2000, 1, 1)
# What a tissue volume holds, by the set of tissues that are possible.
TISSUE_OF = np.array(
    [next((tissue for tissue in Tissue if value == bits([tissue])), OPEN + value) for value in range(OPEN)], np.uint8
)
NO_LESION_BITS = NOTHING_KNOWN & ~bits(LESION)


@dataclass(frozen=True, kw_only=True)
class LabelledPatient:
    """A patient whose lesions were outlined, at one or several visits.

    The images of one visit are brought together by their headers: they must have been registered to each other, as
    they are in the public sets. Visits are registered to the newest here, as a follow-up's prior is.

    Attributes
    ----------
    patient
        Who it is, across data sets.
    studies
        Oldest first, each with a T1c and labels.
    sequences
        Which images to read beside the T1c, where there are files.
    """

    patient: str = field(repr=False)
    studies: tuple[StudyRecord, ...]
    sequences: tuple[MRSequence, ...] = ()

    def make(self, generator: Generator, *, visits: int = 1) -> tuple[TrainingHead, ...]:
        """Return the head as it is: at one visit, any of the studies, or at the newest ones, oldest first.

        What the data set leaves open is told by the tissue volumes, see `inference.training.truth`.

        Raises
        ------
        ValueError
            If there are fewer studies than visits, or a file is damaged.
        """
        if visits > len(self.studies):
            raise ValueError(
                f"a patient of {self.studies[0].data_set} has {len(self.studies)} labelled studies, fewer than the "
                f"{visits} visits that are wanted: leave such patients out"
            )
        any_one = chance.whole(generator, 0, len(self.studies) - 1)
        chosen = self.studies[-visits:] if visits > 1 else self.studies[any_one : any_one + 1]
        grid = grid_of(chosen[-1], spacing_mm=SPACING_MM)
        samplers: list[Sampler] = [_registered(study, chosen[-1]) for study in chosen[:-1]] + [resample_like]
        seen = [self._seen(study, grid, sampler) for study, sampler in zip(chosen, samplers, strict=True)]
        numbers = _numbers([visit.lesion for visit in seen])
        return tuple(visit.head(numbers) for visit in seen)

    def _seen(self, study: StudyRecord, grid: Volume, sample: Sampler) -> "_Visit":
        wanted = [MRSequence.T1C, *(s for s in self.sequences if s in study.images and s != MRSequence.T1C)]
        return _Visit(
            images={sequence: image_on(study, sequence, grid, sample=sample).array for sequence in wanted},
            brain=brain_on(study, grid, sample=sample).array > 0,
            outlined=possible_on(study, grid, sample=sample).array,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Visit:
    """One visit on the grid: images, brain mask, and the tissues that the outlines leave possible."""

    images: dict[MRSequence, NDArray[np.float32]]
    brain: NDArray[np.bool_]
    outlined: NDArray[np.uint8]

    @cached_property
    def possible(self) -> NDArray[np.uint8]:
        """What is possible, nothing being known of lesions that were outlined outside the brain mask."""
        outside = _is_lesion(self.outlined) & ~self.brain
        return np.where(outside, np.uint8(NOTHING_KNOWN), self.outlined)

    @property
    def lesion(self) -> NDArray[np.bool_]:
        """What is certainly lesion."""
        return _is_lesion(self.possible)

    def head(self, numbers: NDArray[np.uint32]) -> TrainingHead:
        """Return the head, with the lesions' numbers over all visits."""
        return TrainingHead(
            images={sequence: torch.from_numpy(image) for sequence, image in self.images.items()},
            brain=torch.from_numpy(self.brain),
            lesions=torch.from_numpy(np.where(self.lesion, numbers, 0).astype(np.int16)),
            tissue=torch.from_numpy(TISSUE_OF[self.possible]),
            ignore=torch.from_numpy(self.possible == NOTHING_KNOWN),
        )


def labelled_patients(
    records: Iterable[StudyRecord],
    names: dict[PatientKey, str],
    *,
    visits: int = 1,
    sequences: tuple[MRSequence, ...] = (),
) -> list[list[LabelledPatient]]:
    """Return the patients of studies with labels and a T1c who have as many as there are visits; a list per data set.

    Parameters
    ----------
    records
        In any order; others are left out.
    names
        From `names_of`.
    visits
        How many studies a patient must have at least.
    sequences
        What is wanted beside the T1c.
    """
    usable = [study for study in records if study.labels and MRSequence.T1C in study.images]
    found: dict[str, list[LabelledPatient]] = {}
    for (data_set, _), studies in by_patient(usable).items():
        patient = LabelledPatient(patient=names[studies[0].patient], studies=studies, sequences=sequences)
        if len(studies) >= visits:
            found.setdefault(data_set, []).append(patient)
    return list(found.values())


def names_of(records: Sequence[StudyRecord]) -> dict[PatientKey, str]:
    """Return a name for every person: patients of one name, or with one image in common, are one person.

    Data sets take studies over from each other under their old names or under new ones.
    """
    of_one_name: dict[str, set[PatientKey]] = {}
    for record in records:
        of_one_name.setdefault(record.patient_id, set()).add(record.patient)
    same = [*map(frozenset, of_one_name.values()), *patients_with_same_images(records)]
    groups = persons(sorted({record.patient for record in records}), same)
    return {patient: "/".join(group[0]) for group in groups for patient in group}


def at_least(records: Iterable[StudyRecord], quality: Quality) -> tuple[StudyRecord, ...]:
    """Return the studies whose labels are of this quality or better."""
    return tuple(record for record in records if record.quality >= quality)


def described(labelled: Sequence[LabelledPatient]) -> str:
    """Return what a manifest says of labelled data."""
    if not labelled:
        return "no labelled metastasis"
    return "; ".join(_described(name, studies) for name, studies in studies_by_data_set(labelled).items())


def _described(data_set: str, studies: Sequence[StudyRecord]) -> str:
    """Return number, data set, qualities of the labels (the best first), and another disease than metastases."""
    qualities = sorted({study.quality for study in studies}, reverse=True)
    other = {study.disease for study in studies} - {Disease.METASTASES}
    words = ", ".join([quality.name.lower() for quality in qualities] + sorted(map(str, other)))
    return f"{len(studies)} labelled stud{'ies' if len(studies) > 1 else 'y'} of {data_set} ({words})"


def studies_by_data_set(labelled: Sequence[LabelledPatient]) -> dict[str, list[StudyRecord]]:
    """Return the studies of patients by the names of their data sets."""
    found: dict[str, list[StudyRecord]] = {}
    for study in (study for patient in labelled for study in patient.studies):
        found.setdefault(study.data_set, []).append(study)
    return found


def _registered(study: StudyRecord, newest: StudyRecord) -> Sampler:
    """Return what brings volumes of an earlier study to the newest, as a prior is brought to its follow-up."""
    return register(_timepoint(newest, "newest"), _timepoint(study, "earlier")).warp


def _timepoint(study: StudyRecord, name: str) -> Timepoint:
    t1c = read_volume(study.images[MRSequence.T1C])
    brain = resample_like(brain_of(study), t1c, interpolation="nearest").array > 0
    lesion = _is_lesion(possible_on(study, t1c).array)
    return Timepoint(
        study_uid=name,
        study_date=ANY_DATE,
        images={MRSequence.T1C: t1c},
        brain=t1c.with_array(brain),
        lesions=t1c.with_array(lesion.astype(np.uint16)),
    )


def _is_lesion(possible: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray((possible & NO_LESION_BITS) == 0)


def _numbers(lesions: Sequence[NDArray[np.bool_]]) -> NDArray[np.uint32]:
    """Return the numbers of all visits' lesions: what touches at any visit, or over visits, is one lesion at all."""
    lesion: NDArray[np.bool_] = np.any(lesions, axis=0)
    return np.asarray(cc3d.connected_components(lesion, connectivity=CONNECTIVITY), np.uint32)
