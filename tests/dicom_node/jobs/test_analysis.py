"""A prior that cannot be analysed costs the comparison and not the report."""

from pathlib import Path

import numpy as np
import pytest

from dicom_node.jobs.analysis import read_or_segment_prior
from dicom_node.jobs.job import StudyJob
from dicom_node.studies.physics import SeriesPhysics
from dicom_node.studies.prior import PriorChoice, PriorStudy
from dicom_node.studies.reading import read_study
from tests.dicom_node.studies.scanners import SIEMENS_MPRAGE, grid, save, series


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyJob:
    monkeypatch.setenv("DICOM_NODE_NODE__DATA_DIR", str(tmp_path / "data"))
    work_folder = tmp_path / "work"
    work_folder.mkdir()
    return StudyJob(
        job_id="1.2:now", study_uid="1.2", instance_paths=(), work_folder=work_folder, configuration_path=None
    )


def prior_of(paths: list[Path], **results: Path) -> PriorChoice:
    study, _ = read_study(paths)
    prior = PriorStudy(study=study, t1c=study.series[0], physics=SeriesPhysics(modality="MR"))
    return PriorChoice(prior=prior, segmentation_path=results.get("seg"), report_path=results.get("report"), reasons=())


def test_a_blank_prior_is_told_and_passed_over(job: StudyJob, tmp_path: Path) -> None:
    volume = grid()
    blank = volume.with_array(np.zeros(volume.spatial_shape, np.uint16))
    paths = save(series(blank, SIEMENS_MPRAGE, StudyDate="20230102"), tmp_path / "prior")
    reading = read_or_segment_prior(job, prior_of(paths))
    assert reading.lesions is None
    assert "The study of 2023-01-02 could not be compared with" in reading.remarks[0]
    assert "blank" in reading.remarks[0]


def test_no_prior_needs_no_words(job: StudyJob) -> None:
    nothing = PriorChoice(prior=None, segmentation_path=None, report_path=None, reasons=("none",))
    reading = read_or_segment_prior(job, nothing)
    assert (reading.lesions, reading.remarks) == (None, ())
