"""Detection figures on a scan whose hits, misses and false alarms can be counted by eye."""

from pathlib import Path

import cc3d
import numpy as np
import pytest
from numpy.typing import NDArray

from inference.evaluation.cases import case_of, held_out_cases
from inference.evaluation.froc import Scored, choose, judge, score
from inference.evaluation.metrics import (
    ScanResult,
    dice,
    froc_point,
    scan_result,
    size_class,
    sphere_diameter_mm,
    volume_ratios,
)
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
    point = froc_point([scan], peak_threshold=0.5, minimum_volume_mm3=0)
    assert point.sensitivity == {"all": 0.5, "<3 mm": 1.0, "3-6 mm": 0.0, ">6 mm": None}
    assert point.false_positives_per_scan == 1


def test_a_higher_peak_drops_the_false_alarm_then_the_hit(scan: ScanResult) -> None:
    point = froc_point([scan], peak_threshold=0.8, minimum_volume_mm3=0)
    assert (point.sensitivity["all"], point.false_positives_per_scan) == (0.5, 0)
    assert froc_point([scan], peak_threshold=0.92, minimum_volume_mm3=0).sensitivity["all"] == 0


def test_minimum_volume_drops_small_candidates(scan: ScanResult) -> None:
    point = froc_point([scan], peak_threshold=0.5, minimum_volume_mm3=5)
    assert (point.sensitivity["all"], point.false_positives_per_scan) == (0.5, 0)


def test_volume_ratio_of_a_found_lesion(scan: ScanResult) -> None:
    assert volume_ratios([scan], peak_threshold=0.5) == [1.0]


def test_one_candidate_over_two_lesions_finds_both_but_measures_neither() -> None:
    truth = np.zeros((9, 9, 9), np.int16)
    truth[4, 4, 1:3], truth[4, 4, 5:8] = 1, 2
    probability = np.zeros((9, 9, 9), np.float32)
    probability[4, 4, 1:8] = 0.9
    result = scan_result(probability, labelled(probability > 0.5), truth, np.zeros((9, 9, 9), bool), voxel_mm3=1.0)
    assert froc_point([result], peak_threshold=0, minimum_volume_mm3=0).sensitivity["all"] == 1
    assert volume_ratios([result], peak_threshold=0) == []
    assert result.dice == pytest.approx(2 * 5 / 12)


def test_dice_of_two_empty_masks_is_no_number() -> None:
    empty = np.zeros((2, 2, 2), bool)
    assert dice(empty, empty) is None
    assert dice(empty, ~empty) == 0


@pytest.mark.parametrize(
    ("volume_mm3", "name"), [(14.1, "<3 mm"), (14.2, "3-6 mm"), (113.0, "3-6 mm"), (113.2, ">6 mm")]
)
def test_sizes_are_diameters_of_the_sphere_of_equal_volume(volume_mm3: float, name: str) -> None:
    assert size_class(volume_mm3) == name
    assert sphere_diameter_mm(4 / 3 * np.pi * 5**3) == pytest.approx(10)


class Bright:
    """Probability by intensity: balls of the test head have z > 2."""

    manifest = MANIFEST

    def predict(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        lesion = np.clip(channels[0] / 4, 0, 1).astype(np.float32)
        return np.stack([1 - lesion, lesion])


def test_a_good_predictor_gets_a_good_report(ball_head: HeadSource) -> None:
    from torch import Generator

    heads = [ball_head.make(Generator().manual_seed(seed)) for seed in (1, 2)]
    cases = [case_of(head, name=f"head {n}", kind="ball", draw=n) for n, head in enumerate(heads)]
    scored: list[Scored] = [score(case, Bright()) for case in cases]
    choice = choose(scored, minimum_volume_mm3=1.0)
    figures = judge(scored, MANIFEST, choice)["groups"]["ball"]
    assert figures["lesions"]["all"] == 4
    assert figures["chosen"]["sensitivity"]["all"] == 1
    assert figures["chosen"]["false_positives_per_scan"] <= 1
    assert figures["mean_dice"] > 0.8


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not here")
def test_the_same_draw_has_the_same_lesions() -> None:
    first, again = (held_out_cases(DATA, draws=[1])[0].make() for _ in range(2))
    np.testing.assert_array_equal(first.lesions, again.lesions)
    np.testing.assert_array_equal(first.image.array, again.image.array)
