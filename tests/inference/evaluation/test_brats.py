"""The lesion-wise score against the challenge's own package, on generated scans written as files.

The package reads voxel spacings in the reverse order of the axes of its arrays (seen in panoptica 2.1.7, which does its
work), so that a distance along i is taken with the spacing of k. Cases have spacings that read the same both ways.
What is not covered: the resection cavity (label 4), which this project does not segment.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
from brats_evaluation import config_path, evaluate_single_exam
from brats_evaluation.metrics_parser import parse_mets_results
from numpy.typing import NDArray
from panoptica import Panoptica_Evaluator

from inference.evaluation.brats import Detected, LesionWise, lesion_wise
from tests.inference.evaluation.phantoms import cubes, save

SHAPE = (40, 44, 36)
SPACINGS_MM = ((1.0, 1.0, 1.0), (1.0, 2.0, 1.0), (0.5, 0.75, 0.5), (0.9, 1.2, 0.9))
REGIONS = {"et": (3,), "tc": (1, 3), "wt": (1, 2, 3)}
THEIR_NAMES = {"dice": "lesionwise_dsc_mean", "hd95_mm": "lesionwise_hd95_mean", "nsd": "lesionwise_nsd_mean"} | {
    f"{size}_{ours}": f"{size}_instance_{theirs}"
    for size in ("all", "large", "small")
    for ours, theirs in (("precision", "prec"), ("recall", "rec"), *((name,) * 2 for name in ("tp", "fp", "fn", "f1")))
}
EDGES_MM = (1.0, 1.0, 1.0)

Labels = NDArray[np.int32]


def generated(seed: int) -> tuple[Labels, Labels]:
    """A truth with up to eight lesions of all sizes, and a prediction that misses, moves, resizes and invents some."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.arange(size) for size in SHAPE), indexing="ij"), -1)
    truth, prediction = np.zeros((2, *SHAPE), np.int32)
    for _ in range(rng.integers(0, 9)):
        centre, radius = rng.uniform(3, 33, 3), rng.choice([0.5, 1, 1.6, 2.5, 4, 6])
        _paint(truth, grid, centre, radius)
        if rng.random() < 0.8:
            _paint(prediction, grid, centre + rng.normal(0, 0.8, 3), radius * rng.uniform(0.6, 1.4))
    for _ in range(rng.integers(0, 3)):
        _paint(prediction, grid, rng.uniform(3, 33, 3), rng.uniform(0.5, 3))
    return truth, prediction


def _paint(labels: Labels, grid: NDArray[np.int64], centre: NDArray[np.float64], radius: float) -> None:
    distance = np.linalg.norm(grid - centre, axis=-1)
    for label, extra in ((2, 2.0 if radius > 3 else 0.0), (3, 0.0), (1, -1.5)):  # edema, enhancing, core
        labels[distance <= radius + extra] = label


def official(folder: Path, truth: Labels, prediction: Labels, spacing_mm: tuple[float, ...]) -> pd.Series:
    """The row that the challenge's package computes for one scan."""
    for name, labels in (("truth", truth), ("prediction", prediction)):
        save(folder / f"{name}.nii.gz", labels, spacing_mm)
    evaluator = Panoptica_Evaluator.load_from_config(str(config_path("mets")))
    files = (str(folder / f"{name}.nii.gz") for name in ("prediction", "truth"))
    scores = evaluate_single_exam(*files, "scan", evaluator)
    (folder / "scores.json").write_text(json.dumps({"metrics": [scores], "missings": []}, default=float))
    parse_mets_results(str(folder / "scores.json"), 20.0, 0.1, str(folder / "row.csv"))
    return pd.read_csv(folder / "row.csv").iloc[0]


def compare(folder: Path, seed: int) -> list[LesionWise]:
    truth, prediction = generated(seed)
    spacing_mm = SPACINGS_MM[seed % len(SPACINGS_MM)]
    theirs = official(folder, truth, prediction, spacing_mm)
    scores = []
    for region, labels in REGIONS.items():
        scores.append(lesion_wise(np.isin(truth, labels), np.isin(prediction, labels), spacing_mm))
        for name, ours in scores[-1].figures().items():
            number = theirs.get(f"{THEIR_NAMES[name]}_{region}", np.nan)
            assert (np.nan if ours is None else ours) == pytest.approx(number, abs=1e-6, nan_ok=True), (region, name)
    return scores


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_the_challenge(tmp_path: Path, seed: int) -> None:
    compare(tmp_path, seed)


@pytest.mark.slow
def test_agrees_with_the_challenge_on_many_scans_of_every_kind(tmp_path: Path) -> None:
    scores = [score for seed in range(4, 44) for score in compare(tmp_path, seed)]
    assert any(score.dice is None for score in scores)  # no large lesion
    assert any(score.large is None and score.small is not None for score in scores)
    assert any(score.every == Detected(tp=0, fp=0, fn=0) for score in scores)
    assert any(score.every.tp == 0 and score.every.fp > 0 for score in scores)
    assert any(score.small is not None and score.small.tp < score.every.tp for score in scores)


def test_rules_by_hand() -> None:
    """One lesion of 27 mm³ missed, one of 64 found with Dice .75, one of 8 found exactly, one false positive."""
    truth = cubes(((2, 2, 2), 3), ((10, 10, 10), 4), ((20, 20, 20), 2)) > 0
    prediction = cubes(((11, 10, 10), 4), ((20, 20, 20), 2), ((2, 20, 2), 2)) > 0
    score = lesion_wise(truth, prediction, EDGES_MM)
    assert score.every == Detected(tp=2, fp=1, fn=1)
    assert score.large == Detected(tp=1, fp=1, fn=1)
    assert score.small == Detected(tp=1, fp=1, fn=0)
    assert score.dice == pytest.approx((0.75 + 0 + 0) / 3)  # found, missed, false
    assert score.hd95_mm == pytest.approx((1 + 373 + 373) / 3)


def test_a_small_lesion_is_found_from_a_dice_of_a_tenth() -> None:
    truth, much = cubes(((2, 2, 2), 2)) > 0, cubes(((3, 3, 3), 5)) > 0
    score = lesion_wise(truth, much, EDGES_MM)  # one shared voxel: Dice 2/133
    assert (score.every.tp, score.small) == (1, Detected(tp=0, fp=0, fn=1))


def test_without_a_prediction_the_precision_of_a_size_is_0_and_that_of_all_none() -> None:
    figures = lesion_wise(cubes(((2, 2, 2), 2)) > 0, cubes() > 0, EDGES_MM).figures()
    assert (figures["small_precision"], figures["all_precision"], figures["large_precision"]) == (0, None, None)
    assert (figures["small_recall"], figures["dice"]) == (0, None)


def test_size_is_in_mm3() -> None:
    truth = cubes(((2, 2, 2), 2)) > 0
    assert lesion_wise(truth, truth, EDGES_MM).large is None
    assert lesion_wise(truth, truth, (1.0, 1.0, 2.5)).large == Detected(tp=1, fp=0, fn=0)  # 20 mm³


def test_a_merged_prediction_is_paired_once() -> None:
    """This is the challenge's rule, not ours (see test_defect_8 of detection)."""
    truth = cubes(((2, 2, 2), 4), ((8, 2, 2), 4)) > 0
    merged = truth.copy()
    merged[6:8, 3, 3] = True
    assert lesion_wise(truth, merged, EDGES_MM).every == Detected(tp=1, fp=0, fn=1)
