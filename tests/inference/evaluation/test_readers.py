"""The model beside readers, on scores made by hand."""

from dataclasses import replace
from datetime import date

import pytest
from scipy import stats

from inference.evaluation.bootstrap import Bootstrap
from inference.evaluation.detection import MatchRule
from inference.evaluation.readers import (
    agreement,
    beside_readers,
    chi_squared,
    dice_difference,
    model_minus_interrater,
    sensitivity_difference,
    size_tests,
)
from inference.evaluation.scoring import LesionScore, PairScore, Results, ScanScore
from tests.inference.evaluation.phantoms import cubes, scan, scored

DAY = date(2024, 1, 1)
ANY = MatchRule.ANY_OVERLAP


@pytest.fixture
def bootstrap() -> Bootstrap:
    return Bootstrap.drawn(["P1", "P2", "P3"], resamples=300, seed=0)


def pair(patient: str, first: str, second: str, dice: float | None) -> PairScore:
    return PairScore(patient=patient, study_date=DAY, first=first, second=second, dice=dice)


def lesions(found: str, *, patient: str = "P1", volume_mm3: float = 8.0) -> list[LesionScore]:
    """One lesion for each sign: + found, - missed."""
    template = scored(scan(cubes(((2, 2, 2), 2)), cubes(((2, 2, 2), 2)), patient=patient)).lesions[0]
    return [
        replace(template, lesion=number, volume_mm3=volume_mm3, found=dict.fromkeys(MatchRule, sign == "+"))
        for number, sign in enumerate(found)
    ]


def test_chi_squared_by_hand() -> None:
    result = chi_squared([(10, 20), (20, 10), (0, 0)])
    assert result is not None
    assert result.statistic == pytest.approx(4 * 5**2 / 15)  # expected 15 everywhere; without Yates' correction
    assert result.degrees_of_freedom == 1
    assert result.p == pytest.approx(stats.chi2.sf(100 / 15, 1))
    assert result.smallest_expected == 15


@pytest.mark.parametrize("table", [[], [(3, 4)], [(3, 4), (0, 0)], [(3, 0), (5, 0)], [(0, 3), (0, 5)]])
def test_chi_squared_needs_two_groups_and_both_outcomes(table: list[tuple[int, int]]) -> None:
    assert chi_squared(table) is None


def test_agreement_of_every_two(bootstrap: Bootstrap) -> None:
    pairs = [pair("P1", "A", "B", 0.8), pair("P2", "A", "B", 0.6), pair("P3", "A", "B", None)]
    draws = agreement([*pairs, pair("P1", "model", "A", 0.5)], bootstrap)
    assert draws["A", "B"].estimate().value == pytest.approx(0.7)
    assert draws["A", "B"].n == 2
    assert draws["model", "A"].n == 1


def test_model_minus_interrater_is_taken_within_each_scan(bootstrap: Bootstrap) -> None:
    """P3 has one reader only and so no interrater Dice: it takes no part."""
    pairs = [
        *(pair("P1", "model", reader, dice) for reader, dice in (("A", 0.7), ("B", 0.5))),
        pair("P1", "A", "B", 0.9),
        *(pair("P2", "model", reader, 0.4) for reader in "AB"),
        pair("P2", "A", "B", 0.3),
        pair("P3", "model", "A", 1.0),
    ]
    draws = model_minus_interrater(pairs, bootstrap)
    assert draws is not None
    assert draws.n == 2
    assert draws.estimate().value == pytest.approx((-0.3 + 0.1) / 2)
    assert model_minus_interrater(pairs[-1:], bootstrap) is None


def test_differences_are_over_what_both_saw(bootstrap: Bootstrap) -> None:
    ours = [*lesions("++--"), *lesions("+", patient="P2")]
    theirs = lesions("+---")
    difference = sensitivity_difference(ours, theirs, ANY, bootstrap)
    assert (difference.n, difference.values[0]) == (4, 0.25)


def test_difference_of_dice_leaves_out_what_one_did_not_mark(bootstrap: Bootstrap) -> None:
    truth, shifted = cubes(((2, 2, 2), 4)), cubes(((3, 2, 2), 4))
    ours = [scored(scan(truth, truth, patient=patient)) for patient in ("P1", "P2")]
    theirs = [scored(scan(truth, truth, patient="P1", readers={"A": shifted}), rater="A")]
    difference = dice_difference(ours, theirs, bootstrap)
    assert (difference.n, difference.values[0]) == (1, 0.25)


def results() -> Results:
    small, large = cubes(((2, 2, 2), 2)), cubes(((12, 12, 12), 8))
    scans: dict[str, list[ScanScore]] = {"model": [], "A": []}
    for patient in ("P1", "P2"):
        one = scan(small + large, large, patient=patient, readers={"A": small})
        for rater, scores in scans.items():
            scores.append(scored(one, rater=rater))
    return Results(scans=scans, pairs=[pair(patient, "model", "A", 0.0) for patient in ("P1", "P2")])


def test_sensitivity_by_size_beside_each_reader(bootstrap: Bootstrap) -> None:
    figures = beside_readers(results(), bootstrap)
    assert figures is not None
    against = figures["model_minus_reader"]["A"]
    assert against["recall"]["difference"].value == 0
    assert against["recall <3 mm"]["difference"].value == -1
    assert against["recall >6 mm"]["difference"].value == 1
    assert against["recall >6 mm"]["chi_squared"].statistic == pytest.approx(4)
    assert against["recall 3-6 mm"]["difference"].value is None
    assert figures["model_minus_interrater_dice"] is None


def test_without_readers_there_is_nothing_beside(bootstrap: Bootstrap) -> None:
    alone = Results(scans={"model": results().scans["model"]}, pairs=[])
    assert beside_readers(alone, bootstrap) is None


def test_whether_sensitivity_depends_on_size() -> None:
    tests = size_tests(results())
    assert set(tests) == {"model", "A"}
    test = tests["model"]["diameter"]
    assert test is not None
    assert test.statistic == pytest.approx(4)  # 2 small missed, 2 large found
