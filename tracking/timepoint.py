"""What one visit of a patient looks like to the analysis: images on named sequences, geometry in LPS mm."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import IntEnum, StrEnum

from highdicom import Volume


class MRSequence(StrEnum):
    """The four MR sequences that the analysis uses."""

    T1 = "T1"
    T1C = "T1c"
    T2 = "T2"
    FLAIR = "FLAIR"


class Tissue(IntEnum):
    """The project's one label convention; every data set and model is remapped to it at its door."""

    BACKGROUND = 0
    ENHANCING = 1
    NECROSIS = 2
    EDEMA = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Timepoint:
    """One study as the analysis sees it.

    Attributes
    ----------
    study_uid
        Study Instance UID.
    study_date
        Date of the examination.
    images
        One scalar volume per sequence, each on its own grid (LPS, mm); ``T1C`` is always present.
    brain
        Boolean volume on the grid of ``T1C``; None until the brain has been found.
    lesions
        uint16 volume on the grid of ``T1C``: 0 background, n the lesion with number n; None if not segmented.
    """

    study_uid: str
    study_date: date
    images: Mapping[MRSequence, Volume]
    brain: Volume | None = None
    lesions: Volume | None = None


def labels_of(study: Timepoint) -> Volume:
    """Return the label volume of a study.

    Raises
    ------
    ValueError
        If it has none.
    """
    if study.lesions is None:
        raise ValueError(f"Study {study.study_uid} has no label volume; segment it first.")
    return study.lesions
