"""The story of an evaluation: a table of scans goes in; scores, figures with intervals and pictures come out.

Scans are read one at a time and only their scores are kept. Everything is drawn with one seed: the same table gives the
same files.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from inference.evaluation.bootstrap import LIMITS_PERCENT, Bootstrap
from inference.evaluation.brats import LARGE_MM3, PENALTY_MM, SMALLEST_DICE
from inference.evaluation.changes import changes
from inference.evaluation.detection import IOR_LIMIT, IOU_LIMIT, MatchRule
from inference.evaluation.estimates import Figures
from inference.evaluation.figures import (
    SizeSensitivity,
    bland_altman_figure,
    change_figure,
    froc_figure,
    sensitivity_figure,
    volume_figure,
)
from inference.evaluation.files import write_figures, write_summary, write_tables
from inference.evaluation.free_response import FreeResponse, curve_figures, free_response
from inference.evaluation.labels import label_scheme
from inference.evaluation.metrics import ScanResult
from inference.evaluation.readers import beside_readers, size_tests
from inference.evaluation.scan import LabelSchemes, load_scan
from inference.evaluation.scoring import PairScore, Results, ScanScore, response, score_pairs, score_scan, true_lesions
from inference.evaluation.summary import rater_figures
from inference.evaluation.table import GOLD, MODEL, ManifestError, ScanRow, of_quality, read_manifest

log = logging.getLogger(__name__)

RULES = {
    MatchRule.ANY_OVERLAP.value: "at least one shared voxel (Rudie et al. 2021)",
    MatchRule.IOU.value: f"intersection over union above {IOU_LIMIT} (CHUV 2024)",
    MatchRule.IOR.value: f"intersection over the true lesion of at least {IOR_LIMIT} (NYUMets 2024)",
}
BRATS_RULES = {"large_mm3": LARGE_MM3, "smallest_dice": SMALLEST_DICE, "penalty_mm": PENALTY_MM}


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How to evaluate.

    Attributes
    ----------
    labels, prediction_labels
        Meaning of the labels of truth and readers, and of the model (see `inference.evaluation.labels.label_scheme`).
    qualities
        Of the truths that are used.
    resamples, seed
        Of the bootstrap over patients.
    froc_threshold
        Candidates of the free-response curve are components of at least this probability.
    """

    labels: str = "node"
    prediction_labels: str = "node"
    qualities: tuple[str, ...] = (GOLD,)
    resamples: int = 10_000
    seed: int = 0
    froc_threshold: float = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scores:
    results: Results
    responses: Sequence[tuple[str, ScanResult]]


def evaluate(manifest: Path, out: Path, options: EvaluationOptions | None = None) -> Figures:
    """Judge the model, and the readers beside it, on every scan of a table.

    Parameters
    ----------
    manifest
        CSV file (see `inference.evaluation.table.read_manifest`).
    out
        Folder for ``scans.csv, lesions.csv, changes.csv, brats.csv, raters.csv, summary.json`` and ``figures/``; files
        of an earlier evaluation are replaced.
    options
        The defaults, if none.

    Returns
    -------
    dict
        What ``summary.json`` holds, with an `Estimate` for every figure.

    Raises
    ------
    ManifestError
        If the table, an option or a file is wrong.
    """
    options = options or EvaluationOptions()
    schemes = LabelSchemes(truth=label_scheme(options.labels), prediction=label_scheme(options.prediction_labels))
    everything = read_manifest(manifest)
    rows = of_quality(everything, options.qualities)
    _make_folder(out)
    scores = _score_all(rows, schemes, options)
    bootstrap = Bootstrap.drawn([row.patient for row in rows], resamples=options.resamples, seed=options.seed)
    curve = _curve(scores.responses, bootstrap)
    summary = _conditions(rows, everything, options) | _figures(scores.results, curve, bootstrap)
    write_tables(out, scores.results)
    write_summary(out / "summary.json", summary)
    write_figures(out / "figures", _pictures(scores.results, summary, curve))
    return summary


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ManifestError(f"The folder {out} cannot be made ({error.strerror}); name another.") from error


def _score_all(rows: Sequence[ScanRow], schemes: LabelSchemes, options: EvaluationOptions) -> _Scores:
    readers = sorted({reader for row in rows for reader in row.readers})
    scans: dict[str, list[ScanScore]] = {rater: [] for rater in (MODEL, *readers)}
    pairs: list[PairScore] = []
    responses: list[tuple[str, ScanResult]] = []
    for number, row in enumerate(rows, start=1):
        scan = load_scan(row, schemes)
        truth = true_lesions(scan, schemes)
        for rater in scan.raters:
            scans[rater].append(score_scan(scan, truth, schemes, rater=rater))
        pairs.extend(score_pairs(scan, schemes))
        found = response(scan, truth, threshold=options.froc_threshold)
        if found is not None:
            responses.append((row.patient, found))
        log.info("scan %d of %d: %s, %d lesions", number, len(rows), row.name, truth.count)
    return _Scores(results=Results(scans=scans, pairs=pairs), responses=responses)


def _curve(responses: Sequence[tuple[str, ScanResult]], bootstrap: Bootstrap) -> FreeResponse | None:
    if not responses:
        return None
    return free_response([patient for patient, _ in responses], [found for _, found in responses], bootstrap)


def _conditions(rows: Sequence[ScanRow], everything: Sequence[ScanRow], options: EvaluationOptions) -> Figures:
    """Return what the figures hold for: scans, labels, rules, and how the intervals were drawn."""
    left_out = Counter(row.quality for row in everything if row not in rows)
    return {
        "scans": len(rows),
        "patients": len({row.patient for row in rows}),
        "qualities": list(options.qualities),
        "left_out": dict(left_out),
        "labels": {"truth_and_readers": options.labels, MODEL: options.prediction_labels},
        "rules": RULES,
        "brats_rules": BRATS_RULES,
        "froc_threshold": options.froc_threshold,
        "bootstrap": {
            "unit": "patient",
            "resamples": options.resamples,
            "seed": options.seed,
            "limits_percent": LIMITS_PERCENT,
        },
    }


def _figures(results: Results, curve: FreeResponse | None, bootstrap: Bootstrap) -> Figures:
    return {
        "raters": {rater: rater_figures(scores, bootstrap) for rater, scores in results.scans.items()},
        "readers": beside_readers(results, bootstrap),
        "sensitivity_differs_by_size": size_tests(results),
        "froc": curve and curve_figures(curve),
    }


def _pictures(results: Results, summary: Figures, curve: FreeResponse | None) -> Mapping[str, Figure | None]:
    lesions, scans = results.lesions(MODEL), results.scans[MODEL]
    point = summary["raters"][MODEL]["detection"][MatchRule.ANY_OVERLAP.value]
    used = (point["false_positives_per_scan"].value, point["recall"].value)
    return {
        "froc": None if curve is None else froc_figure(curve, None if used[1] is None else used),
        "sensitivity_by_size": sensitivity_figure([_by_size(summary, rater) for rater in results.scans]),
        "volumes": volume_figure(lesions),
        "bland_altman": bland_altman_figure(lesions, scans),
        "changes": change_figure(changes(scans)),
    }


def _by_size(summary: Figures, rater: str) -> SizeSensitivity:
    strata = summary["raters"][rater]["strata"]
    volume, diameter = (
        {size: one["recall"][MatchRule.ANY_OVERLAP.value] for size, one in strata[kind].items()}
        for kind in ("volume", "diameter")
    )
    return SizeSensitivity(rater=rater, volume=volume, diameter=diameter)
