"""What labels mean, and what may be judged where a data set leaves something out."""

import numpy as np
import pytest

from inference.evaluation.labels import LESION, SCHEMES, judged_regions, label_scheme
from inference.evaluation.table import ManifestError
from inference.label_schemes import BRATS_METS
from tracking.timepoint import Tissue

LABELS = np.arange(5)
E, N, D = Tissue.ENHANCING, Tissue.NECROSIS, Tissue.EDEMA


@pytest.mark.parametrize(
    ("name", "enhancing", "necrosis", "edema"),
    [("node", 1, 2, 3), ("yale", 3, 1, 2), ("chuv", 1, 3, 2), ("brats-mets", 3, 1, 2), ("brats-2021", 4, 1, 2)],
)
def test_numbers_of_each_data_set(name: str, enhancing: int, necrosis: int, edema: int) -> None:
    scheme = SCHEMES[name]
    for tissue, number in ((E, enhancing), (N, necrosis), (D, edema)):
        assert np.flatnonzero(scheme.mask(LABELS, frozenset({tissue}))).tolist() == [number]
    assert np.flatnonzero(scheme.mask(LABELS, scheme.lesion)).tolist() == sorted([enhancing, necrosis])


def test_the_nodes_own_labels_are_the_enum() -> None:
    assert SCHEMES["node"].meaning == {int(tissue): {tissue} for tissue in Tissue}


def test_unlabelled_tissue_is_not_judged() -> None:
    node = SCHEMES["node"]
    assert set(judged_regions(node, node)) == {LESION, "enhancing", "necrosis", "edema", "whole_tumour"}
    assert set(judged_regions(label_scheme("1=ENHANCING,2=NECROSIS"), node)) == {LESION, "enhancing", "necrosis"}
    assert set(judged_regions(SCHEMES["lesion"], node)) == {LESION}
    assert judged_regions(SCHEMES["lesion"], node)[LESION] == {E, N}


def test_necrosis_left_out_by_the_truth_is_left_out_of_the_prediction() -> None:
    ucsf, node = SCHEMES["ucsf"], SCHEMES["node"]
    assert judged_regions(ucsf, node) == {LESION: {E}, "enhancing": {E}}
    assert np.flatnonzero(node.mask(LABELS, ucsf.lesion)).tolist() == [1]


def test_one_class_for_the_lesion_cannot_be_told_apart() -> None:
    one_class = label_scheme("7=lesion, 8=EDEMA, 9=UNKNOWN, 3=BACKGROUND")
    assert not one_class.tells(frozenset({E}))
    assert one_class.tells(frozenset({E, N}))
    assert one_class.unknown == {9}
    assert one_class.meaning[0] == one_class.meaning[3] == {Tissue.BACKGROUND}
    one_class.check(np.array([0, 3, 7, 8, 9]), source="truth.nii")


def test_a_label_without_meaning_is_refused() -> None:
    with pytest.raises(ValueError, match=r"truth\.nii has the label 7, which means nothing in yale \(0, 1, 2, 3\)"):
        SCHEMES["yale"].check(np.array([0, 1, 7]), source="truth.nii")


def test_what_has_no_number_may_hide_in_the_background() -> None:
    assert label_scheme("1=ENHANCING,2=NECROSIS").meaning[0] == {Tissue.BACKGROUND, D}
    assert label_scheme("1=LESION,2=UNKNOWN").meaning[0] == {Tissue.BACKGROUND, D}
    assert np.flatnonzero(label_scheme("1=LESION").mask(LABELS, frozenset({D}))).tolist() == []


def test_a_resection_cavity_is_judged_as_background_and_taught_as_unknown() -> None:
    assert SCHEMES["brats-mets"].unknown == frozenset()
    assert BRATS_METS.unknown == {4}


@pytest.mark.parametrize("text", ["Yale", "", "1", "1=TUMOUR", "x=EDEMA", "-1=ENHANCING", "1=ENHANCING,1=EDEMA"])
def test_labels_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ManifestError, match="neither node, yale"):
        label_scheme(text)


def test_0_is_background() -> None:
    assert label_scheme("0=BACKGROUND,1=LESION").meaning == SCHEMES["lesion"].meaning
    with pytest.raises(ManifestError, match="do not take 0 for background"):
        label_scheme("0=ENHANCING,1=EDEMA")


def test_labels_without_a_lesion_are_refused() -> None:
    with pytest.raises(ManifestError, match="no part of a lesion"):
        label_scheme("1=EDEMA")
