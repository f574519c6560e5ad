"""Scores of one scan against counts made by hand."""

import numpy as np
import pytest

from inference.evaluation.detection import MatchRule
from inference.evaluation.labels import SCHEMES
from inference.evaluation.overlap import Confusion
from inference.evaluation.scan import LabelSchemes
from inference.evaluation.scoring import response, score_pairs
from inference.evaluation.table import ManifestError
from tests.inference.evaluation.phantoms import NODE, SHAPE, box, cubes, scan, scored, truth_of

ANY = MatchRule.ANY_OVERLAP


def test_one_found_one_missed_one_false() -> None:
    score = scored(scan(cubes(((2, 2, 2), 4), ((12, 12, 12), 3)), cubes(((3, 2, 2), 4), ((20, 20, 2), 2))))
    first, second = score.lesions
    assert score.voxels == Confusion(tp=48, fp=24, fn=43, tn=24**3 - 115)
    assert (first.volume_mm3, first.predicted_volume_mm3) == (64, 64)
    assert (first.dice, first.hd95_mm, first.parts, first.neighbours) == (0.75, 1, 1, 0)
    assert (second.dice, second.hd95_mm, second.predicted_volume_mm3, second.parts) == (None, None, 0, 0)
    assert (first.found[ANY], second.found[ANY]) == (True, False)
    assert sorted(score.predicted_volumes_mm3) == [8, 64]
    assert score.false_volumes_mm3 == (8,)
    assert (score.true_volume_mm3, score.predicted_volume_mm3) == (91, 72)


def test_defect_9_volumes_are_mm3_not_voxels() -> None:
    score = scored(scan(cubes(((2, 2, 2), 4)), cubes(((2, 2, 2), 3)), spacing_mm=(0.5, 0.5, 3.0)))
    assert score.lesions[0].volume_mm3 == pytest.approx(64 * 0.75)
    assert score.lesions[0].predicted_volume_mm3 == pytest.approx(27 * 0.75)
    assert score.predicted_volume_mm3 == pytest.approx(27 * 0.75)
    assert score.true_volume_mm3 == pytest.approx(64 * 0.75)
    assert score.slice_spacing_mm == 3.0
    assert score.lesions[0].hd95_mm == pytest.approx(np.hypot(0.5, 3.0))


def test_defect_5_a_false_alarm_far_away_lowers_the_score_of_the_scan() -> None:
    """On a crop around the lesion this prediction would be perfect."""
    truth, prediction = cubes(((2, 2, 2), 4)), cubes(((2, 2, 2), 4), ((18, 18, 18), 4))
    assert scored(scan(truth, prediction)).voxels.dice == pytest.approx(2 / 3)
    assert scored(scan(truth, prediction)).detection[ANY].false_positives == 1
    crop = slice(0, 10)
    assert scored(scan(truth[crop, crop, crop], prediction[crop, crop, crop])).voxels.dice == 1


def test_defect_8_volumes_of_a_merged_prediction_are_divided() -> None:
    truth = cubes(((2, 2, 2), 4), ((8, 2, 2), 4))
    merged = box(cubes(), (2, 2, 2), (10, 4, 4))
    score = scored(scan(truth, merged))
    assert [lesion.predicted_volume_mm3 for lesion in score.lesions] == [80, 80]
    assert [lesion.neighbours for lesion in score.lesions] == [1, 1]
    assert [lesion.dice for lesion in score.lesions] == [pytest.approx(2 * 64 / 144)] * 2


def test_parts_of_a_lesion_are_taken_together() -> None:
    score = scored(scan(box(cubes(), (2, 2, 2), (10, 4, 4)), cubes(((2, 2, 2), 4), ((8, 2, 2), 4))))
    assert (score.lesions[0].parts, score.lesions[0].neighbours) == (2, 0)
    assert score.lesions[0].predicted_volume_mm3 == 128


def test_the_unknown_counts_neither_way() -> None:
    known = np.ones(SHAPE, bool)
    known[:, :, 16:] = False
    truth = cubes(((2, 2, 2), 4), ((12, 12, 14), 4), ((2, 12, 19), 3))
    prediction = cubes(((2, 2, 2), 4), ((20, 20, 18), 3), ((12, 12, 14), 4), ((20, 2, 15), 2))
    score = scored(scan(truth, prediction, known=known))
    assert [lesion.volume_mm3 for lesion in score.lesions] == [64, 32]
    assert score.voxels == Confusion(tp=96, fp=4, fn=0, tn=16 * 24 * 24 - 100)
    assert score.detection[ANY].predictions == 2
    assert score.false_volumes_mm3 == ()
    assert score.predicted_volume_mm3 == 96


