"""The model beside the readers: who agrees with whom, who finds more, and whether chance explains the difference.

χ² tests take lesions as independent, which those of one patient are not, and the two raters as two samples, though both
saw the same lesions: they are here to be set beside published ones [Rudie et al. 2021]. The paired bootstrap over
patients has neither fault.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from inference.evaluation.bootstrap import Bootstrap, Draws
from inference.evaluation.detection import MatchRule
from inference.evaluation.estimates import Figures, volumes_of
from inference.evaluation.scoring import LesionScore, PairScore, Results, ScanScore
from inference.evaluation.strata import by_diameter, by_volume
from inference.evaluation.table import MODEL

Table = Sequence[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class ChiSquared:
    """A test of independence, without Yates' correction.

    Attributes
    ----------
    statistic, degrees_of_freedom, p
        Of the test.
    smallest_expected
        Below 5 the test is not to be trusted.
    """

    statistic: float
    degrees_of_freedom: int
    p: float
    smallest_expected: float


def chi_squared(table: Table) -> ChiSquared | None:
    """Test rows of (found, missed); None with fewer than two rows that have lesions, or if all or none were found."""
    counts = np.array([row for row in table if sum(row)], int).reshape(-1, 2)
    if len(counts) < 2 or not counts.sum(axis=0).all():
        return None
    result = stats.chi2_contingency(counts, correction=False)
    return ChiSquared(
        statistic=float(result.statistic),
        degrees_of_freedom=int(result.dof),
        p=float(result.pvalue),
        smallest_expected=float(result.expected_freq.min()),
    )


def found_and_missed(lesions: Iterable[LesionScore], rule: MatchRule) -> tuple[int, int]:
    """Count lesions."""
    found = [lesion.found[rule] for lesion in lesions]
    return sum(found), len(found) - sum(found)


def agreement(pairs: Sequence[PairScore], bootstrap: Bootstrap) -> dict[tuple[str, str], Draws]:
    """Return the mean Dice of every two raters over the scans that both marked."""
    names = sorted({(pair.first, pair.second) for pair in pairs})
    result = {}
    for first, second in names:
        mine = [pair for pair in pairs if (pair.first, pair.second) == (first, second)]
        result[first, second] = bootstrap.mean([pair.patient for pair in mine], [_or_nan(pair.dice) for pair in mine])
    return result


def model_minus_interrater(pairs: Sequence[PairScore], bootstrap: Bootstrap) -> Draws | None:
    """Return by how much the model's Dice with the readers exceeds theirs with each other.

    Taken in each scan that the model and two readers or more marked, and averaged over these; None without any.
    """
    scans = sorted({(pair.patient, pair.study_date) for pair in pairs})
    owners, differences = [], []
    for scan in scans:
        mine = [pair for pair in pairs if (pair.patient, pair.study_date) == scan and pair.dice is not None]
        with_model = [pair.dice for pair in mine if MODEL in (pair.first, pair.second)]
        among_readers = [pair.dice for pair in mine if MODEL not in (pair.first, pair.second)]
        if with_model and among_readers:
            owners.append(scan[0])
            differences.append(np.mean(np.array(with_model, float)) - np.mean(np.array(among_readers, float)))
    return bootstrap.mean(owners, differences) if owners else None


def dice_difference(first: Sequence[ScanScore], second: Sequence[ScanScore], bootstrap: Bootstrap) -> Draws:
    """Return the mean difference of two raters' Dice with the truth, over the scans that both marked."""
    theirs = {(score.patient, score.study_date): score.voxels.dice for score in second}
    both = [score for score in first if (score.patient, score.study_date) in theirs]
    differences = [_or_nan(score.voxels.dice) - _or_nan(theirs[score.patient, score.study_date]) for score in both]
    return bootstrap.mean([score.patient for score in both], differences)


def sensitivity_difference(
    first: Sequence[LesionScore], second: Sequence[LesionScore], rule: MatchRule, bootstrap: Bootstrap
) -> Draws:
    """Return the difference of two raters' sensitivities over the lesions that both could have found."""
    theirs = {_key(lesion): lesion.found[rule] for lesion in second}
    both = [lesion for lesion in first if _key(lesion) in theirs]
    differences = [float(lesion.found[rule]) - float(theirs[_key(lesion)]) for lesion in both]
    return bootstrap.mean([lesion.patient for lesion in both], differences)


def beside_readers(results: Results, bootstrap: Bootstrap) -> Figures | None:
    """Return interrater Dice and the model's differences from each reader; None without a reader."""
    readers = [rater for rater in results.scans if rater != MODEL]
    if not readers:
        return None
    more = model_minus_interrater(results.pairs, bootstrap)
    return {
        "dice_of_two": {
            f"{first} and {second}": draws.estimate()
            for (first, second), draws in agreement(results.pairs, bootstrap).items()
        },
        "model_minus_interrater_dice": more and _difference(more),
        "model_minus_reader": {reader: _against(results, reader, bootstrap) for reader in readers},
    }


def _against(results: Results, reader: str, bootstrap: Bootstrap) -> Figures:
    ours, theirs = results.lesions(MODEL), results.lesions(reader)
    rule = MatchRule.ANY_OVERLAP
    scans = {(lesion.patient, lesion.study_date) for lesion in theirs}
    ours = [lesion for lesion in ours if (lesion.patient, lesion.study_date) in scans]
    groups = by_diameter(volumes_of(ours)), by_diameter(volumes_of(theirs))
    figures: Figures = {"dice": _difference(dice_difference(results.scans[MODEL], results.scans[reader], bootstrap))}
    figures["recall"] = _difference(sensitivity_difference(ours, theirs, rule, bootstrap))
    for size in groups[0]:
        first, second = (
            [lesion for lesion, inside in zip(lesions, group[size], strict=True) if inside]
            for lesions, group in zip((ours, theirs), groups, strict=True)
        )
        figures[f"recall {size}"] = _difference(sensitivity_difference(first, second, rule, bootstrap)) | {
            "chi_squared": chi_squared([found_and_missed(first, rule), found_and_missed(second, rule)])
        }
    return figures


def size_tests(results: Results) -> dict[str, dict[str, ChiSquared | None]]:
    """Return for each rater whether sensitivity differs between sizes (χ²)."""
    tests = {}
    for rater in results.scans:
        lesions = results.lesions(rater)
        sizes = {"diameter": by_diameter(volumes_of(lesions)), "volume": by_volume(volumes_of(lesions))}
        tests[rater] = {name: _size_test(lesions, groups) for name, groups in sizes.items()}
    return tests


def _size_test(lesions: Sequence[LesionScore], groups: Mapping[str, Iterable[bool]]) -> ChiSquared | None:
    members = [[one for one, inside in zip(lesions, group, strict=True) if inside] for group in groups.values()]
    return chi_squared([found_and_missed(group, MatchRule.ANY_OVERLAP) for group in members])


def _difference(draws: Draws) -> Figures:
    return {"difference": draws.estimate(), "p": draws.p_value()}


def _key(lesion: LesionScore) -> tuple[object, ...]:
    return lesion.patient, lesion.study_date, lesion.lesion


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
