"""A synthetic patient: several studies of one head, with lesions whose every mm³ is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from highdicom import Volume

from tracking.timepoint import MRSequence


@dataclass(frozen=True, kw_only=True)
class TrueLesion:
    """One connected lesion of one synthetic study.

    Attributes
    ----------
    names
        Names of the lesions it consists of, for example ``("A",)``; two names after two lesions merged.
    number
        Its value in ``SyntheticStudy.lesions``.
    volume_mm3, longest_diameter_mm, centroid_mm
        True measures (enhancing and necrosis; in-plane diameter; LPS mm) in the study's own patient space.
    """

    names: tuple[str, ...]
    number: int
    volume_mm3: float
    longest_diameter_mm: float
    centroid_mm: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class SyntheticStudy:
    """One synthetic examination.

    Attributes
    ----------
    study_date
        Date of the examination.
    images
        Scanner-like images, one native grid each (i = slice), non-negative integers that fit DICOM's 12 bits.
    labels
        uint16 truth on the grid of the T1c: 0 background, n the lesion with ``number`` n.
    lesions
        The truth, lesion by lesion.
    """

    study_date: date
    images: Mapping[MRSequence, Volume]
    labels: Volume
    lesions: tuple[TrueLesion, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class SyntheticPatient:
    """One generated patient.

    Attributes
    ----------
    seed
        The same seed gives the same patient, bit for bit, on the same library versions.
    studies
        In order of date; each has its own frame of reference, as after a new positioning of the head.
    """

    seed: int
    studies: tuple[SyntheticStudy, ...]
