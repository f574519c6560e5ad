"""Names of series in English, German and French, as they are met in archives."""

import pytest

from dicom_node.studies.hints import read_hint
from tracking.timepoint import MRSequence


@pytest.mark.parametrize(
    "name",
    [
        "T1 SE nach KM tra",
        "t1 mprage mit Gd",
        "AX T1 +C",
        "AX T1 POST",
        "T1 avec injection gado",
        "3D T1 après injection",
        "t1_vibe_KM",
        "AX T1 FS POST GAD",
        "T1W_3D_TFE_KM",
        "BRAVO +C",
        "t1 post-op KM",
    ],
)
def test_names_that_suggest_contrast_agent(name: str) -> None:
    assert read_hint(name).contrast is True


@pytest.mark.parametrize(
    "name",
    [
        "t1_mprage_sag nativ",
        "AX T1 W/O",
        "T1 sans injection",
        "t1 ohne KM",
        "T1 non injecté",
        "T1 PRE",
        "Ax T1 C-",
        "Sag CUBE T1 without contrast",
        "T1 vor KM",
        "t1 post op nativ",
    ],
)
def test_names_that_suggest_none(name: str) -> None:
    assert read_hint(name).contrast is False


@pytest.mark.parametrize(
    "name", ["SAG MPRAGE 220 FOV", "anat-T1w", "T1 TSE SANS FS", "T1 pre/post KM", "t1 pre-op", ""]
)
def test_names_that_say_nothing_of_contrast_agent(name: str) -> None:
    assert read_hint(name).contrast is None


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("t2_tirm_tra_dark-fluid", MRSequence.FLAIR),
        ("AX FLAIR", MRSequence.FLAIR),
        ("SAG T1 FLAIR", MRSequence.T1),
        ("3D BRAVO", MRSequence.T1),
        ("T2W_TSE", MRSequence.T2),
        ("localizer", None),
    ],
)
def test_names_suggest_sequences(name: str, sequence: MRSequence | None) -> None:
    assert read_hint(name).sequence is sequence


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("ep2d_diff_3scan_trace", "diffusion"),
        ("TOF 3D multi-slab", "angiography"),
        ("AAHScout", "localizer"),
        ("T1", ""),
    ],
)
def test_names_suggest_other_uses(name: str, use: str) -> None:
    assert read_hint(name).other_use == use


def test_description_and_protocol_are_read_together_once() -> None:
    assert read_hint("T1 tra", "T1 tra").words == "T1 tra"
    assert read_hint("Ser 5", "t1 mit KM").contrast is True
