"""Figures of a rater from scans whose counts are known."""

import numpy as np
import pytest

from inference.evaluation.bootstrap import Bootstrap, Estimate
from inference.evaluation.detection import MatchRule
from inference.evaluation.scoring import ScanScore
from inference.evaluation.strata import by_volume
from inference.evaluation.summary import (
    change_figures,
    detection_figures,
    error_figures,
    lesion_figures,
    overlap_figures,
    positive_rate,
    rater_figures,
    strata_figures,
    volume_figures,
)
from tests.inference.evaluation.phantoms import cubes, scan, scored

ANY = MatchRule.ANY_OVERLAP


@pytest.fixture
def bootstrap() -> Bootstrap:
    return Bootstrap.drawn(["P1", "P2", "P3"], resamples=200, seed=0)


@pytest.fixture
def scores() -> list[ScanScore]:
    """4 lesions of which 3 are found, with 2 false positives: all in P1; P2 has a lesion, found; P3 has nothing."""
    truth = cubes(((2, 2, 2), 4), ((10, 2, 2), 3), ((2, 10, 2), 2), ((2, 2, 12), 2))
    prediction = cubes(((3, 2, 2), 4), ((10, 2, 2), 3), ((2, 10, 2), 2), ((16, 16, 16), 2), ((20, 20, 20), 3))
    return [
        scored(scan(truth, prediction, patient="P1")),
        scored(scan(cubes(((2, 2, 2), 3)), cubes(((2, 2, 2), 3)), patient="P2")),
        scored(scan(cubes(), cubes(), patient="P3")),
    ]


def value(estimate: Estimate) -> float | None:
    return estimate.value


def test_detection_by_hand(scores: list[ScanScore], bootstrap: Bootstrap) -> None:
    figures = detection_figures(scores, ANY, bootstrap)
    assert [figures[name] for name in ("lesions", "found", "predictions", "false")] == [5, 4, 6, 2]
    assert value(figures["recall"]) == pytest.approx(4 / 5)
    assert value(figures["precision"]) == pytest.approx(4 / 6)
    assert value(figures["f1"]) == pytest.approx(8 / 11)
    assert value(figures["false_positives_per_scan"]) == pytest.approx(2 / 3)
    assert value(figures["scan_mean_recall"]) == pytest.approx((3 / 4 + 1) / 2)
    assert value(figures["scan_mean_precision"]) == pytest.approx((3 / 5 + 1) / 2)
    assert value(figures["scan_mean_f1"]) == pytest.approx((2 / 3 + 1) / 2)  # the empty scan has none
    assert (figures["recall"].n, figures["precision"].n, figures["false_positives_per_scan"].n) == (5, 6, 3)


def test_two_formulas_of_false_discovery_have_two_names(scores: list[ScanScore], bootstrap: Bootstrap) -> None:
    figures = detection_figures(scores, ANY, bootstrap)
    assert value(figures["false_positives_over_lesions_rudie"]) == pytest.approx(2 / 5)
    assert value(figures["false_positives_over_predictions_chuv"]) == pytest.approx(2 / 6)


def test_overlap_leaves_out_scans_without_anything(scores: list[ScanScore], bootstrap: Bootstrap) -> None:
    figures = overlap_figures(scores, bootstrap)
    first = scores[0].voxels
    assert first.dice is not None
    assert (figures["dice"].n, value(figures["dice"])) == (2, pytest.approx((first.dice + 1) / 2))
    assert positive_rate(scores) == pytest.approx((64 + 27 + 8 + 8 + 27) / (3 * 24**3))
    assert figures["dice_by_region"]["lesion"] == figures["dice"]
    assert figures["dice_by_region"]["edema"].n == 0


def test_the_two_normalised_dices_take_the_odds_of_their_own_side(bootstrap: Bootstrap) -> None:
    """Twice as much is predicted as there is: the false positives weigh more with the odds of the prediction."""
    truth, prediction = cubes(((2, 2, 2), 4)), cubes(((2, 2, 2), 5))
    figures = overlap_figures([scored(scan(truth, prediction, patient="P1"))], bootstrap)
    rate = 64 / 24**3
    kappa = (125 / (24**3 - 125)) * (1 / rate - 1)
    assert value(figures["ndsc_raina"]) == pytest.approx(2 * 64 / (64 + 125))
    assert value(figures["ndsc_chuv"]) == pytest.approx(2 * 64 / (2 * 64 + kappa * 61))


