"""What a demonstration leaves behind: files in its folder, and tables on the terminal."""

import json
import shutil
import tempfile
from pathlib import Path

from rich.console import Console

from dicom_node.demo.curves import draw_curves
from dicom_node.demo.lesions_json import lesions_document
from dicom_node.demo.outcome import DemoOutcome
from dicom_node.demo.player import DemoError
from dicom_node.demo.report_html import report_html
from dicom_node.demo.table import study_table, summary
from tracking.plots import save_figure

MARKER = ".dicom-node-demo"  # a folder without it is not ours to empty


def prepare_folder(out: Path) -> None:
    """Make the folder, or empty it after an earlier demonstration.

    Raises
    ------
    DemoError
        When it holds something else.
    """
    marker = out / MARKER
    if out.exists() and any(out.iterdir()):
        if not marker.exists():
            raise DemoError(f"{out} is not empty and no earlier demonstration's; name another folder with --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    marker.touch()


def write_outputs(outcome: DemoOutcome, out: Path) -> None:
    """Write ``lesions.json``, ``curves.png`` and ``report.html``."""
    document = json.dumps(lesions_document(outcome), indent=2, ensure_ascii=False)
    (out / "lesions.json").write_text(document + "\n", encoding="utf-8")
    figure = draw_curves(outcome.results)
    save_figure(figure, out / "curves.png")
    with tempfile.TemporaryDirectory() as folder:
        vector = Path(folder) / "curves.svg"
        save_figure(figure, vector)
        report = report_html(outcome, curves_svg=vector.read_text(encoding="utf-8"))
    (out / "report.html").write_text(report, encoding="utf-8")


def show(outcome: DemoOutcome, out: Path, console: Console) -> None:
    """Print the tables, the figures and where the files are."""
    for result, job in zip(outcome.results, outcome.jobs, strict=True):
        console.print(study_table(result))
        if job.state != "done":
            console.print(f"The node could not finish this study: {job.reason}", style="bold red", markup=False)
        console.print()
    console.print(summary(outcome))
    console.print(f"Report: {(out / 'report.html').absolute()}", markup=False, soft_wrap=True)
    console.print("Synthetic patient, automatic result, not verified. Not for diagnostic use.", style="yellow")
