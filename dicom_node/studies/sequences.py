"""Which MR sequence a series is, from pulse sequence, times and angles alone; names only break a tie.

Limits follow common clinical protocols at 1 to 3 tesla (for example Bernstein, King, Zhou: Handbook of MRI Pulse
Sequences, 2004, chapters 11, 14 and 17.3): fluid is nulled by inversion times of 1500 to 3000 ms, fat by 80 to 300 ms.
"""

from collections.abc import Callable
from dataclasses import dataclass

from dicom_node.studies.hints import Hint
from dicom_node.studies.physics import SequenceFamily, SeriesPhysics
from tracking.timepoint import MRSequence

GRADIENT_ECHO = {SequenceFamily.GRADIENT_ECHO_2D, SequenceFamily.GRADIENT_ECHO_3D}

# Image types (PS3.3 C.8.3.1.1.1 and the vendors' own third values) that no lesion is measured on.
UNSUITABLE_IMAGE_TYPES = {
    "LOCALIZER": "a localizer",
    "SCOUT": "a localizer",
    "MIP": "a maximum intensity projection",
    "MNIP": "a minimum intensity projection",
    "MIN IP": "a minimum intensity projection",
    "MAX_IP": "a maximum intensity projection",
    "MIN_IP": "a minimum intensity projection",
    "PROJECTION IMAGE": "a projection",
    "PROJECTION": "a projection",
    "MPR": "a reformat of another series",
    "REFORMATTED": "a reformat of another series",
    "CURVED": "a curved reformat",
    "SUBTRACTION": "a subtraction image",
    "SUBTRACT": "a subtraction image",
    "SUB": "a subtraction image",
    "ADC": "a diffusion map",
    "TRACEW": "a diffusion image",
    "FA": "a diffusion map",
    "DIFFUSION": "a diffusion image",
    "RCBV": "a perfusion map",
    "CBV": "a perfusion map",
    "CBF": "a perfusion map",
    "MTT": "a perfusion map",
    "TTP": "a perfusion map",
    "PERFUSION": "a perfusion image",
    "ASL": "a perfusion image",
    "SWI": "a susceptibility-weighted image",
    "P": "a phase image",
    "PHASE": "a phase image",
    "PHASE MAP": "a phase image",
    "IMAGINARY": "an imaginary-part image",
    "FIELD_MAP": "a field map",
    "B0": "a field map",
    "T1_MAP": "a map of relaxation times",
    "T1 MAP": "a map of relaxation times",
    "T2_MAP": "a map of relaxation times",
    "T2 MAP": "a map of relaxation times",
    "SCREEN SAVE": "a screenshot",
    "SCREENSHOT": "a screenshot",
    "MOSAIC": "a mosaic of slices",
}


@dataclass(frozen=True, kw_only=True)
class SequenceFinding:
    """What a series is.

    Attributes
    ----------
    sequence
        T1 (with or without contrast agent), T2 or FLAIR; None when it is none of them or the header cannot tell.
    evidence
        Words for the reason: what it is, and by which values.
    undecided
        The header has too little physics to decide.
    """

    sequence: MRSequence | None
    evidence: str
    undecided: bool = False


def find_sequence(physics: SeriesPhysics, hint: Hint) -> SequenceFinding:
    """Classify a series of images by its physics.

    Parameters
    ----------
    physics
        What the header says.
    hint
        What its names suggest; used where T2 and FLAIR, or angiography and T1, have the same physics, and told where
        it contradicts them.
    """
    for rule in (_modality, _image_type, _weighting_of_other_kinds):
        if reason := rule(physics, hint):
            return SequenceFinding(sequence=None, evidence=reason)
    if physics.repetition_time_ms is None or physics.echo_time_ms is None:
        return SequenceFinding(sequence=None, evidence="its header states no TR and TE", undecided=True)
    decide: Callable[[SeriesPhysics, Hint], SequenceFinding]
    if physics.family in GRADIENT_ECHO:
        decide = _gradient_echo
    elif physics.inversion_time_ms is not None or "IR" in physics.scanning_sequence:
        decide = _inversion_recovery
    else:
        decide = _spin_echo
    return decide(physics, hint)


def times(physics: SeriesPhysics) -> str:
    """Tell family, TR, TE, TI and flip angle for a reason."""
    parts = [str(physics.family)] if physics.family is not SequenceFamily.UNKNOWN else []
    for name, value, unit in (
        ("TR", physics.repetition_time_ms, "ms"),
        ("TE", physics.echo_time_ms, "ms"),
        ("TI", physics.inversion_time_ms, "ms"),
        ("flip angle", physics.flip_angle_deg, "degrees"),
    ):
        if value is not None:
            parts.append(f"{name} {value:.4g} {unit}")
    return ", ".join(parts)


