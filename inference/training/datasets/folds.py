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
    everyone = persons(list(patients), same)
    if not 2 <= k <= len(everyone):
        raise ValueError(f"{len(everyone)} patients cannot be split into {k} folds; choose 2 to {len(everyone)}.")
    shuffled = [everyone[n] for n in np.random.default_rng(seed).permutation(len(everyone))]
    shuffled.sort(key=lambda person: person[0][0])  # by data set, which is then dealt out evenly
    parts = (shuffled[n::k] for n in range(k))
    return tuple(tuple(r for person in part for patient in person for r in patients[patient]) for part in parts)


def training_part(parts: Sequence[Fold], held_out: int) -> Fold:
    """Return the studies of all folds but one."""
    return tuple(record for n, part in enumerate(parts) if n != held_out for record in part)


def patients_with_same_images(records: Iterable[StudyRecord]) -> tuple[Same, ...]:
    """Return groups of patients that share an image to the byte: one person under several names.

    Only images of the same size are read. The same scan prepared in two ways is not noticed.
    """
    alike: dict[int, dict[Path, PatientKey]] = defaultdict(dict)
    for record in records:
        for path in record.images.values():
            alike[sum(file.stat().st_size for file in _files(path))][path] = record.patient
    owners: dict[str, set[PatientKey]] = defaultdict(set)
    for images in alike.values():
        if len(set(images.values())) > 1:
            for path, patient in images.items():
                owners[_digest(path)].add(patient)
    return tuple(frozenset(patients) for patients in owners.values() if len(patients) > 1)


def _files(image: Path) -> list[Path]:
    return sorted(image.iterdir()) if image.is_dir() else [image]


def _digest(image: Path) -> str:
    """Return the digest of all slices together: blank ones are the same in everyone."""
    digest = hashlib.sha256()
    for file in _files(image):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def persons(patients: Sequence[PatientKey], same: Iterable[Same]) -> list[tuple[PatientKey, ...]]:
    """Return the names of every person, in order: one, or all by which `patients_with_same_images` knows them."""
    person = {patient: {patient} for patient in patients}
    for group in same:
        present = [patient for patient in sorted(group) if patient in person]
        merged = set().union(*(person[patient] for patient in present))
        person |= dict.fromkeys(merged, merged)
    return sorted({tuple(sorted(names)) for names in person.values()})
