"""The whole demonstration with its real parts: generator, listener, worker, network, archive; nothing is replaced.

What the model finds is not fixed here beyond "most of it": how good it is, its own evaluation tells.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pydicom
import pytest
from rich.console import Console

from dicom_node.demo.command import DEFAULT_SEED
from dicom_node.demo.outcome import DemoOutcome
from dicom_node.demo.run import run_demo
from tracking.track import TrackState

pytestmark = [pytest.mark.slow, pytest.mark.end_to_end, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def outcome(folder: Path) -> DemoOutcome:
    return run_demo(out=folder, seed=DEFAULT_SEED, console=Console(force_terminal=False))


def test_all_studies_have_seg_and_sr_in_the_archive(outcome: DemoOutcome, folder: Path) -> None:
    assert [job.state for job in outcome.jobs] == ["done"] * 3
    for result in outcome.results:
        modalities = {
            pydicom.dcmread(path, stop_before_pixels=True).Modality
            for path in (folder / "archive" / result.findings.study_uid).rglob("*.dcm")
        }
        assert modalities == {"MR", "SEG", "SR"}


def test_results_have_no_error_for_dciodvfy(outcome: DemoOutcome, folder: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is missing: install dicom3tools")
    for result in outcome.results:
        for uid in result.findings.objects.values():
            path = next((folder / "archive").rglob(f"{uid}.dcm"))
            run = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
            assert "Error" not in run.stdout + run.stderr


def test_most_lesions_are_found_and_their_identities_kept(outcome: DemoOutcome) -> None:
    figures = outcome.figures
    assert figures.found > figures.lesions / 2
    assert figures.identities > 0
    assert figures.identities_kept > figures.identities / 2


def test_every_state_of_a_lesion_is_shown(outcome: DemoOutcome) -> None:
    shown = {finding.state for result in outcome.results for finding in result.findings.findings}
    assert shown >= {state.value for state in TrackState} - {TrackState.NOT_ASSESSED.value}


def test_the_last_study_tells_the_course_over_all_studies(outcome: DemoOutcome) -> None:
    first, *_, last = (result.findings.course for result in outcome.results)
    assert first == ()
    assert last[0].startswith("RANO-BM on 2024-09-09: ")
    assert any(sentence.startswith("All 3 studies, 2024-03-11 to 2024-09-09") for sentence in last)


def test_every_series_has_a_role_or_a_reason(outcome: DemoOutcome) -> None:
    for job in outcome.jobs:
        assert len(job.series) == 5
        assert all(series.reason for series in job.series)
        assert [series.role for series in job.series].count("T1c") == 1


def test_files_that_people_open_are_there(outcome: DemoOutcome, folder: Path) -> None:
    document = json.loads((folder / "lesions.json").read_text(encoding="utf-8"))
    assert len(document["studies"]) == 3
    assert all(study["lesions"] for study in document["studies"])
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert all(uid in report for result in outcome.results for uid in result.findings.objects.values())
    assert (folder / "curves.png").stat().st_size > 10_000