def test_a_prediction_that_goes_on_into_the_unknown_is_measured_where_it_is_known() -> None:
    known = np.ones(SHAPE, bool)
    known[:, :, 16:] = False
    (lesion,) = scored(scan(cubes(((2, 2, 12), 4)), box(cubes(), (2, 2, 12), (4, 4, 9)), known=known)).lesions
    assert (lesion.predicted_volume_mm3, lesion.dice, lesion.hd95_mm) == (64, 1, 0)


def test_identities_name_lesions_and_keep_touching_ones_apart() -> None:
    truth = box(cubes(), (2, 2, 2), (8, 4, 4))
    identities = box(box(cubes(), (2, 2, 2), (4, 4, 4), label=30), (6, 2, 2), (4, 4, 4), label=7)
    apart = truth_of(scan(truth, truth, identities=identities))
    assert apart.identities == (7, 30)
    assert [lesion.identity for lesion in scored(scan(truth, truth, identities=identities)).lesions] == [7, 30]
    assert truth_of(scan(truth, truth)).count == 1


def test_identities_must_cover_every_lesion() -> None:
    truth = cubes(((2, 2, 2), 4), ((12, 12, 12), 2))
    with pytest.raises(ManifestError, match="gives no identity to 8 of 72 lesion voxels"):
        truth_of(scan(truth, truth, identities=cubes(((2, 2, 2), 4))))


def test_lesion_is_enhancing_and_necrosis_and_regions_stand_alone() -> None:
    truth = box(cubes(((2, 2, 2), 6), label=3), (3, 3, 3), (4, 4, 4))
    box(truth, (4, 4, 4), (2, 2, 2), label=2)
    prediction = box(cubes(((2, 2, 2), 6), label=3), (3, 3, 3), (4, 4, 4))
    score = scored(scan(truth, prediction))
    assert score.dice["lesion"] == 1
    assert score.dice["enhancing"] == pytest.approx(2 * 56 / 120)
    assert score.dice["necrosis"] == 0
    assert score.dice["edema"] == score.dice["whole_tumour"] == 1
    assert set(score.brats) == {"TC", "ET", "WT"}
    assert score.brats["TC"].dice == 1


def test_edema_that_the_truth_does_not_label_is_not_judged() -> None:
    schemes = LabelSchemes(truth=SCHEMES["lesion"], prediction=SCHEMES["node"])
    prediction = box(cubes(((2, 2, 2), 6), label=3), (3, 3, 3), (4, 4, 4))
    score = scored(scan(cubes(((3, 3, 3), 4)), prediction), schemes=schemes)
    assert score.voxels.dice == 1
    assert set(score.dice) == {"lesion"}
    assert score.false_volumes_mm3 == ()


def test_necrosis_that_the_truth_leaves_out_is_not_judged() -> None:
    schemes = LabelSchemes(truth=SCHEMES["ucsf"], prediction=SCHEMES["node"])
    truth = cubes(((2, 2, 2), 6))
    truth[3:7, 3:7, 3:7] = 0
    prediction = box(cubes(((2, 2, 2), 6)), (3, 3, 3), (4, 4, 4), label=2)
    score = scored(scan(truth, prediction), schemes=schemes)
    assert (score.voxels.dice, score.lesions[0].dice, score.predicted_volume_mm3) == (1, 1, 216 - 64)
    assert set(score.brats) == {"ET"}


def test_a_scan_without_lesions() -> None:
    score = scored(scan(cubes(), cubes(((2, 2, 2), 3))))
    assert (score.voxels.dice, score.hd95_mm, score.lesions) == (0, None, ())
    assert scored(scan(cubes(), cubes())).voxels.dice is None


def test_raters_are_compared_with_each_other() -> None:
    truth, shifted = cubes(((2, 2, 2), 4)), cubes(((3, 2, 2), 4))
    one = scan(truth, truth, readers={"A": shifted, "B": cubes()})
    pairs = {(pair.first, pair.second): pair.dice for pair in score_pairs(one, NODE)}
    assert pairs == {("model", "A"): 0.75, ("model", "B"): 0, ("A", "B"): 0}
    assert scored(one, rater="A").voxels.dice == 0.75


def test_without_a_probability_there_is_no_response() -> None:
    one = scan(cubes(), cubes())
    assert response(one, truth_of(one), threshold=0.5) is None
