"""What label values say of a voxel: remapping, lesions of unknown tissue, and what nobody labelled."""

import numpy as np
import pytest

from inference import label_schemes as door
from inference.label_schemes import ANY, LabelScheme
from inference.training.datasets.labels import (
    NOTHING_KNOWN,
    Target,
    bits,
    enclosed,
    possible_tissues,
    target_of,
)
from tests.inference.datasets.samples import LESION_MM, SPACING_MM, ball
from tracking.timepoint import Tissue

B, E, N, O = Tissue.BACKGROUND, Tissue.ENHANCING, Tissue.NECROSIS, Tissue.EDEMA  # noqa: E741 - the table below is short
SPACING = (SPACING_MM,) * 3

MEANINGS = [
    (door.BRATS_METS, {0: {B}, 1: {N}, 2: {O}, 3: {E}, 4: {B, E, N, O}}, {E, N, O}),
    (door.BRATS_2021, {0: {B}, 1: {N}, 2: {O}, 4: {E}}, {E, N, O}),
    (door.YALE, {0: {B}, 1: {N}, 2: {O}, 3: {E}}, {E, N, O}),
    (door.CHUV, {0: {B}, 1: {E}, 2: {O}, 3: {N}}, {E, N, O}),
    (door.WHOLE_LESION, {0: {B, O}, 1: {E, N}}, {E, N}),
    (door.BRAINMETSHARE, {0: {B, O}, 1: {E, N}, 255: {E, N}}, {E, N}),
    (door.OURS, {0: {B}, 1: {E}, 2: {N}, 3: {O}}, {E, N, O}),
    (door.ENHANCING_ALONE, {0: {B, N, O}, 1: {E}}, {E}),
]


@pytest.mark.parametrize(("scheme", "meaning", "labelled"), MEANINGS, ids=lambda value: getattr(value, "name", ""))
def test_values_mean_what_the_data_set_says(
    scheme: LabelScheme, meaning: dict[int, set[Tissue]], labelled: set[Tissue]
) -> None:
    assert {value: set(tissues) for value, tissues in scheme.meaning.items()} == meaning
    assert scheme.labelled_tissues == labelled


def test_bits_tell_tissues_apart() -> None:
    assert [bits([tissue]) for tissue in Tissue] == [1, 2, 4, 8]
    assert bits(ANY) == NOTHING_KNOWN == 15


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_an_array_is_translated_voxel_by_voxel(dtype: type) -> None:
    values = np.array([[[0, 1, 2], [3, 4, 0]]], dtype)
    possible = possible_tissues(values, door.BRATS_METS, spacing_mm=SPACING, source="seg.nii.gz")
    assert possible.dtype == np.uint8
    assert possible.tolist() == [[[1, 4, 8], [2, 15, 1]]]


@pytest.mark.parametrize(("value", "shown"), [(7, "7"), (2.5, "2.5"), (-1, "-1"), (np.nan, "nan"), (1e300, r"1e\+300")])
def test_a_value_without_meaning_is_refused_by_file_and_value(value: float, shown: str) -> None:
    with pytest.raises(
        ValueError, match=rf"patient-0/seg\.nii\.gz has the label {shown}, which means nothing in brats-mets"
    ):
        possible_tissues(
            np.array([[[0.0, 1, value]]]), door.BRATS_METS, spacing_mm=SPACING, source="patient-0/seg.nii.gz"
        )


def test_a_scheme_must_say_what_0_is() -> None:
    with pytest.raises(ValueError, match="value 0 has no meaning"):
        LabelScheme(name="x", meaning={1: frozenset({E})})
    with pytest.raises(ValueError, match=r"values \[1\] mean no tissue"):
        LabelScheme(name="x", meaning={0: frozenset({B}), 1: frozenset()})


def test_targets_know_only_what_is_certain() -> None:
    every = np.arange(1, 16, dtype=np.uint8)
    lesion, lesion_known = target_of(every, Target.LESION)
    tissue, tissue_known = target_of(every, Target.TISSUE)
    sets = [{t for t in Tissue if value & (1 << t)} for value in every.tolist()]
    assert lesion.tolist() == [int(one <= {E, N}) for one in sets]
    assert lesion_known.tolist() == [one <= {E, N} or not one & {E, N} for one in sets]
    assert tissue_known.tolist() == [len(one) == 1 for one in sets]
    assert tissue.tolist() == [int(min(one)) if len(one) == 1 else 0 for one in sets]


def test_a_whole_lesion_is_certain_as_lesion_and_uncertain_as_tissue() -> None:
    truth = ball(LESION_MM, 10).astype(np.uint8)
    possible = possible_tissues(truth, door.WHOLE_LESION, spacing_mm=SPACING, source="")
    label, known = target_of(possible, Target.LESION)
    np.testing.assert_array_equal(label, truth)
    assert known.all()
    assert not target_of(possible, Target.TISSUE)[1].any()  # neither the lesion's tissue nor edema around it is told


def test_a_resection_cavity_is_unknown_and_not_background() -> None:
    possible = possible_tissues(np.array([[[4, 0]]]), door.BRATS_METS, spacing_mm=SPACING, source="")
    for target in Target:
        assert target_of(possible, target)[1].tolist() == [[[False, True]]]


@pytest.mark.parametrize("gap", [False, True])
def test_what_an_enhancing_rim_encloses_is_unknown_and_the_rest_is_no_lesion(gap: bool) -> None:
    core = ball(LESION_MM, 7)
    rim = ball(LESION_MM, 12) & ~core
    if gap:  # a tunnel of one voxel
        rim[ball((LESION_MM[0] + 9, *LESION_MM[1:]), 2)] = False
    solid = ball((-20, 0, 0), 8)
    possible = possible_tissues((rim | solid).astype(np.uint8), door.ENHANCING_ALONE, spacing_mm=SPACING, source="")
    label, known = target_of(possible, Target.LESION)
    np.testing.assert_array_equal(label, rim | solid)
    assert not known[core].any()
    far = ~ball(LESION_MM, 13) & ~solid
    assert known[far].mean() > 0.999  # touching corners of the solid ball may be closed
    assert (possible[far & known] == bits([B, O])).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_a_rim_encloses_in_one_plane_alone_is_enclosed(axis: int) -> None:
    ring = np.zeros((30, 30), bool)
    ring[4:26, 4:26], ring[7:23, 7:23] = True, False
    tube = np.stack([ring] * 5, axis)
    expected = np.zeros((30, 30), bool)
    expected[7:23, 7:23] = True
    assert (enclosed(tube, spacing_mm=(1, 1, 1)) >= np.stack([expected] * 5, axis)).all()


def test_enclosed_is_measured_in_mm() -> None:
    walls = np.zeros((12, 12, 12), bool)
    walls[:, 3], walls[:, 8] = True, True  # 4 voxels apart
    assert enclosed(walls, spacing_mm=(1, 1, 1))[2:-2, 4:8, 2:-2].all()
    assert not enclosed(walls, spacing_mm=(1, 3, 1)).any()
    assert not enclosed(np.zeros((3, 3, 3), bool), spacing_mm=(1, 1, 1)).any()
