"""Detection figures on a scan whose hits, misses and false alarms can be counted by eye."""

from dataclasses import replace
from pathlib import Path

import cc3d
import numpy as np
import pytest
from numpy.typing import NDArray

from inference.evaluation.cases import CaseRecipe, held_out_cases, on_grid_of_truth, scanned
from inference.evaluation.froc import THRESHOLDS, Scored, choose, cross_checked, judge, score
from inference.evaluation.metrics import (
    Candidate,
    ScanResult,
    dice,
    froc_point,
    scan_result,
    size_classes,
    sphere_diameter_mm,
    volume_ratios,
)
from inference.grid_model import GridModel
from inference.training.heads import HeadSource
from tests.inference.test_predictor import MANIFEST

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def scan() -> ScanResult:
    """Lesion 1 (8 mm³) found with peak .9, lesion 2 (64 mm³) missed; one false alarm (.7), one in the unknown (.95)."""
    shape = (20, 20, 20)
    truth, unknown = np.zeros(shape, np.int16), np.zeros(shape, bool)
    probability = np.zeros(shape, np.float32)
    truth[2:4, 2:4, 2:4], truth[10:14, 10:14, 10:14] = 1, 2
    unknown[15:, 15:, 15:] = True
    probability[3:5, 2:4, 2:4], probability[3, 3, 3] = 0.6, 0.9
    probability[7, 15, 15:18] = 0.7
    probability[14:17, 16, 16] = 0.95
    return scan_result(probability, labelled(probability >= 0.5), truth, unknown, voxel_mm3=1.0)


def labelled(mask: NDArray[np.bool_]) -> NDArray[np.uint16]:
    return np.asarray(cc3d.connected_components(mask, connectivity=26), np.uint16)


def test_counts_hits_misses_and_false_alarms(scan: ScanResult) -> None:
    point = froc_point([scan], least_score=0.5, minimum_volume_mm3=0)
    assert point.sensitivity == {"all": 0.5, "<3 mm": 1.0, "3-6 mm": 0.0, ">6 mm": None, ">12 mm": None}
    assert point.false_positives_per_scan == 1


def test_a_higher_peak_drops_the_false_alarm_then_the_hit(scan: ScanResult) -> None:
    point = froc_point([scan], least_score=0.8, minimum_volume_mm3=0)
    assert (point.sensitivity["all"], point.false_positives_per_scan) == (0.5, 0)
    assert froc_point([scan], least_score=0.92, minimum_volume_mm3=0).sensitivity["all"] == 0


def test_minimum_volume_drops_small_candidates(scan: ScanResult) -> None:
    point = froc_point([scan], least_score=0.5, minimum_volume_mm3=5)
    assert (point.sensitivity["all"], point.false_positives_per_scan) == (0.5, 0)


def test_volume_ratio_of_a_found_lesion(scan: ScanResult) -> None:
    assert volume_ratios([scan], least_score=0.5) == [1.0]


def test_one_candidate_over_two_lesions_finds_both_but_measures_neither() -> None:
    truth = np.zeros((9, 9, 9), np.int16)
    truth[4, 4, 1:3], truth[4, 4, 5:8] = 1, 2
    probability = np.zeros((9, 9, 9), np.float32)
    probability[4, 4, 1:8] = 0.9
    result = scan_result(probability, labelled(probability > 0.5), truth, np.zeros((9, 9, 9), bool), voxel_mm3=1.0)
    assert froc_point([result], least_score=0, minimum_volume_mm3=0).sensitivity["all"] == 1
    assert volume_ratios([result], least_score=0) == []
    assert result.dice == pytest.approx(2 * 5 / 12)


def test_dice_of_two_empty_masks_is_no_number() -> None:
    empty = np.zeros((2, 2, 2), bool)
    assert dice(empty, empty) is None
    assert dice(empty, ~empty) == 0


@pytest.mark.parametrize(
    ("volume_mm3", "name"), [(14.1, "<3 mm"), (14.2, "3-6 mm"), (113.0, "3-6 mm"), (113.2, ">6 mm")]
)
def test_sizes_are_diameters_of_the_sphere_of_equal_volume(volume_mm3: float, name: str) -> None:
    assert size_classes(volume_mm3)[0] == name
    assert sphere_diameter_mm(4 / 3 * np.pi * 5**3) == pytest.approx(10)


