"""``dicom-node evaluate`` as people call it: what it prints, and one sentence for what is wrong."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from dicom_node.errors import NodeError
from dicom_node.evaluation import cell, evaluate_command
from inference.evaluation.bootstrap import Estimate
from tests.inference.evaluation.phantoms import small_study

application = typer.Typer()
application.command()(evaluate_command)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_study(tmp_path_factory.mktemp("study"))


@pytest.mark.slow
def test_main_figures_of_every_rater_are_printed(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    words = [str(study), "--out", str(tmp_path / "out"), "--resamples", "200", "--seed", "3"]
    answer = CliRunner().invoke(application, words)
    assert answer.exit_code == 0, answer.output
    assert "6 scans of 3 patients" in answer.output
    lines = [re.findall(r"[^\W_]+(?:\.\d+)?", line) for line in answer.output.splitlines()]
    assert ["model", "A", "B"] in lines
    assert ["sensitivity", "0.667", "1", "0.667"] in lines
    assert (tmp_path / "out" / "summary.json").is_file()
    assert (tmp_path / "out" / "figures" / "froc.png").stat().st_size > 10_000


def test_options_reach_the_evaluation(study: Path, tmp_path: Path) -> None:
    words = [str(study), "--out", str(tmp_path), "--quality", "silver", "--quality", "synthetic"]
    answer = CliRunner().invoke(application, words)
    assert isinstance(answer.exception, NodeError)
    assert "quality silver or synthetic (there are 6 gold)" in str(answer.exception)
    for option, message in (("--labels", "The labels 'x' are neither"), ("--prediction-labels", "The labels 'x'")):
        answer = CliRunner().invoke(application, [str(study), "--out", str(tmp_path), option, "x"])
        assert message in str(answer.exception)


def test_a_wrong_table_is_one_sentence_for_the_command_line(tmp_path: Path) -> None:
    answer = CliRunner().invoke(application, [str(tmp_path / "gone.csv"), "--out", str(tmp_path)])
    assert isinstance(answer.exception, NodeError)
    assert "\n" not in str(answer.exception)
    assert "gone.csv cannot be read as a CSV table" in str(answer.exception)


def test_the_module_of_the_command_loads_nothing_heavy() -> None:
    heavy = {"torch", "monai", "numpy", "scipy", "matplotlib", "nibabel", "highdicom"}
    script = f"import sys, dicom_node.evaluation\nprint(sorted({heavy!r} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


@pytest.mark.slow
def test_evaluation_needs_no_network_library() -> None:
    script = "import sys, inference.evaluation.report\nprint('torch' in sys.modules, 'monai' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout == "False False\n"


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(value=None, low=None, high=None, n=0), "-"),
        (Estimate(value=0.5, low=None, high=None, n=3), "0.5"),
        (Estimate(value=0.12345, low=0.1, high=0.2, n=3), "0.123 (0.1 to 0.2)"),
    ],
)
def test_a_figure_with_its_interval(estimate: Estimate, text: str) -> None:
    assert cell(estimate) == text
