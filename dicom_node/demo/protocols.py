"""The header tells the physics of the contrast that the generator painted, and nothing of any real scanner."""

from dataclasses import dataclass

from tracking.timepoint import MRSequence

THREE_DIMENSIONAL_UP_TO_MM = 1.5


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Acquisition attributes of one MR series (PS3.3 C.8.3.1, MR Image Module).

    Attributes
    ----------
    number, description
        Series Number and Series Description.
    scanning_sequence, sequence_variant, scan_options
        Multi-valued code strings.
    repetition_time_ms, echo_time_ms, inversion_time_ms, flip_angle_deg, echo_train_length
        Timing; no inversion time for sequences without an inversion pulse.
    contrast_agent
        Contrast/Bolus Agent; empty when none was given.
    minutes
        Start of the series after the start of the study.
    """

    number: int
    description: str
    scanning_sequence: tuple[str, ...]
    sequence_variant: tuple[str, ...]
    acquisition_type: str
    repetition_time_ms: float
    echo_time_ms: float
    flip_angle_deg: float
    echo_train_length: int
    minutes: int
    inversion_time_ms: float | None = None
    scan_options: tuple[str, ...] = ()
    contrast_agent: str = ""


LOCALIZER = Protocol(
    number=1,
    description="localizer 3-plane",
    scanning_sequence=("GR",),
    sequence_variant=("SP",),
    acquisition_type="2D",
    repetition_time_ms=8.6,
    echo_time_ms=4.0,
    flip_angle_deg=20,
    echo_train_length=1,
    minutes=0,
)

_T1C_3D = Protocol(
    number=5,
    description="t1 mprage 3D post contrast",
    scanning_sequence=("GR", "IR"),
    sequence_variant=("SP", "MP"),
    acquisition_type="3D",
    repetition_time_ms=2300,
    echo_time_ms=2.98,
    inversion_time_ms=900,
    flip_angle_deg=9,
    echo_train_length=1,
    minutes=22,
    contrast_agent="Gadobutrol",
)
_T1C_2D = Protocol(
    number=5,
    description="t1 se post contrast",
    scanning_sequence=("SE",),
    sequence_variant=("NONE",),
    acquisition_type="2D",
    repetition_time_ms=550,
    echo_time_ms=10,
    flip_angle_deg=90,
    echo_train_length=1,
    minutes=22,
    contrast_agent="Gadobutrol",
)
_T1_3D = Protocol(
    number=2,
    description="t1 mprage 3D",
    scanning_sequence=("GR", "IR"),
    sequence_variant=("SP", "MP"),
    acquisition_type="3D",
    repetition_time_ms=2300,
    echo_time_ms=2.98,
    inversion_time_ms=900,
    flip_angle_deg=9,
    echo_train_length=1,
    minutes=2,
)
_T1_2D = Protocol(
    number=2,
    description="t1 se",
    scanning_sequence=("SE",),
    sequence_variant=("NONE",),
    acquisition_type="2D",
    repetition_time_ms=550,
    echo_time_ms=10,
    flip_angle_deg=90,
    echo_train_length=1,
    minutes=2,
)
_T2_3D = Protocol(
    number=3,
    description="t2 space 3D",
    scanning_sequence=("SE",),
    sequence_variant=("SK", "SP"),
    acquisition_type="3D",
    repetition_time_ms=3200,
    echo_time_ms=410,
    flip_angle_deg=120,
    echo_train_length=282,
    minutes=8,
)
_T2_2D = Protocol(
    number=3,
    description="t2 tse",
    scanning_sequence=("SE",),
    sequence_variant=("SK",),
    acquisition_type="2D",
    repetition_time_ms=5000,
    echo_time_ms=95,
    flip_angle_deg=150,
    echo_train_length=15,
    minutes=8,
)
_FLAIR_3D = Protocol(
    number=4,
    description="flair space 3D",
    scanning_sequence=("SE", "IR"),
    sequence_variant=("SK", "SP", "MP"),
    acquisition_type="3D",
    repetition_time_ms=5000,
    echo_time_ms=390,
    inversion_time_ms=1800,
    flip_angle_deg=120,
    echo_train_length=278,
    minutes=14,
)
_FLAIR_2D = Protocol(
    number=4,
    description="flair tse",
    scanning_sequence=("SE", "IR"),
    sequence_variant=("SK", "MP"),
    acquisition_type="2D",
    repetition_time_ms=9000,
    echo_time_ms=90,
    inversion_time_ms=2500,
    flip_angle_deg=150,
    echo_train_length=16,
    minutes=14,
)

_THIN = {MRSequence.T1C: _T1C_3D, MRSequence.T1: _T1_3D, MRSequence.T2: _T2_3D, MRSequence.FLAIR: _FLAIR_3D}
_THICK = {MRSequence.T1C: _T1C_2D, MRSequence.T1: _T1_2D, MRSequence.T2: _T2_2D, MRSequence.FLAIR: _FLAIR_2D}


def protocol_of(sequence: MRSequence, slice_spacing_mm: float) -> Protocol:
    """Return the protocol that such an image would come from: 3D up to 1.5 mm between slices, else 2D."""
    family = _THIN if slice_spacing_mm <= THREE_DIMENSIONAL_UP_TO_MM else _THICK
    return family[sequence]
