"""One study of a data set as every door hands it over: where its files are, and how far its labels can be trusted."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path

from inference.label_schemes import LabelScheme
from tracking.timepoint import MRSequence, Tissue

PatientKey = tuple[str, str]


class Quality(IntEnum):
    """How far labels can be trusted; the higher the better. Training chooses, evaluation uses gold alone."""

    UNLABELLED = 0
    SYNTHETIC = 1
    SILVER = 2
    GOLD = 3


class Disease(StrEnum):
    """What the lesions of a data set are."""

    METASTASES = "metastases"
    GLIOMA = "glioma"


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """One study of one patient. Identity and paths stay out of `repr`, so they stay out of logs and tables.

    Attributes
    ----------
    data_set
        Name of the data set; with ``patient_id`` it says who the patient is.
    patient_id
        The data set's name of the patient.
    visit
        Orders the patient's studies; only the order counts.
    day
        Day of the study on a clock of the patient's own; None where only the order is known.
    images
        NIfTI files, or folders of numbered slices (see `inference.training.datasets.files`); at least one.
    labels
        Label file; None where there is none.
    scheme
        What its values mean; None exactly where there are no labels.
    quality
        Of the labels; `Quality.UNLABELLED` exactly where there are none.
    brain
        File of the brain mask; None where the images are already cut to the brain.
    disease
        What the lesions are.
    """

    data_set: str
    patient_id: str = field(repr=False)
    visit: int
    day: int | None = None
    images: Mapping[MRSequence, Path] = field(repr=False)
    labels: Path | None = field(default=None, repr=False)
    scheme: LabelScheme | None = field(default=None, repr=False)
    quality: Quality = Quality.UNLABELLED
    brain: Path | None = field(default=None, repr=False)
    disease: Disease = Disease.METASTASES

    def __post_init__(self) -> None:
        if not self.images:
            raise ValueError(f"A study of {self.data_set} has no image; leave it out.")
        told = {self.labels is not None, self.scheme is not None, self.quality is not Quality.UNLABELLED}
        if len(told) != 1:
            raise ValueError(
                f"A study of {self.data_set} has labels: {self.labels is not None}, a label scheme: "
                f"{self.scheme is not None}, quality: {self.quality.name}; give all three or none."
            )

    @property
    def patient(self) -> PatientKey:
        """Who the patient is, across data sets."""
        return self.data_set, self.patient_id

    @property
    def labelled_tissues(self) -> frozenset[Tissue]:
        """Tissues that were outlined wherever they were seen; none without labels."""
        return self.scheme.labelled_tissues if self.scheme else frozenset()


def by_patient(records: Iterable[StudyRecord]) -> dict[PatientKey, tuple[StudyRecord, ...]]:
    """Group studies by patient, each patient's from the oldest to the newest; patients in the order of their names."""
    grouped: dict[PatientKey, list[StudyRecord]] = defaultdict(list)
    for record in records:
        grouped[record.patient].append(record)
    return {patient: tuple(sorted(grouped[patient], key=_order)) for patient in sorted(grouped)}


def _order(record: StudyRecord) -> tuple[int, str]:
    return record.visit, str(min(record.images.values()))


def for_evaluation(records: Iterable[StudyRecord]) -> tuple[StudyRecord, ...]:
    """Return the studies that a model may be judged by: metastases with gold labels."""
    return tuple(r for r in records if r.quality is Quality.GOLD and r.disease is Disease.METASTASES)
