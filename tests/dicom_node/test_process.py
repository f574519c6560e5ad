"""Studies found on disk, whatever their files are called, and what becomes of them.

Not here: the real pipeline (`tests/end_to_end`).
"""

import io
from pathlib import Path

import pytest
from pydicom.fileset import FileSet
from rich.console import Console

from dicom_node.config import Configuration, load_configuration
from dicom_node.errors import InvalidStudyError, NodeError, NoUsableSeriesError
from dicom_node.jobs.arrival import read_arrival
from dicom_node.process import FoundStudy, find_studies, process_each, process_study, skipped_lines
from dicom_node.results.codes import MANUFACTURER
from tests.dicom_node.jobs import story
from tests.dicom_node.jobs.running_node import mr_instance


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    monkeypatch.setenv("DICOM_NODE_NODE__DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return load_configuration()


def write(folder: Path, study_uid: str, numbers: range, *, date: str = "20240101") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        mr_instance(study_uid, number, date=date).save_as(folder / f"IM{number}", enforce_file_format=True)


def test_studies_are_found_below_folders_and_the_earliest_comes_first(tmp_path: Path) -> None:
    write(tmp_path / "a" / "now", "1.2", range(3), date="20240601")
    write(tmp_path / "b", "1.1", range(2), date="20230601")
    (tmp_path / "a" / "README.txt").write_text("no DICOM")
    studies = find_studies([tmp_path / "a", tmp_path / "b"]).studies
    assert [(study.study_uid, len(study.paths)) for study in studies] == [("1.1", 2), ("1.2", 3)]


def test_copies_and_directories_of_media_do_not_count(tmp_path: Path) -> None:
    write(tmp_path / "a", "1.1", range(2))
    write(tmp_path / "copy", "1.1", range(2))
    media = FileSet()
    for path in (tmp_path / "a").iterdir():
        instance = mr_instance("1.1", int(path.name[2:]))
        instance.SeriesNumber, instance.InstanceNumber, instance.StudyID = 1, 1, "1"
        media.add(instance)
    media.write(tmp_path / "media")
    (study,) = find_studies([tmp_path]).studies
    assert len(study.paths) == 2


def test_job_is_the_one_that_the_listener_would_make(tmp_path: Path, configuration: Configuration) -> None:
    write(tmp_path / "a", "1.1", range(3))
    received = tmp_path / "1.1"
    received.mkdir()
    for path in (tmp_path / "a").iterdir():
        (received / f"1.1.1.{path.name[2:]}.dcm").write_bytes(path.read_bytes())
    (study,) = find_studies([tmp_path / "a"]).studies
    assert study.job(configuration, None).job_id == read_arrival(received).job_id


def test_pipeline_runs_here_and_leaves_no_intermediate_files(tmp_path: Path, configuration: Configuration) -> None:
    write(tmp_path / "a", "1.1", range(3))
    (study,) = find_studies([tmp_path / "a"]).studies
    seen: list[str] = []
    job = study.job(configuration, None)
    outcome = process_study(job, story.follow, seen.append)
    assert outcome.lesion_count == 3
    assert tuple(seen) == tuple(outcome.timings_s) == story.STEPS
    assert not job.work_folder.exists()


def test_failure_is_the_steps_own_sentence(tmp_path: Path, configuration: Configuration) -> None:
    write(tmp_path / "a", "1.1", range(1))
    (tmp_path / "data" / "behaviour").mkdir()
    (tmp_path / "data" / "behaviour" / "1.1.json").write_text('{"segment": "no-t1c"}')
    (study,) = find_studies([tmp_path / "a"]).studies
    with pytest.raises(NoUsableSeriesError, match="No series can serve as T1c"):
        process_study(study.job(configuration, None), story.follow, lambda _: None)


def test_folder_without_dicom_is_named_with_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidStudyError, match=f"There is no DICOM image in {tmp_path}: name a folder"):
        find_studies([tmp_path])
    (tmp_path / "note.txt").write_text("nothing")
    with pytest.raises(InvalidStudyError, match=r"Skipped 1 file: no DICOM file \(.*note.txt\)"):
        find_studies([tmp_path])


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_skipped_files_are_told_with_their_reason(tmp_path: Path) -> None:
    write(tmp_path / "a", "1.1", range(2))
    write(tmp_path / "b", "1.1", range(1))
    (tmp_path / "a" / "README.txt").write_text("no DICOM")
    (tmp_path / "a" / "LICENSE.txt").write_text("no DICOM")
    mr_instance("1.1;rm", 7).save_as(tmp_path / "a" / "hostile", enforce_file_format=True)
    ours = mr_instance("1.5", 1, manufacturer=MANUFACTURER)
    ours.Modality = "SEG"
    ours.save_as(tmp_path / "ours", enforce_file_format=True)
    found = find_studies([tmp_path])
    assert [study.study_uid for study in found.studies] == ["1.1"]
    assert {reason: len(paths) for reason, paths in found.skipped.items()} == {
        "no DICOM file": 2,
        "a copy of an instance that was found before": 1,
        "its header has no valid UIDs": 1,
        "results of this node without their images": 1,
    }
    lines = skipped_lines(found)
    assert f"Skipped 2 files: no DICOM file ({tmp_path}/a/LICENSE.txt and others)." in lines
    assert f"Skipped 1 file: a copy of an instance that was found before ({tmp_path}/b/IM0)." in lines


def test_study_that_fails_does_not_keep_the_others_from_being_analysed(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / str(number), f"1.{number}", range(1), date=f"2024010{number + 1}")
    analysed: list[str] = []

    def analyse(study: FoundStudy) -> None:
        analysed.append(study.study_uid)
        if study.study_uid != "1.2":
            raise NoUsableSeriesError(f"No T1c in {study.study_uid}.")

    console = Console(record=True, width=80, file=io.StringIO())
    with pytest.raises(NodeError, match=r"^2 of 3 studies failed, for the reasons above: 1.0, 1.1.$"):
        process_each(find_studies([tmp_path]).studies, analyse, console)
    assert analysed == ["1.0", "1.1", "1.2"]
    text = console.export_text()
    assert "failed: No T1c in 1.0." in text
    assert "failed: No T1c in 1.1." in text
