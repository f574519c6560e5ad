"""Differences of acquisition that the reader must know, and none where two studies compare well."""

from dataclasses import replace
from typing import Any

import pytest

from dicom_node.studies.comparability import compare_acquisitions
from dicom_node.studies.physics import Contrast, SequenceFamily, SeriesPhysics

MPRAGE = SeriesPhysics(
    modality="MR",
    field_strength_t=3.0,
    pixel_spacing_mm=0.9,
    slice_thickness_mm=1.0,
    slice_spacing_mm=1.0,
    orientation="sagittal",
    contrast=Contrast.GIVEN,
    family=SequenceFamily.GRADIENT_ECHO_3D,
)


def test_equal_acquisitions_compare_well() -> None:
    assert len(compare_acquisitions(MPRAGE, MPRAGE)) == 1
    (both,) = compare_acquisitions(replace(MPRAGE, slice_thickness_mm=1.1, field_strength_t=2.89), MPRAGE)
    assert "slice thickness 1.1 mm / 1 mm" in both
    assert "field strength 2.89 T / 3 T" in both
    assert "slices sagittal;" in both


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"slice_thickness_mm": 5.0}, "slice thickness differs: 1 mm now, 5 mm"),
        ({"slice_spacing_mm": 6.5}, "slice spacing differs: 1 mm now, 6.5 mm"),
        ({"field_strength_t": 1.5}, "field strength differs: 3 T now, 1.5 T"),
        ({"family": SequenceFamily.SPIN_ECHO_2D}, "3D gradient echo now, 2D spin echo"),
        ({"family": SequenceFamily.UNKNOWN}, "header of the prior study does not tell the sequence family"),
        ({"orientation": "axial"}, "sagittal now and axial"),
        ({"contrast": Contrast.UNKNOWN}, "not certain whether contrast agent was given in the prior study"),
    ],
)
def test_each_difference_is_told(changes: dict[str, Any], words: str) -> None:
    sentences = compare_acquisitions(MPRAGE, replace(MPRAGE, **changes))
    assert len(sentences) == 2
    assert words in sentences[1]


def test_what_is_not_known_is_not_called_different() -> None:
    unknown = replace(MPRAGE, slice_thickness_mm=None, slice_spacing_mm=None, field_strength_t=None, orientation="")
    (both,) = compare_acquisitions(MPRAGE, unknown)
    assert "slice thickness 1 mm / not stated" in both
    assert "field strength 3 T / not stated" in both
    assert "slices sagittal / not stated" in both
