"""Files become studies and series; nothing disappears without a reason, and no patient is named."""

from datetime import date
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from pydicom.uid import generate_uid

from dicom_node.errors import InvalidStudyError
from dicom_node.studies.reading import read_studies, read_study
from dicom_node.studies.study import Study
from tests.dicom_node.studies.scanners import FLAIR, SIEMENS_MPRAGE, grid, save, series


def test_files_are_grouped_by_study_and_series(tmp_path: Path) -> None:
    first, second = generate_uid(), generate_uid()
    volume = grid((3, 32, 32))
    paths = [
        *save(series(volume, SIEMENS_MPRAGE, StudyInstanceUID=first, SeriesNumber=7), tmp_path / "a"),
        *save(series(volume, FLAIR, StudyInstanceUID=first, SeriesNumber=2), tmp_path / "b"),
        *save(series(volume, FLAIR, StudyInstanceUID=second, StudyDate="20200101"), tmp_path / "c"),
    ]
    studies, unreadable = read_studies(paths)
    assert [study.study_uid for study in studies] == [second, first]
    assert [one.series_number for one in studies[1].series] == [2, 7]
    assert {len(one.instance_paths) for study in studies for one in study.series} == {3}
    assert unreadable == ()


def test_a_study_says_who_and_when(tmp_path: Path) -> None:
    made = series(grid((2, 32, 32)), SIEMENS_MPRAGE, SeriesDescription="T1 nativ", IssuerOfPatientID="HOSPITAL")
    study, _ = read_study(save(made, tmp_path))
    assert (study.study_date, study.study_time) == (date(2024, 3, 5), "101500")
    assert (study.patient_id, study.issuer_of_patient_id) == ("P-1", "HOSPITAL")
    assert study.series[0].description == "T1 nativ"
    assert study.series[0].frame_of_reference_uids == (made[0].FrameOfReferenceUID,)


def test_a_study_hides_its_patient_and_survives_json(tmp_path: Path) -> None:
    made = series(grid((2, 32, 32)), SIEMENS_MPRAGE, PatientID="SECRET-9", IssuerOfPatientID="SECRET-CLINIC")
    study, _ = read_study(save(made, tmp_path))
    assert "SECRET" not in repr(study)
    adapter = TypeAdapter(Study)
    assert adapter.validate_json(adapter.dump_json(study)) == study


def test_the_same_instance_twice_counts_once(tmp_path: Path) -> None:
    made = series(grid((3, 32, 32)), SIEMENS_MPRAGE)
    study, _ = read_study([*save(made, tmp_path / "first"), *save(made, tmp_path / "again")])
    assert len(study.series[0].instance_paths) == 3


def test_without_study_date_the_oldest_other_date_counts(tmp_path: Path) -> None:
    made = series(grid((2, 32, 32)), SIEMENS_MPRAGE, StudyDate=None, SeriesDate="20240307", AcquisitionDate="20240306")
    study, _ = read_study(save(made, tmp_path))
    assert study.study_date == date(2024, 3, 6)


def test_a_study_without_any_date_is_refused_with_the_reason(tmp_path: Path) -> None:
    paths = save(series(grid((2, 32, 32)), SIEMENS_MPRAGE, StudyDate=None), tmp_path)
    studies, unreadable = read_studies(paths)
    assert studies == ()
    assert len(unreadable) == 2
    assert "no date" in unreadable[0].reason
    with pytest.raises(InvalidStudyError, match="no date"):
        read_study(paths)


def test_a_truncated_file_stays_in_its_series_and_is_told(tmp_path: Path) -> None:
    paths = save(series(grid((3, 32, 32)), SIEMENS_MPRAGE), tmp_path)
    paths[1].write_bytes(paths[1].read_bytes()[:-500])
    study, unreadable = read_study(paths)
    assert len(study.series[0].instance_paths) == 3
    assert [file.path for file in unreadable] == [paths[1]]
    assert unreadable[0].series_uid == study.series[0].series_uid
    assert "1548 of 2048 bytes" in unreadable[0].reason


def test_files_that_are_no_dicom_are_told_and_do_not_stop_the_rest(tmp_path: Path) -> None:
    paths = save(series(grid((2, 32, 32)), SIEMENS_MPRAGE), tmp_path)
    notes = tmp_path / "DICOMDIR.txt"
    notes.write_text("hello")
    study, unreadable = read_study([*paths, notes])
    assert len(study.series[0].instance_paths) == 2
    assert [file.path for file in unreadable] == [notes]


@pytest.mark.parametrize("uid", ["../../etc/passwd", "1.2.x", "1" * 65])
def test_an_invalid_uid_is_refused(tmp_path: Path, uid: str) -> None:
    dataset = series(grid((1, 32, 32)), SIEMENS_MPRAGE)[0]
    dataset.SeriesInstanceUID = uid
    path = tmp_path / "one.dcm"
    dataset.save_as(path, enforce_file_format=True)
    _, unreadable = read_studies([path])
    assert "invalid SeriesInstanceUID" in unreadable[0].reason


def test_one_study_is_asked_for_and_two_are_given(tmp_path: Path) -> None:
    volume = grid((1, 32, 32))
    paths = save([*series(volume, FLAIR), *series(volume, FLAIR)], tmp_path)
    with pytest.raises(InvalidStudyError, match="belong to 2 studies"):
        read_study(paths)