def test_only_found_lesions_have_dice(scores: list[ScanScore], bootstrap: Bootstrap) -> None:
    lesions = [lesion for score in scores for lesion in score.lesions]
    figures = lesion_figures(lesions, bootstrap)
    assert (figures["dice"].n, value(figures["dice"])) == (4, pytest.approx((0.75 + 1 + 1 + 1) / 4))
    assert (figures["dice_median"].n, value(figures["dice_median"])) == (4, 1)
    found = [(np.log10(one.volume_mm3), one.dice) for one in lesions if one.dice is not None]
    expected = np.corrcoef(np.array(found, float).T)[0, 1]
    assert value(figures["dice_with_log_volume"]["pearson"]) == pytest.approx(expected)


def test_strata(scores: list[ScanScore], bootstrap: Bootstrap) -> None:
    lesions = [lesion for score in scores for lesion in score.lesions]
    groups = by_volume(np.array([lesion.volume_mm3 for lesion in lesions]))
    figures = strata_figures(lesions, groups, bootstrap)
    assert [one["lesions"] for one in figures.values()] == [2, 3, 0, 0, 0]
    assert value(figures["<10 mm³"]["recall"]["any_overlap"]) == 0.5
    assert value(figures["10-100 mm³"]["recall"]["iou"]) == 1
    assert value(figures["10-100 mm³"]["dice"]) == pytest.approx((0.75 + 1 + 1) / 3)
    assert value(figures["<10 mm³"]["median_volume_ratio"]) == 1
    assert value(figures[">10k mm³"]["dice"]) is None


def test_volumes_of_what_was_found(scores: list[ScanScore], bootstrap: Bootstrap) -> None:
    figures = volume_figures(scores, [lesion for score in scores for lesion in score.lesions], bootstrap)
    assert figures["found_lesions_log"]["pearson"].n == figures["found_lesions"]["pearson"].n == 4
    assert value(figures["found_lesions_log"]["pearson"]) == pytest.approx(1)
    assert figures["scans_log"]["pearson"].n == 2  # the empty scan has no logarithm
    assert value(figures["counts"]["pearson"]) == pytest.approx(np.corrcoef([4, 1, 0], [5, 1, 0])[0, 1])


def test_errors_are_means_over_patients(scores: list[ScanScore], bootstrap: Bootstrap) -> None:
    figures = error_figures(scores, bootstrap)
    assert figures["total_volume_mm3"].n == 3
    volume_error = abs(scores[0].predicted_volume_mm3 - scores[0].true_volume_mm3)
    assert value(figures["total_volume_mm3"]) == pytest.approx(volume_error / 3)
    assert value(figures["count"]) == pytest.approx(1 / 3)
    assert (value(figures["count_change"]), figures["count_change"].n) == (None, 0)
    assert change_figures([], bootstrap)["count"]["pearson"].value is None


def test_every_group_of_figures_is_there(scores: list[ScanScore], bootstrap: Bootstrap) -> None:
    figures = rater_figures(scores, bootstrap)
    assert set(figures) == {
        *("scans", "lesions", "overlap", "lesion_overlap", "detection", "strata", "volumes"),
        *("mean_absolute_errors", "changes", "brats"),
    }
    assert set(figures["detection"]) == {"any_overlap", "iou", "ior"}
    assert set(figures["brats"]) == {"ET", "TC", "WT"}
    assert value(figures["brats"]["TC"]["all_fp"]) == pytest.approx(2 / 3)


def test_no_scan_at_all_has_no_figures(bootstrap: Bootstrap) -> None:
    figures = rater_figures([], bootstrap)
    assert value(figures["overlap"]["dice"]) is None
    assert value(figures["detection"]["ior"]["f1"]) is None