class Bright:
    """Probability by intensity: balls of the test head have z > 2."""

    manifest = MANIFEST

    def predict(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        lesion = np.clip(channels[0] / 4, 0, 1).astype(np.float32)
        return np.stack([1 - lesion, lesion])


def test_a_good_predictor_gets_a_good_report(ball_head: HeadSource) -> None:
    recipes = [CaseRecipe(name=f"head {n}", kind="ball", source=ball_head, number=n, draw=0) for n in (1, 2)]
    scored: list[Scored] = [score(recipe.make(), GridModel(predictor=Bright())) for recipe in recipes]
    choice = choose(scored, minimum_volume_mm3=1.0)
    figures = judge(scored, MANIFEST, choice)["groups"]["ball"]
    assert figures["lesions"]["all"] == 4
    assert figures["chosen"]["sensitivity"]["all"] == 1
    assert figures["chosen"]["false_positives_per_scan"] <= 1
    assert figures["mean_dice"] > 0.8


@pytest.mark.parametrize(("slices_mm", "off_mm"), [(1, 0.6), (2, 0.6), (3, 1.0)])  # nearest voxels: half of one
def test_a_scan_shows_the_same_head_in_slices(ball_head: HeadSource, slices_mm: int, off_mm: float) -> None:
    case = CaseRecipe(name="head", kind="ball", source=ball_head, number=1, draw=0).make()
    scan = scanned(case, slices_mm)
    assert scan.image.spacing == (slices_mm, 1, 1)
    assert scan.timepoint.brain is scan.brain
    for lesion in (1, 2):  # each lies where it did, on another grid
        mask = case.image.with_array((case.lesions == lesion).astype(np.float32))
        found = on_grid_of_truth(scanned(replace(case, image=mask), slices_mm).image, case) > 0.5
        assert np.argwhere(found).mean(0) == pytest.approx(np.argwhere(mask.array).mean(0), abs=off_mm)
    volume = scan.image.array.sum() * slices_mm
    assert volume == pytest.approx(case.image.array.sum(), rel=0.1)


def test_a_good_predictor_gets_a_good_report_in_slices(ball_head: HeadSource) -> None:
    recipes = [CaseRecipe(name=f"head {n}", kind="ball", source=ball_head, number=n, draw=0) for n in (1, 2)]
    scored = [score(scanned(recipe.make(), 2), GridModel(predictor=Bright())) for recipe in recipes]
    figures = judge(scored, MANIFEST, choose(scored, minimum_volume_mm3=1.0))["groups"]["ball"]
    assert figures["chosen"]["sensitivity"]["all"] == 1
    assert figures["chosen"]["false_positives_per_scan"] <= 1
    assert figures["mean_dice"] > 0.6


def test_a_lesion_of_more_than_12_mm_counts_in_two_sizes() -> None:
    assert size_classes(905.0) == (">6 mm", ">12 mm")  # a ball of 12 mm has 904.8 mm³
    assert size_classes(904.0) == (">6 mm",)


def test_each_half_is_judged_at_the_point_of_the_other() -> None:
    """Vessels of the first half have log odds of 0, those of the second of 6; all lesions have 8."""

    def scan(number: int, draw: int) -> Scored:
        lesion = Candidate(number=1, score=1.0, volume_mm3=50.0, found=(1,), unknown=False)
        vessel = Candidate(number=2, score=1.0, volume_mm3=50.0, found=(), unknown=False)
        result = ScanResult(lesions_mm3={1: 50.0}, candidates=(lesion, *[vessel] * 9), dice=0.5)
        traits = np.array([[0, 0, 0], [8, 4, 1], [0 if number % 2 == 0 else 6, 4, 1]], float)
        return Scored(
            kind="real head",
            number=number,
            draw=draw,
            results=dict.fromkeys(THRESHOLDS, result),
            traits=dict.fromkeys(THRESHOLDS, traits),
            seconds=0.0,
        )

    first, second = cross_checked([scan(n, d) for n in range(4) for d in (0, 1)], minimum_volume_mm3=1.0)
    assert first["false_positives_per_scan"] == 0
    assert second["false_positives_per_scan"] == 9
    assert first["sensitivity"]["all"] == second["sensitivity"]["all"] == 1.0


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not here")
def test_the_same_draw_has_the_same_lesions() -> None:
    first, again = (held_out_cases(DATA, draws=[1])[0].make() for _ in range(2))
    np.testing.assert_array_equal(first.lesions, again.lesions)
    np.testing.assert_array_equal(first.image.array, again.image.array)
