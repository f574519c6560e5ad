"""The command as people and scripts use it: answers, exit statuses, and one sentence for each failure."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dicom_node.cli import application
from dicom_node.demo.command import DEFAULT_SEED, demo
from dicom_node.jobs.table import JobRecord, JobTable
from tests.dicom_node.jobs.running_node import mr_instance


def run(*words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "dicom_node.cli", *words],
        capture_output=True,
        text=True,
        env=os.environ | variables | {"COLUMNS": "200"},
        check=False,
    )


def test_help_names_every_command() -> None:
    answer = run("--help")
    assert answer.returncode == 0
    for command in ("serve", "process", "jobs", "check", "config", "demo", "evaluate"):
        assert f" {command} " in answer.stdout


def test_configuration_is_printed_as_toml(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("[node]\nport = 2000\n")
    answer = run("config", "--config", str(file), DICOM_NODE_NODE__AE_TITLE="OTHER")
    assert answer.returncode == 0
    node = tomllib.loads(answer.stdout)["node"]
    assert (node["port"], node["ae_title"]) == (2000, "OTHER")


def test_wrong_configuration_is_one_sentence() -> None:
    answer = run("config", DICOM_NODE_NODE__PORT="x")
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert answer.stderr.startswith("node.port = 'x' (environment variable DICOM_NODE_NODE__PORT) is wrong: ")
    assert answer.stderr.count("\n") == 1


def test_option_of_the_command_line_wins(tmp_path: Path) -> None:
    answer = run("config", "--data-dir", str(tmp_path), DICOM_NODE_NODE__DATA_DIR="/elsewhere")
    assert tomllib.loads(answer.stdout)["node"]["data_dir"] == str(tmp_path)


def test_jobs_are_listed_as_text_and_json(tmp_path: Path) -> None:
    assert f"No jobs in {tmp_path} yet" in run("jobs", "--data-dir", str(tmp_path)).stdout
    table = JobTable(tmp_path / "jobs" / "jobs.sqlite")
    job = JobRecord(
        job_id="1.2.3:abc",
        study_uid="1.2.3",
        patient_key="",
        study_time="",
        instance_count=1,
        state="waiting",
        received_at_s=1.7e9,
    )
    table.add(job)
    table.mark_attention(job.job_id, "No series can serve as T1c.")
    assert "No series can serve as T1c." in run("jobs", "--data-dir", str(tmp_path)).stdout
    (entry,) = json.loads(run("jobs", "--json", "--data-dir", str(tmp_path)).stdout)
    assert (entry["study_uid"], entry["state"], entry["received_at"][:10]) == ("1.2.3", "attention", "2023-11-14")
    assert json.loads(run("jobs", "1.2.3", "--json", "--data-dir", str(tmp_path)).stdout) == entry
    missing = run("jobs", "9.9", "--data-dir", str(tmp_path))
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize("command", ["jobs", "config"])
def test_quick_commands_load_nothing_heavy(command: str, tmp_path: Path) -> None:
    heavy = {"torch", "monai", "highdicom", "pydicom", "pynetdicom", "dbos", "scipy", "numpy", "ants", "SimpleITK"}
    script = (
        "import sys\nfrom dicom_node.cli import application\n"
        f"application(['{command}', '--data-dir', '{tmp_path}'], standalone_mode=False)\n"
        f"print('LOADED', sorted({heavy!r} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.endswith("LOADED []\n")


def test_folder_without_dicom_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("nothing")
    answer = run("process", str(tmp_path), "--data-dir", str(tmp_path / "data"))
    assert answer.returncode == 1
    assert f"There is no DICOM image in {tmp_path}" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("command", ["serve", "process", "jobs", "check"])
def test_file_as_data_folder_is_one_sentence_that_names_the_option(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answer = run(command, *([str(tmp_path)] if command == "process" else []), "--data-dir", str(tmp_path / "file"))
    assert answer.returncode == 1
    assert f"(--data-dir) is wrong: {tmp_path}/file is a file; name a folder." in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_empty_data_folder_is_refused() -> None:
    answer = run("config", "--data-dir", "")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith("node.data_dir = '' (--data-dir) is wrong: it is empty")


def test_data_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    answer = run("process", str(tmp_path), "--data-dir", "/proc/nowhere")
    assert (answer.returncode, answer.stderr.count("\n")) == (1, 1)
    assert "/proc/nowhere" in answer.stderr
    assert "node.data_dir" in answer.stderr


def test_wrong_port_blames_the_option_that_was_given(tmp_path: Path) -> None:
    answer = run("serve", "--port", "99999", "--data-dir", str(tmp_path))
    assert answer.returncode == 1
    assert answer.stderr.startswith("node.port = '99999' (--port) is wrong: ")


def test_every_option_of_the_demonstration_is_declared_in_one_place() -> None:
    answer = run("demo", "--help")
    assert f"[default: {DEFAULT_SEED}]" in answer.stdout
    assert [command.callback for command in application.registered_commands].count(demo) == 1


def test_all_studies_are_tried_and_failures_summed_up(tmp_path: Path) -> None:
    """Two studies that cannot be analysed, since their images have no pixels, and a file that is no DICOM."""
    for study_uid in ("1.1", "1.2"):
        (tmp_path / "in" / study_uid).mkdir(parents=True)
        mr_instance(study_uid, 1).save_as(tmp_path / "in" / study_uid / "IM1", enforce_file_format=True)
    (tmp_path / "in" / "note.txt").write_text("nothing")
    answer = run("process", str(tmp_path / "in"), "--data-dir", str(tmp_path / "data"))
    assert answer.returncode == 1
    assert f"Skipped 1 file: no DICOM file ({tmp_path}/in/note.txt)." in answer.stdout
    assert answer.stdout.count("  failed: ") == 2
    assert answer.stderr.splitlines()[-1] == "2 of 2 studies failed, for the reasons above: 1.1, 1.2."
