"""All figures of an evaluation with their intervals, by rater; the names say which formula each is.

Detection figures are pooled over lesions (recall), predictions (precision) or scans (false positives per scan); what
starts with ``scan_mean_`` is a mean over scans. Intervals are of patients drawn with replacement.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

import numpy as np

from inference.evaluation.bootstrap import Bootstrap, Draws, Estimate
from inference.evaluation.brats import LesionWise
from inference.evaluation.changes import COUNT, LESION, TOTAL, Change, changes, course_errors, courses
from inference.evaluation.detection import DetectionCounts, MatchRule
from inference.evaluation.estimates import (
    Figures,
    FloatArray,
    array_of,
    correlations_of,
    mean_of,
    means_and_medians,
    volumes_of,
)
from inference.evaluation.overlap import Confusion, f_beta, ndsc, prediction_odds, truth_odds
from inference.evaluation.scoring import LesionScore, ScanScore
from inference.evaluation.strata import by_diameter, by_volume
from tracking.agreement import MeanAbsoluteErrors

LEAST_VOLUME_MM3 = 1e-3  # what a logarithm takes for nothing


def rater_figures(scores: Sequence[ScanScore], bootstrap: Bootstrap) -> Figures:
    """Return every figure of the model or of a reader against the truth."""
    lesions = [lesion for score in scores for lesion in score.lesions]
    return {
        "scans": len(scores),
        "lesions": len(lesions),
        "overlap": overlap_figures(scores, bootstrap),
        "lesion_overlap": lesion_figures(lesions, bootstrap),
        "detection": {rule.value: detection_figures(scores, rule, bootstrap) for rule in MatchRule},
        "strata": {
            "volume": strata_figures(lesions, by_volume(volumes_of(lesions)), bootstrap),
            "diameter": strata_figures(lesions, by_diameter(volumes_of(lesions)), bootstrap),
        },
        "volumes": volume_figures(scores, lesions, bootstrap),
        "mean_absolute_errors": error_figures(scores, bootstrap),
        "changes": change_figures(changes(scores), bootstrap),
        "brats": brats_figures(scores, bootstrap),
    }


def overlap_figures(scores: Sequence[ScanScore], bootstrap: Bootstrap) -> Figures:
    """Return Dice (also normalised, also by region) and HD95 of whole scans; scans without a value are left out."""
    owners = [score.patient for score in scores]
    rate = positive_rate(scores)
    columns: dict[str, list[float | None]] = {
        "dice": [score.voxels.dice for score in scores],
        "ndsc_chuv": [_ndsc(score.voxels, prediction_odds(score.voxels), rate) for score in scores],
        "ndsc_raina": [_ndsc(score.voxels, truth_odds(score.voxels), rate) for score in scores],
        "hd95_mm": [score.hd95_mm for score in scores],
    }
    figures = means_and_medians(owners, columns, bootstrap)
    regions = sorted({region for score in scores for region in score.dice})
    dice = {region: [score.dice.get(region) for score in scores] for region in regions}
    return figures | {"dice_by_region": {name: mean_of(owners, values, bootstrap) for name, values in dice.items()}}


def positive_rate(scores: Sequence[ScanScore]) -> float:
    """Return the share of lesion voxels over all scans."""
    return sum(score.voxels.positives for score in scores) / max(sum(score.voxels.voxels for score in scores), 1)


def lesion_figures(lesions: Sequence[LesionScore], bootstrap: Bootstrap) -> Figures:
    """Return Dice and HD95 of the lesions that were found, and how Dice goes with the logarithm of volume."""
    owners = [lesion.patient for lesion in lesions]
    dice = array_of([lesion.dice for lesion in lesions])
    log_volume = np.log10(volumes_of(lesions))
    return means_and_medians(
        owners, {"dice": dice, "hd95_mm": array_of([lesion.hd95_mm for lesion in lesions])}, bootstrap
    ) | {
        "dice_with_log_volume": correlations_of(owners, log_volume, dice, bootstrap),
        "lesions_in_parts": mean_of(owners, [lesion.parts > 1 for lesion in lesions], bootstrap),
        "lesions_run_together": mean_of(owners, [lesion.neighbours > 0 for lesion in lesions], bootstrap),
    }


def detection_figures(scores: Sequence[ScanScore], rule: MatchRule, bootstrap: Bootstrap) -> Figures:
    """Return what was found under one rule; two formulas go by the name of false-discovery rate."""
    owners = [score.patient for score in scores]
    counts = [score.detection[rule] for score in scores]
    lesions, found = ([getattr(one, name) for one in counts] for name in ("lesions", "found"))
    predictions, true = ([getattr(one, name) for one in counts] for name in ("predictions", "true_predictions"))
    false = [one.false_positives for one in counts]
    recall, precision = bootstrap.ratio(owners, found, lesions), bootstrap.ratio(owners, true, predictions)
    f1 = Draws(values=f_beta(precision.values, recall.values), n=recall.n, patients=recall.patients)
    draws = {
        "recall": recall,
        "precision": precision,
        "f1": f1,
        "false_positives_per_scan": bootstrap.mean(owners, false),
        "false_positives_over_lesions_rudie": bootstrap.ratio(owners, false, lesions),
        "false_positives_over_predictions_chuv": bootstrap.ratio(owners, false, predictions),
        "scan_mean_recall": bootstrap.mean(owners, array_of([one.recall for one in counts])),
        "scan_mean_precision": bootstrap.mean(owners, array_of([one.precision for one in counts])),
        "scan_mean_f1": bootstrap.mean(owners, scan_f1(counts)),
    }
    totals = {"lesions": sum(lesions), "found": sum(found), "predictions": sum(predictions), "false": sum(false)}
    return totals | {name: one.estimate() for name, one in draws.items()}


def scan_f1(counts: Sequence[DetectionCounts]) -> FloatArray:
    """Return F1 of each scan; NaN where there is neither lesion nor prediction."""
    return f_beta(array_of([one.precision for one in counts]), array_of([one.recall for one in counts]))


def strata_figures(
    lesions: Sequence[LesionScore], sizes: Mapping[str, Iterable[bool]], bootstrap: Bootstrap
) -> dict[str, Figures]:
    """Return sensitivity by rule, Dice and volume ratio of found lesions for each size."""
    return {
        name: _stratum([lesion for lesion, inside in zip(lesions, members, strict=True) if inside], bootstrap)
        for name, members in sizes.items()
    }


def _stratum(lesions: Sequence[LesionScore], bootstrap: Bootstrap) -> Figures:
    owners = [lesion.patient for lesion in lesions]
    recall = {rule.value: mean_of(owners, [lesion.found[rule] for lesion in lesions], bootstrap) for rule in MatchRule}
    ratios = [lesion.predicted_volume_mm3 / lesion.volume_mm3 or None for lesion in lesions]
    return {
        "lesions": len(lesions),
        "recall": recall,
        "dice": mean_of(owners, [lesion.dice for lesion in lesions], bootstrap),
        "hd95_mm": mean_of(owners, [lesion.hd95_mm for lesion in lesions], bootstrap),
        "median_volume_ratio": bootstrap.median(owners, array_of(ratios)).estimate(),
    }


def volume_figures(scores: Sequence[ScanScore], lesions: Sequence[LesionScore], bootstrap: Bootstrap) -> Figures:
    """Return how predicted volumes and counts go with true ones: found lesions, whole scans, numbers of lesions."""
    patients, owners = [score.patient for score in scores], [lesion.patient for lesion in lesions]
    predicted = np.array([lesion.predicted_volume_mm3 for lesion in lesions], float)
    marked = np.where(predicted > 0, predicted, np.nan)
    totals = [(score.true_volume_mm3, score.predicted_volume_mm3) for score in scores]
    both = np.array([pair if min(pair) > LEAST_VOLUME_MM3 else (np.nan, np.nan) for pair in totals], float)
    counts = np.array([(len(score.lesions), len(score.predicted_volumes_mm3)) for score in scores], float).reshape(
        -1, 2
    )
    log = np.log10(both.reshape(-1, 2))
    return {
        "found_lesions_log": correlations_of(owners, np.log10(volumes_of(lesions)), np.log10(marked), bootstrap),
        "found_lesions": correlations_of(owners, volumes_of(lesions), marked, bootstrap),
        "scans_log": correlations_of(patients, log[:, 0], log[:, 1], bootstrap),
        "counts": correlations_of(patients, counts[:, 0], counts[:, 1], bootstrap),
        "median_volume_ratio": bootstrap.median(owners, marked / volumes_of(lesions)).estimate(),
    }


def error_figures(scores: Sequence[ScanScore], bootstrap: Bootstrap) -> Figures:
    """Return mean absolute errors, averaged over patients."""
    errors = {patient: course_errors(course) for patient, course in courses(scores).items()}
    names = [one.name for one in fields(MeanAbsoluteErrors)]
    return {
        name: mean_of(list(errors), [getattr(error, name) for error in errors.values()], bootstrap) for name in names
    }


def change_figures(all_changes: Sequence[Change], bootstrap: Bootstrap) -> Figures:
    """Return how predicted changes go with true ones; pairs of consecutive studies of one patient."""
    figures: Figures = {}
    for quantity in (TOTAL, COUNT, LESION):
        mine = [change for change in all_changes if change.quantity == quantity]
        true, predicted = [change.true for change in mine], [change.predicted for change in mine]
        owners = [change.patient for change in mine]
        same_way = [np.sign(change.true) == np.sign(change.predicted) for change in mine]
        figures[quantity] = correlations_of(owners, true, predicted, bootstrap) | {
            "same_direction": mean_of(owners, same_way, bootstrap),
        }
    return figures


def brats_figures(scores: Sequence[ScanScore], bootstrap: Bootstrap) -> Figures:
    """Return the means over scans of the challenge's lesion-wise scores by region."""
    regions = sorted({region for score in scores for region in score.brats})
    return {region: _brats_region(scores, region, bootstrap) for region in regions}


def _brats_region(scores: Sequence[ScanScore], region: str, bootstrap: Bootstrap) -> dict[str, Estimate]:
    owners = [score.patient for score in scores]
    rows: list[LesionWise] = [score.brats[region] for score in scores]
    names = rows[0].figures()
    return {name: mean_of(owners, [row.figures()[name] for row in rows], bootstrap) for name in names}


def _ndsc(counts: Confusion, odds: float, rate: float) -> float | None:
    return ndsc(counts, odds=odds, rate=rate) if rate > 0 else None