def _modality(physics: SeriesPhysics, _: Hint) -> str:
    return "" if physics.modality == "MR" else f"its modality is {physics.modality or 'not stated'}, not MR"


def _image_type(physics: SeriesPhysics, _: Hint) -> str:
    found = next((value for value in physics.image_type if value in UNSUITABLE_IMAGE_TYPES), None)
    if found is None:
        return ""
    return f"it is {UNSUITABLE_IMAGE_TYPES[found]} (Image Type {found!r})"


def _weighting_of_other_kinds(physics: SeriesPhysics, hint: Hint) -> str:
    in_several_planes = physics.slice_count > 0 and physics.rows > 0 and not physics.orientation
    named_angiography = hint.other_use == "angiography" and physics.family is SequenceFamily.GRADIENT_ECHO_3D
    rules = (
        (physics.b_value_s_mm2 > 0, f"it is diffusion-weighted (b-value {physics.b_value_s_mm2:g} s/mm²)"),
        (
            "EP" in physics.scanning_sequence,
            "it is echo-planar (Scanning Sequence EP), as diffusion, perfusion and functional series are",
        ),
        (physics.angiography, "it is an angiography (Angio Flag or time of flight)"),
        (in_several_planes, "it is a localizer: its slices lie in several planes"),
        (physics.repeats > 2, f"it is dynamic: {physics.repeats} images lie at each place"),
        (named_angiography, f"it is an angiography ({times(physics)}; it is named {hint.words!r})"),
    )
    return next((reason for applies, reason in rules if applies), "")


def _gradient_echo(physics: SeriesPhysics, _: Hint) -> SequenceFinding:
    repetition, echo = physics.repetition_time_ms or 0.0, physics.echo_time_ms or 0.0
    flip, inversion = physics.flip_angle_deg or 90.0, physics.inversion_time_ms or 0.0
    variant = set(physics.sequence_variant)
    prepared = inversion > 0 or "MP" in variant or "IR" in physics.scanning_sequence or repetition > 1000
    balanced = "SS" in variant and not variant & {"SP", "MP"}
    rules = (
        (echo >= 12, "T2*- or susceptibility-weighted"),
        (balanced and flip > 30 and repetition < 30, "a balanced steady-state sequence"),
        (prepared and inversion > 1500, "inverted too early for T1 weighting"),
        (not prepared and repetition > 60 and flip <= 30, "proton-density- or T2*-weighted"),
        (not prepared and repetition <= 60 and flip < 6, "proton-density-weighted"),
    )
    for applies, what in rules:
        if applies:
            return _other(physics, what)
    return _found(MRSequence.T1, physics, "inversion-prepared and T1-weighted" if prepared else "T1-weighted")


def _inversion_recovery(physics: SeriesPhysics, _: Hint) -> SequenceFinding:
    echo, inversion = physics.echo_time_ms or 0.0, physics.inversion_time_ms
    if inversion is not None and inversion < 300:
        return _other(physics, "fat-nulled (STIR)")
    if echo >= 60 and (inversion is None or 1300 <= inversion <= 3200):
        return _found(MRSequence.FLAIR, physics, "T2-weighted with nulled fluid")
    if echo < 60 and (inversion is None or inversion <= 1300):
        return _found(MRSequence.T1, physics, "inversion-prepared and T1-weighted")
    return _other(physics, "an inversion recovery of another kind")


def _spin_echo(physics: SeriesPhysics, hint: Hint) -> SequenceFinding:
    repetition, echo = physics.repetition_time_ms or 0.0, physics.echo_time_ms or 0.0
    if echo <= 40 and repetition <= 1300:
        return _found(MRSequence.T1, physics, "T1-weighted")
    if echo >= 60 and repetition >= 1500:
        nulled = hint.sequence is MRSequence.FLAIR or "ir" in physics.sequence_name.lower()
        if nulled and repetition >= 4000:
            return _found(MRSequence.FLAIR, physics, f"T2-weighted and by its name {hint.words!r} with nulled fluid")
        return _found(MRSequence.T2, physics, "T2-weighted")
    if echo <= 40:
        return _other(physics, "proton-density-weighted")
    return _other(physics, "neither clearly T1- nor T2-weighted")


def _found(sequence: MRSequence, physics: SeriesPhysics, what: str) -> SequenceFinding:
    return SequenceFinding(sequence=sequence, evidence=f"{what} ({times(physics)})")


def _other(physics: SeriesPhysics, what: str) -> SequenceFinding:
    return SequenceFinding(sequence=None, evidence=f"it is {what} ({times(physics)})")
