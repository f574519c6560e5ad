"""Sequences told from headers of three vendors; descriptions say nothing or lie."""

from typing import Any

import pytest

from dicom_node.studies.headers import Header
from dicom_node.studies.hints import read_hint
from dicom_node.studies.physics import Contrast, SequenceFamily, SeriesPhysics, contrast_of, read_physics
from dicom_node.studies.sequences import find_sequence
from tests.dicom_node.studies.scanners import (
    CT_IMAGE_STORAGE,
    DIFFUSION,
    FLAIR,
    GE_BRAVO,
    PHILIPS_TFE,
    SIEMENS_MPRAGE,
    SPACE_T1,
    SPIN_ECHO_T1,
    SWI,
    T2_TSE,
    TIME_OF_FLIGHT,
    enhanced,
    grid,
    series,
    turned,
)
from tracking.timepoint import MRSequence

T1_FLAIR = FLAIR | {"RepetitionTime": 2200, "EchoTime": 24, "InversionTime": 800}
SPACE_FLAIR = FLAIR | {"MRAcquisitionType": "3D", "RepetitionTime": 5000, "EchoTime": 389, "InversionTime": 1800}
FLASH_2D = SIEMENS_MPRAGE | {
    "ScanningSequence": "GR",
    "SequenceVariant": "SP",
    "MRAcquisitionType": "2D",
    "RepetitionTime": 250,
    "EchoTime": 2.5,
    "InversionTime": None,
    "FlipAngle": 70,
}
VIBE = FLASH_2D | {"MRAcquisitionType": "3D", "RepetitionTime": 4.3, "EchoTime": 1.8, "FlipAngle": 12}
PROTON_DENSITY = T2_TSE | {"EchoTime": 12}
STIR = FLAIR | {"InversionTime": 160, "EchoTime": 60}
CISS = FLASH_2D | {"SequenceVariant": "SS", "RepetitionTime": 6, "EchoTime": 3, "FlipAngle": 50}


def physics(scanner: dict[str, Any], **attributes: Any) -> SeriesPhysics:
    datasets = series(grid((20, 64, 64)), scanner, **attributes)
    return read_physics([Header(path=None, dataset=dataset) for dataset in datasets])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scanner", "sequence"),
    [
        (SIEMENS_MPRAGE, MRSequence.T1),
        (GE_BRAVO, MRSequence.T1),
        (PHILIPS_TFE, MRSequence.T1),
        (SPIN_ECHO_T1, MRSequence.T1),
        (SPACE_T1, MRSequence.T1),
        (FLASH_2D, MRSequence.T1),
        (VIBE, MRSequence.T1),
        (T1_FLAIR, MRSequence.T1),
        (T2_TSE, MRSequence.T2),
        (FLAIR, MRSequence.FLAIR),
        (SPACE_FLAIR, MRSequence.FLAIR),
    ],
)
@pytest.mark.parametrize("name", ["", "Serie 5", "T2 axial"])
def test_physics_decide(scanner: dict[str, Any], sequence: MRSequence, name: str) -> None:
    assert find_sequence(physics(scanner), read_hint(name)).sequence is sequence


