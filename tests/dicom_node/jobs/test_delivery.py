"""What the last steps write for a study that already has results."""

from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from dicom_node.config import load_configuration, open_configured_archive
from dicom_node.jobs.acceptance import AcceptedStudy, accept_study
from dicom_node.jobs.analysis import ComparedStudy
from dicom_node.jobs.artefacts import save_volume
from dicom_node.jobs.course import Course
from dicom_node.jobs.delivery import WrittenResults, deliver_results, write_results
from dicom_node.jobs.job import StudyJob
from dicom_node.jobs.segmented import SegmentedStudy
from dicom_node.studies.volumes import read_volume
from tests.dicom_node.results.phantoms import with_balls
from tests.dicom_node.studies.scanners import SIEMENS_MPRAGE, grid, save, series
from tracking.comparison import compare
from tracking.measurement import measure_lesions
from tracking.timepoint import MRSequence, Timepoint


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyJob:
    monkeypatch.setenv("DICOM_NODE_NODE__DATA_DIR", str(tmp_path / "data"))
    datasets = series(grid(), SIEMENS_MPRAGE, StudyInstanceUID="1.2.3", ContrastBolusAgent="Gd")
    return revision(tmp_path, "1.2.3:first", save(datasets, tmp_path / "incoming"))


def revision(folder: Path, job_id: str, paths: list[Path]) -> StudyJob:
    work_folder = folder / job_id.replace(":", "_")
    work_folder.mkdir()
    return StudyJob(
        job_id=job_id,
        study_uid="1.2.3",
        instance_paths=tuple(paths),
        work_folder=work_folder,
        configuration_path=None,
    )


def write(job: StudyJob) -> WrittenResults:
    """Write the results of a study with one lesion."""
    study = accept_study(job)
    return write_results(job, study, compared(job, study))


def compared(job: StudyJob, study: AcceptedStudy) -> ComparedStudy:
    read = read_volume(study.t1c)
    lesions = with_balls(read.volume, [((10, 32, 32), 9.0)])
    now = Timepoint(
        study_uid="1.2.3",
        study_date=study.study.study_date,
        images={MRSequence.T1C: read.volume},
        lesions=lesions,
    )
    measured = measure_lesions(lesions)
    stored = save_volume(job.work_folder / "lesions.npz", lesions)
    current = SegmentedStudy(
        study_uid="1.2.3",
        study_date=study.study.study_date,
        physics=study.physics,
        t1c_paths=tuple(read.paths),
        t1c=stored,
        brain=stored,
        lesions=stored,
        measured=measured,
    )
    return ComparedStudy(
        current=current,
        comparison=compare(now, measured),
        empty_sites={},
        details={},
        course=Course(sentences=(), recorded=()),
        days_since_baseline=0,
    )


def predecessors(report: Dataset) -> list[str]:
    return [
        str(instance.ReferencedSOPInstanceUID)
        for study in report.get("PredecessorDocumentsSequence", [])
        for in_series in study.ReferencedSeriesSequence
        for instance in in_series.ReferencedSOPSequence
    ]


def test_a_later_revision_names_the_report_that_it_replaces(job: StudyJob, tmp_path: Path) -> None:
    first = write(job)
    assert predecessors(dcmread(first.paths["SR"])) == []
    deliver_results(job, first)
    late = series(grid(), SIEMENS_MPRAGE, StudyInstanceUID="1.2.3", SeriesNumber=9, ContrastBolusAgent="Gd")
    second = write(revision(tmp_path, "1.2.3:late", [*job.instance_paths, *save(late, tmp_path / "incoming")]))
    assert predecessors(dcmread(second.paths["SR"])) == [first.uids["SR"]]


def test_a_step_that_is_repeated_after_delivery_writes_the_same_bytes(job: StudyJob) -> None:
    first = write(job)
    before = {kind: path.read_bytes() for kind, path in first.paths.items()}
    deliver_results(job, first)
    again = write(job)
    assert {kind: path.read_bytes() for kind, path in again.paths.items()} == before
    archive = open_configured_archive(load_configuration(None))
    assert archive.held_instances(first.uids.values()) == frozenset(first.uids.values())
