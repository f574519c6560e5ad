"""What an evaluation writes: one CSV row per scan, lesion, change, BraTS region and pair of raters, JSON, pictures.

A cell is empty, and a JSON value null, where a figure does not exist.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from inference.evaluation.changes import Change, changes
from inference.evaluation.detection import DetectionCounts
from inference.evaluation.estimates import Figures, number_or_none
from inference.evaluation.metrics import sphere_diameter_mm
from inference.evaluation.overlap import ndsc, prediction_odds, truth_odds
from inference.evaluation.scoring import LesionScore, PairScore, Results, ScanScore
from inference.evaluation.summary import positive_rate, scan_f1
from tracking.plots.look import save_figure

Row = Mapping[str, Any]

CHANGE_FIELDS = tuple(one.name for one in fields(Change))


def write_tables(folder: Path, results: Results) -> None:
    """Write all tables; one that has no rows is removed if an earlier evaluation left it."""
    raters = list(results.scans)
    scans = [row for rater in raters for row in scan_rows(results.scans[rater])]
    lesions = [lesion_row(lesion) for rater in raters for lesion in results.lesions(rater)]
    courses = [change_row(change) for rater in raters for change in changes(results.scans[rater])]
    brats = [row for rater in raters for score in results.scans[rater] for row in brats_rows(score)]
    _write_csv(folder / "scans.csv", scans)
    _write_csv(folder / "lesions.csv", lesions)
    _write_csv(folder / "changes.csv", courses)
    _write_csv(folder / "brats.csv", brats)
    _write_csv(folder / "raters.csv", [pair_row(pair) for pair in results.pairs])


def write_summary(path: Path, summary: Figures) -> None:
    """Write all figures as JSON."""
    text = json.dumps(summary, indent=1, default=_plain, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def write_figures(folder: Path, figures: Mapping[str, Figure | None]) -> None:
    """Write each picture as PNG and SVG; one that has nothing to show is removed if an earlier evaluation left it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        for path in (folder / f"{name}.png", folder / f"{name}.svg"):
            if figure is None:
                path.unlink(missing_ok=True)
            else:
                save_figure(figure, path)


def scan_rows(scores: Sequence[ScanScore]) -> list[Row]:
    """Return the rows of one rater; the normalised Dice depends on all scans."""
    rate = positive_rate(scores)
    return [_scan_row(score, rate) for score in scores]


def lesion_row(lesion: LesionScore) -> Row:
    """Return the row of a lesion."""
    return {
        "patient": lesion.patient,
        "study_date": lesion.study_date.isoformat(),
        "rater": lesion.rater,
        "lesion": lesion.lesion,
        "identity": lesion.identity,
        "volume_mm3": lesion.volume_mm3,
        "diameter_mm": sphere_diameter_mm(lesion.volume_mm3),
        **{f"found_{rule.value}": int(found) for rule, found in lesion.found.items()},
        "predicted_volume_mm3": lesion.predicted_volume_mm3,
        "dice": lesion.dice,
        "hd95_mm": lesion.hd95_mm,
        "parts": lesion.parts,
        "neighbours": lesion.neighbours,
    }


def change_row(change: Change) -> Row:
    """Return the row of a change."""
    values = {name: getattr(change, name) for name in CHANGE_FIELDS}
    dates = {name: values[name].isoformat() for name in ("earlier", "later")}
    return values | dates | {"true_change": change.true, "predicted_change": change.predicted}


def brats_rows(score: ScanScore) -> list[Row]:
    """Return one row per region."""
    name = {"patient": score.patient, "study_date": score.study_date.isoformat(), "rater": score.rater}
    return [name | {"region": region} | one.figures() for region, one in score.brats.items()]


def pair_row(pair: PairScore) -> Row:
    """Return the row of two raters in one scan."""
    return asdict(pair) | {"study_date": pair.study_date.isoformat()}


def _scan_row(score: ScanScore, rate: float) -> Row:
    counts = score.voxels
    odds = {"ndsc_chuv": prediction_odds(counts), "ndsc_raina": truth_odds(counts)}
    row: dict[str, Any] = {
        "patient": score.patient,
        "study_date": score.study_date.isoformat(),
        "rater": score.rater,
        "true_volume_mm3": score.true_volume_mm3,
        "predicted_volume_mm3": score.predicted_volume_mm3,
        "dice": counts.dice,
        **{name: ndsc(counts, odds=one, rate=rate) if rate else None for name, one in odds.items()},
        "hd95_mm": score.hd95_mm,
        **{f"dice_{region}": value for region, value in score.dice.items()},
    }
    for rule, found in score.detection.items():
        row |= {f"{name}_{rule.value}": value for name, value in _detection_cells(found).items()}
    return row


def _detection_cells(counts: DetectionCounts) -> Row:
    return {
        "lesions": counts.lesions,
        "found": counts.found,
        "predictions": counts.predictions,
        "false_positives": counts.false_positives,
        "recall": counts.recall,
        "precision": counts.precision,
        "f1": number_or_none(scan_f1([counts])[0]),
    }


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    if not rows:
        path.unlink(missing_ok=True)
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows({name: _rounded(value) for name, value in row.items()} for row in rows)


def _rounded(value: object) -> object:
    return f"{value:.10g}" if isinstance(value, float) else value


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