@pytest.mark.parametrize(
    ("scanner", "reason"),
    [
        (DIFFUSION, "diffusion-weighted"),
        (DIFFUSION | {"DiffusionBValue": None}, "echo-planar"),
        (SWI, "susceptibility"),
        (TIME_OF_FLIGHT | {"AngioFlag": "Y"}, "angiography"),
        (STIR, "STIR"),
        (CISS, "balanced"),
        (PROTON_DENSITY, "proton-density"),
        (SIEMENS_MPRAGE | {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "reformat"),
        (SIEMENS_MPRAGE | {"ImageType": ["DERIVED", "PRIMARY", "PROJECTION IMAGE"]}, "projection"),
        (SIEMENS_MPRAGE | {"ImageType": ["DERIVED", "PRIMARY", "M", "SUB"]}, "subtraction"),
        (SIEMENS_MPRAGE | {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "phase"),
        (T2_TSE | {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}, "diffusion"),
        (SIEMENS_MPRAGE | {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        (SIEMENS_MPRAGE | {"Modality": "CT", "SOPClassUID": CT_IMAGE_STORAGE}, "modality is CT, not MR"),
    ],
)
def test_other_images_are_refused_with_the_reason(scanner: dict[str, Any], reason: str) -> None:
    finding = find_sequence(physics(scanner), read_hint("T1 mit KM"))
    assert finding.sequence is None
    assert not finding.undecided
    assert reason in finding.evidence


def test_a_name_breaks_the_tie_between_angiography_and_t1() -> None:
    assert find_sequence(physics(TIME_OF_FLIGHT), read_hint("TOF 3D")).sequence is None
    assert find_sequence(physics(TIME_OF_FLIGHT), read_hint("t1 fl3d")).sequence is MRSequence.T1


def test_a_name_breaks_the_tie_between_t2_and_flair() -> None:
    silent = T2_TSE | {"RepetitionTime": 9000, "EchoTime": 120}
    assert find_sequence(physics(silent), read_hint("AX FLAIR")).sequence is MRSequence.FLAIR
    assert find_sequence(physics(silent), read_hint("AX")).sequence is MRSequence.T2


def test_a_header_without_times_is_left_open() -> None:
    finding = find_sequence(physics({"ImageType": ["DERIVED", "SECONDARY"]}), read_hint("anat-T1w"))
    assert finding.undecided


def test_slices_in_several_planes_are_a_localizer() -> None:
    datasets = [
        dataset
        for angles in ((0, 0, 0), (90, 0, 0), (0, 90, 0))
        for dataset in series(grid((5, 32, 32), directions=turned(angles)), VIBE)
    ]
    found = find_sequence(
        read_physics([Header(path=None, dataset=dataset) for dataset in datasets]),  # type: ignore[arg-type]
        read_hint(""),
    )
    assert "localizer" in found.evidence


@pytest.mark.parametrize(
    ("scanner", "family"),
    [
        (SIEMENS_MPRAGE, SequenceFamily.GRADIENT_ECHO_3D),
        (GE_BRAVO, SequenceFamily.GRADIENT_ECHO_3D),
        (FLASH_2D, SequenceFamily.GRADIENT_ECHO_2D),
        (SPIN_ECHO_T1, SequenceFamily.SPIN_ECHO_2D),
        (SPACE_T1, SequenceFamily.SPIN_ECHO_3D),
        ({}, SequenceFamily.UNKNOWN),
    ],
)
def test_families(scanner: dict[str, Any], family: SequenceFamily) -> None:
    assert physics(scanner).family is family


def test_extent_and_orientation_are_measured_from_positions() -> None:
    datasets = series(grid((20, 64, 48), (6.5, 3.5, 3.0), turned((80, 5, 3))), SPIN_ECHO_T1, SliceThickness=5.0)
    found = read_physics([Header(path=None, dataset=dataset) for dataset in datasets])  # type: ignore[arg-type]
    assert (found.slice_count, found.repeats, found.rows, found.columns) == (20, 1, 64, 48)
    assert found.slice_spacing_mm == pytest.approx(6.5, abs=1e-3)
    assert found.slice_thickness_mm == 5.0
    assert found.coverage_mm == pytest.approx(130, abs=0.1)
    assert found.orientation == "coronal"
    assert found.field_strength_t == pytest.approx(1.5)  # the header says 15000, in gauss


def test_enhanced_mr_is_understood() -> None:
    found = read_physics([Header(path=None, dataset=enhanced(grid((20, 64, 64))))])  # type: ignore[arg-type]
    assert (found.repetition_time_ms, found.echo_time_ms, found.inversion_time_ms) == (2300, 2.9, 900)
    assert found.slice_count == 20
    assert find_sequence(found, read_hint("")).sequence is MRSequence.T1


@pytest.mark.parametrize(
    ("attributes", "contrast"),
    [
        ({"ContrastBolusAgent": "Gadovist"}, Contrast.GIVEN),
        ({"ContrastBolusAgent": "JA"}, Contrast.GIVEN),
        ({"ContrastBolusVolume": 7.5}, Contrast.GIVEN),
        ({"ContrastBolusAgent": "GADOVIST", "ContrastBolusVolume": 0}, Contrast.UNKNOWN),
        ({"ContrastBolusAgent": "NO"}, Contrast.NOT_GIVEN),
        ({"ContrastBolusAgent": "none"}, Contrast.NOT_GIVEN),
        ({"ContrastBolusAgent": "ohne"}, Contrast.NOT_GIVEN),
        ({"ContrastBolusAgent": ""}, Contrast.UNKNOWN),
        ({"ContrastBolusAgent": "N/A"}, Contrast.UNKNOWN),
        ({}, Contrast.UNKNOWN),
        (
            {"ContrastBolusAgent": "Dotarem", "ContrastBolusStartTime": "103000", "AcquisitionTime": "101500.25"},
            Contrast.NOT_GIVEN,
        ),
        (
            {"ContrastBolusAgent": "Dotarem", "ContrastBolusStartTime": "101000", "AcquisitionTime": "101500.25"},
            Contrast.GIVEN,
        ),
    ],
)
def test_the_header_on_contrast_agent(attributes: dict[str, Any], contrast: Contrast) -> None:
    found, evidence = contrast_of(series(grid((1, 32, 32)), SIEMENS_MPRAGE, **attributes)[0])
    assert found is contrast
    assert bool(evidence) == (contrast is not Contrast.UNKNOWN or len(attributes) == 2)
