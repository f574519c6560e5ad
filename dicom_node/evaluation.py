"""``dicom-node evaluate``; this module loads nothing heavy, so that ``dicom-node --help`` answers at once."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from dicom_node.errors import NodeError
from dicom_node.packages import require_own_packages

if TYPE_CHECKING:
    from inference.evaluation.bootstrap import Estimate

SHOWN = {
    "Dice of scans, mean": ("overlap", "dice"),
    "Dice of found lesions, mean": ("lesion_overlap", "dice"),
    "HD95 of scans / mm, median": ("overlap", "hd95_mm_median"),
    "sensitivity": ("detection", "any_overlap", "recall"),
    "precision": ("detection", "any_overlap", "precision"),
    "false positives per scan": ("detection", "any_overlap", "false_positives_per_scan"),
    "error of total volume / mm³": ("mean_absolute_errors", "total_volume_mm3"),
    "error of its change / mm³": ("mean_absolute_errors", "total_volume_change_mm3"),
}


def evaluate_command(  # noqa: PLR0913 - each is an option of the command line
    manifest: Annotated[
        Path,
        typer.Argument(
            help="CSV with one row for each scan: patient, study_date, truth, prediction; if wished probability,"
            " ignore, brain, quality, truth_lesions and reader_NAME. Paths are relative to its folder."
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(help="Folder for tables, summary.json and figures.")],
    labels: Annotated[
        str,
        typer.Option(
            help="Labels of truth and readers: node, yale, chuv, brats-mets, brats-2021, lesion, ucsf, or"
            " 1=ENHANCING,2=EDEMA and so on (NECROSIS, LESION, BACKGROUND, UNKNOWN)."
        ),
    ] = "node",
    prediction_labels: Annotated[str, typer.Option(help="Labels of the predictions, likewise.")] = "node",
    quality: Annotated[
        list[str] | None, typer.Option(help="Truths to use: gold (default), silver, synthetic; may be repeated.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Draws of patients for the intervals.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    froc_threshold: Annotated[
        float,
        typer.Option(
            min=0.01,
            max=1.0,
            help="Least probability of a candidate of the free-response curve, which ranks them by their highest.",
        ),
    ] = 0.5,
) -> None:
    """Judge predictions against the truth, and readers beside them: per scan, per lesion, by size and over time."""
    require_own_packages()
    from inference.evaluation.report import EvaluationOptions, evaluate  # late: these load numpy and matplotlib
    from inference.evaluation.table import ManifestError

    options = EvaluationOptions(
        labels=labels,
        prediction_labels=prediction_labels,
        qualities=tuple(quality or ("gold",)),
        resamples=resamples,
        seed=seed,
        froc_threshold=froc_threshold,
    )
    try:
        summary = evaluate(manifest, out, options)
    except ManifestError as error:
        raise NodeError(str(error)) from error
    console = Console()
    console.print(overview(summary))
    console.print(f"Tables, summary.json and figures are in {out}.", soft_wrap=True)


def overview(summary: dict[str, Any]) -> Table:
    """Return the main figures of every rater with their intervals."""
    title = f"{summary['scans']} scans of {summary['patients']} patients; 95 % intervals over patients"
    table = Table("", *summary["raters"], title=title)
    for name, keys in SHOWN.items():
        cells = []
        for figures in summary["raters"].values():
            value = figures
            for key in keys:
                value = value[key]
            cells.append(cell(value))
        table.add_row(name, *cells)
    return table


def cell(estimate: "Estimate") -> str:
    """Return a figure with its interval, or a dash."""
    if estimate.value is None:
        return "-"
    interval = "" if estimate.low is None else f" ({estimate.low:.3g} to {estimate.high:.3g})"
    return f"{estimate.value:.3g}{interval}"
