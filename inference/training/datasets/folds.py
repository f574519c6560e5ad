"""Folds are of patients, never of studies: whoever is judged by has not been seen in training under any name."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from inference.training.datasets.records import PatientKey, StudyRecord, by_patient

Fold = tuple[StudyRecord, ...]
Same = frozenset[PatientKey]


def folds(records: Iterable[StudyRecord], k: int, *, seed: int, same: Iterable[Same] = ()) -> tuple[Fold, ...]:
    """Split studies into k parts; all studies of a patient lie in one of them, and each data set is spread over all.

    Parameters
    ----------
    records
        In any order; it does not matter.
    k
        Number of parts.
    seed
        The same patients and seed give the same parts.
    same
        Patients that are one person under several names, see `patients_with_same_images`.

    Raises
    ------
    ValueError
        k is less than 2, or there are fewer patients.
    """
    patients = by_patient(records)
    persons = _joined(list(patients), same)
    if not 2 <= k <= len(persons):
        raise ValueError(f"{len(persons)} patients cannot be split into {k} folds; choose 2 to {len(persons)}.")
    shuffled = [persons[n] for n in np.random.default_rng(seed).permutation(len(persons))]
    shuffled.sort(key=lambda person: person[0][0])  # by data set, which is then dealt out evenly
    parts = (shuffled[n::k] for n in range(k))
    return tuple(tuple(r for person in part for patient in person for r in patients[patient]) for part in parts)


def training_part(parts: Sequence[Fold], held_out: int) -> Fold:
    """Return the studies of all folds but one."""
    return tuple(record for n, part in enumerate(parts) if n != held_out for record in part)


def patients_with_same_images(records: Iterable[StudyRecord]) -> tuple[Same, ...]:
    """Return groups of patients that share an image file to the byte: one person under several names.

    It reads every image once. The same scan prepared in two ways is not noticed.
    """
    owners: dict[str, set[PatientKey]] = defaultdict(set)
    for record in records:
        for path in record.images.values():
            for file in sorted(path.iterdir()) if path.is_dir() else [path]:
                owners[_digest(file)].add(record.patient)
    return tuple(frozenset(patients) for patients in owners.values() if len(patients) > 1)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _joined(patients: Sequence[PatientKey], same: Iterable[Same]) -> list[tuple[PatientKey, ...]]:
    """Return the names of every person, in order."""
    person = {patient: {patient} for patient in patients}
    for group in same:
        present = [patient for patient in sorted(group) if patient in person]
        merged = set().union(*(person[patient] for patient in present))
        person |= dict.fromkeys(merged, merged)
    return sorted({tuple(sorted(names)) for names in person.values()})
