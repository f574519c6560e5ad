"""One patient after another, each with the newest studies in order of time: what a network with a memory learns from.

All volumes of a patient lie on one grid, that of the newest T1c at a chosen spacing, cut to the brain as inference cuts
it. Volumes are brought there by their headers alone: they must have been registered to each other before, as they are
in sets that lie in an atlas. Nothing here finds out whether they were.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fill_voids
import numpy as np
import torch
from highdicom import Volume
from monai.data.meta_tensor import MetaTensor
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from inference.brain import LARGEST_BRAIN_ML
from inference.preprocessing import normalise, to_model_grid
from inference.training.datasets.files import read_volume
from inference.training.datasets.labels import NOTHING_KNOWN, Possible, Target, possible_tissues, target_of
from inference.training.datasets.records import Quality, StudyRecord, by_patient
from tracking.geometry import resample_like
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
        A file cannot be read, a label value has no meaning, or an image shows more than a brain and has no brain mask;
        the message names the file.
    """
    grid = _grid(sequence.studies, spacing_mm)
    shown = [study.quality in qualities for study in sequence.studies]
    images = [image for study in sequence.studies for image in _channels(study, grid)]
    possible = np.stack(
        [_possible(s, grid) if show else _unknown(grid) for s, show in zip(sequence.studies, shown, strict=True)]
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


def _grid(studies: Sequence[StudyRecord], spacing_mm: float) -> Volume:
    newest = next(study for study in reversed(studies) if MRSequence.T1C in study.images)
    t1c = read_volume(newest.images[MRSequence.T1C])
    return to_model_grid(t1c, resample_like(_brain(newest), t1c, interpolation="nearest"), spacing_mm=spacing_mm)[0]


def _channels(study: StudyRecord, grid: Volume) -> list[NDArray[np.float32]]:
    brain = resample_like(_brain(study), grid, interpolation="nearest").array.astype(bool)
    channels = []
    for sequence in CHANNELS:
        if sequence in study.images:
            # Half a voxel of the grid may lie beyond the last voxel centre: extend the image there.
            image = read_volume(study.images[sequence]).pad(1, mode="edge")
            channels.append(normalise(resample_like(image, grid).array, brain))
        else:
            channels.append(np.zeros(grid.spatial_shape, np.float32))
    return channels


def _brain(study: StudyRecord) -> Volume:
    """Return the brain mask, uint8: that of the study, or all that an image cut to the brain shows."""
    if study.brain:
        mask = read_volume(study.brain)
        return mask.with_array((mask.array > 0).astype(np.uint8))
    path = next(study.images[channel] for channel in CHANNELS if channel in study.images)
    image = read_volume(path)
    mask = image.with_array(fill_voids.fill(image.array != 0).astype(np.uint8))
    volume_ml = float(mask.array.sum()) * image.voxel_volume / 1000
    if volume_ml > LARGEST_BRAIN_ML:
        raise ValueError(
            f"{path} shows {volume_ml:.0f} ml, more than a brain: cut it to the brain, or give a brain mask "
            "(StudyRecord.brain)."
        )
    return mask


def _possible(study: StudyRecord, grid: Volume) -> Possible:
    if study.labels is None or study.scheme is None:
        return _unknown(grid)
    labels = read_volume(study.labels)
    a, b, c = labels.spacing
    possible = possible_tissues(labels.array, study.scheme, spacing_mm=(a, b, c), source=str(study.labels))
    sampled = resample_like(labels.with_array(possible), grid, interpolation="nearest", fill=NOTHING_KNOWN)
    return np.asarray(sampled.array, dtype=np.uint8)


def _unknown(grid: Volume) -> Possible:
    return np.full(grid.spatial_shape, NOTHING_KNOWN, np.uint8)
