"""One patient after another, each with the newest studies in order of time: what a network with a memory learns from.

All volumes of a patient lie on one grid, that of the newest T1c at a chosen spacing, cut to the brain as inference cuts
it. Volumes are brought there by their headers alone: they must have been registered to each other before, as they are
in sets that lie in an atlas. Nothing here finds out whether they were.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from highdicom import Volume
from monai.data.meta_tensor import MetaTensor
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from inference.preprocessing import normalise
from inference.training.datasets.labels import Target, target_of
from inference.training.datasets.records import Quality, StudyRecord, by_patient
from inference.training.datasets.volumes import brain_on, grid_of, image_on, nothing_known, possible_on
from tracking.timepoint import MRSequence

CHANNELS = (MRSequence.T1C, MRSequence.T1, MRSequence.T2, MRSequence.FLAIR)
MOST_STUDIES = 8
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

Item = dict[str, Any]
Transform = Callable[[Item], Item]


@dataclass(frozen=True, kw_only=True)
class PatientSequence:
    """Studies of one patient from the oldest to the newest.

    Attributes
    ----------
    number
        Stands for the patient, whose name goes no further.
    studies
        At least one of them has a T1c.
    days
        Days since the patient's first study, which may be older than these; None where only the order is known.
    """

    number: int
    studies: tuple[StudyRecord, ...]
    days: tuple[int | None, ...]

    def __post_init__(self) -> None:
        patients = {study.patient for study in self.studies}
        if len(patients) != 1:
            raise ValueError(f"The sequence {self.number} has studies of {len(patients)} patients; it must be one's.")
        visits = [study.visit for study in self.studies]
        if visits != sorted(visits) or len(self.days) != len(visits):
            raise ValueError(f"The studies of sequence {self.number} are not in order of time, each with its day.")


def patient_sequences(
    records: Iterable[StudyRecord],
    *,
    qualities: Collection[Quality],
    most: int = MOST_STUDIES,
) -> tuple[PatientSequence, ...]:
    """Return the newest studies of each patient who has a T1c and a label of these qualities among them.

    Parameters
    ----------
    records
        In any order.
    qualities
        Labels that will be shown. Studies with other labels, or none, stay in the sequence as images.
    most
        How many studies are kept of a patient who has more: the newest.
    """
    chosen: list[PatientSequence] = []
    for studies in by_patient(records).values():
        newest = studies[-most:]
        labelled = any(study.quality in qualities and study.labels for study in newest)
        if labelled and any(MRSequence.T1C in study.images for study in newest):
            days = tuple(_days_between(studies[0], study) for study in newest)
            chosen.append(PatientSequence(number=len(chosen), studies=newest, days=days))
    return tuple(chosen)


def _days_between(first: StudyRecord, study: StudyRecord) -> int | None:
    return None if first.day is None or study.day is None else study.day - first.day


class LongitudinalDataset(Dataset[Item]):
    """Patients as a torch data set; an item is all that is known of one patient.

    Items have different numbers of studies and different grids: use batches of one patient.

    Parameters
    ----------
    records
        From the doors of this package, in any order.
    qualities
        Which labels are shown; voxels of others are unknown. For evaluation: ``{Quality.GOLD}`` and
        `inference.training.datasets.records.for_evaluation`.
    target
        What ``label`` holds.
    spacing_mm
        Edge of the cubic voxels.
    transform
        Called with each item, such as a MONAI dictionary transform: since a patient's studies are channels of one
        array, all of them are turned, cut and warped alike.

    Attributes
    ----------
    sequences
        What the items are made of, see `load_sequence`; a patient is the item's ``"patient"``.
    """

    def __init__(
        self,
        records: Iterable[StudyRecord],
        *,
        qualities: Collection[Quality],
        target: Target = Target.LESION,
        spacing_mm: float = 1.0,
        transform: Transform | None = None,
    ) -> None:
        self.sequences = patient_sequences(records, qualities=qualities)
        if not self.sequences:
            names = ", ".join(sorted(quality.name.lower() for quality in qualities)) or "no quality"
            raise ValueError(f"No patient has a T1c and labels of {names}; choose other qualities or other data.")
        self.qualities = frozenset(qualities)
        self.target = target
        self.spacing_mm = spacing_mm
        self.transform = transform

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, index: int) -> Item:
        item = load_sequence(
            self.sequences[index], qualities=self.qualities, target=self.target, spacing_mm=self.spacing_mm
        )
        return self.transform(item) if self.transform else item


def load_sequence(
    sequence: PatientSequence, *, qualities: Collection[Quality], target: Target, spacing_mm: float
) -> Item:
    """Read a patient's studies onto one grid.

    Returns
    -------
    dict
        Arrays are `MetaTensor`, channel first, index order as `inference.preprocessing.ORIENTATION`; of t studies:

        - ``image`` float32 (4 t, i, j, k): T1c, T1, T2, FLAIR of the oldest study, then of the next; each prepared by
          `inference.preprocessing.normalise`; zeros where a sequence is missing. `by_study` takes them apart.
        - ``label``, ``known`` uint8 (t, i, j, k): what is taught, and 1 where it is known
        - ``possible`` uint8 (t, i, j, k): bit n is set where `Tissue` n is possible, for losses that can use that
        - ``present`` bool tensor (t, 4): which sequences there are
        - ``quality`` int64 tensor (t,): `Quality` of the labels that are shown, 0 where none are
        - ``days`` float32 tensor (t,): since the patient's first study; nan where only the order is known
        - ``patient`` int: the sequence's number

    Raises
    ------
    ValueError
        A file cannot be read, a label value has no meaning, or no brain is found where there is no mask; the message
        names the file.
    """
    grid = _newest_grid(sequence.studies, spacing_mm)
    shown = [study.quality in qualities for study in sequence.studies]
    images = [image for study in sequence.studies for image in _channels(study, grid)]
    possible = np.stack(
        [
            (possible_on(study, grid) if show else nothing_known(grid)).array
            for study, show in zip(sequence.studies, shown, strict=True)
        ]
    )
    label, known = target_of(possible, target)
    arrays: Mapping[str, NDArray[Any]] = {
        "image": np.stack(images),
        "label": label,
        "known": known.astype(np.uint8),
        "possible": possible,
    }
    affine = torch.from_numpy(LPS_TO_RAS @ grid.affine)
    return {name: MetaTensor(torch.from_numpy(array), affine=affine) for name, array in arrays.items()} | {
        "present": torch.tensor([[channel in study.images for channel in CHANNELS] for study in sequence.studies]),
        "quality": torch.tensor(
            [int(s.quality) if show else 0 for s, show in zip(sequence.studies, shown, strict=True)]
        ),
        "days": torch.tensor([float("nan") if days is None else float(days) for days in sequence.days]),
        "patient": sequence.number,
    }


def by_study(image: Tensor) -> Tensor:
    """Take the studies of ``image`` apart: (batch, 4 t, i, j, k) becomes (batch, t, 4, i, j, k)."""
    return image.reshape(image.shape[0], -1, len(CHANNELS), *image.shape[2:])


def _newest_grid(studies: Sequence[StudyRecord], spacing_mm: float) -> Volume:
    return grid_of(next(s for s in reversed(studies) if MRSequence.T1C in s.images), spacing_mm=spacing_mm)


def _channels(study: StudyRecord, grid: Volume) -> list[NDArray[np.float32]]:
    brain = brain_on(study, grid).array.astype(bool)
    return [
        normalise(image_on(study, sequence, grid).array, brain)
        if sequence in study.images
        else np.zeros(grid.spatial_shape, np.float32)
        for sequence in CHANNELS
    ]
