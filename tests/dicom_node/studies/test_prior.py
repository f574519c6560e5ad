"""The prior in a real embedded archive: the latest usable earlier study of the patient, and our results of it."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage, generate_uid

from dicom_node.errors import IncompleteFetchError
from dicom_node.network.archive.folder import FolderArchive
from dicom_node.results.codes import MANUFACTURER
from dicom_node.studies.prior import PriorChoice, find_prior
from dicom_node.studies.reading import read_study
from dicom_node.studies.study import Study
from tests.dicom_node.studies.scanners import CT_IMAGE_STORAGE, GE_BRAVO, T2_TSE, grid, save, series

AGENT = {"ContrastBolusAgent": "Gadovist"}


class Records:
    """A patient's studies, put into an archive one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archive = FolderArchive(folder / "archive")

    def add(self, day: str, scanner: dict[str, Any] = GE_BRAVO, **attributes: Any) -> str:
        """Store one study of one series; return its UID."""
        uid = generate_uid()
        given = {"StudyInstanceUID": uid, "StudyDate": day} | AGENT | attributes
        self._store(series(grid(), scanner, **given))
        return uid

    def add_result(self, study_uid: str, modality: str, time: str, **attributes: Any) -> str:
        """Store a file that is a result by its header; return its SOP Instance UID."""
        dataset = series(grid((1, 8, 8)), {}, StudyInstanceUID=study_uid, StudyDate="20230101", Modality=modality)[0]
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SegmentationStorage
        dataset.ContentDate, dataset.ContentTime = "20230101", time
        for keyword, value in ({"Manufacturer": MANUFACTURER} | attributes).items():
            setattr(dataset, keyword, value)
        self._store([dataset])
        return str(dataset.SOPInstanceUID)

    def current(self, **attributes: Any) -> Study:
        given = {"StudyInstanceUID": generate_uid()} | AGENT | attributes
        return read_study(save(series(grid(), GE_BRAVO, **given), self.folder / "current"))[0]

    def find(self, study: Study) -> PriorChoice:
        return find_prior(self.archive, study, self.folder / "prior")

    def _store(self, datasets: list[Dataset]) -> None:
        self.archive.store(save(datasets, self.folder / "incoming"))


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path)


def test_the_latest_earlier_study_is_taken(records: Records) -> None:
    records.add("20210101")
    latest = records.add("20230612")
    records.add("20250101")
    found = records.find(records.current())
    assert found.prior is not None
    assert found.prior.study.study_uid == latest
    assert found.prior.study.study_date == date(2023, 6, 12)
    assert len(found.prior.t1c.instance_paths) == 20
    assert found.prior.physics.slice_count == 20
    assert found.reasons == ()


def test_two_studies_of_one_day_are_told_apart_by_their_times(records: Records) -> None:
    morning = records.add("20240305", StudyTime="080000")
    records.add("20240305", StudyTime="170000")
    found = records.find(records.current(StudyTime="120000"))
    assert found.prior is not None
    assert found.prior.study.study_uid == morning


def test_the_study_itself_is_no_prior(records: Records) -> None:
    uid = records.add("20200101")
    found = records.find(records.current(StudyInstanceUID=uid))
    assert found.prior is None
    assert found.reasons == ("The archive holds no earlier study of the patient.",)


def test_studies_of_other_patients_are_no_prior(records: Records) -> None:
    records.add("20230101", PatientID="P-2")
    records.add("20230102", IssuerOfPatientID="OTHER CLINIC")
    assert records.find(records.current(IssuerOfPatientID="CLINIC")).prior is None


def test_every_study_that_is_passed_over_has_its_reason(records: Records) -> None:
    usable = records.add("20210101")
    records.add("20220202", T2_TSE)
    records.add("20230303", {"Modality": "CT", "SOPClassUID": CT_IMAGE_STORAGE})
    found = records.find(records.current())
    assert found.prior is not None
    assert found.prior.study.study_uid == usable
    assert len(found.reasons) == 2
    assert "2023-03-03 was not used as prior: it holds no MR images (CT)" in found.reasons[0]
    assert "2022-02-02 was not used as prior: No series can serve as T1c" in found.reasons[1]


def test_studies_without_a_date_are_told(records: Records) -> None:
    records.add("", StudyDate=None)
    found = records.find(records.current())
    assert found.prior is None
    assert found.reasons == ("1 other studies of the patient have no date and could not be used as prior.",)


def test_without_a_patient_id_nothing_is_looked_for(records: Records) -> None:
    records.add("20230101", PatientID="")
    found = records.find(records.current(PatientID=""))
    assert found.prior is None
    assert "no patient ID" in found.reasons[0]


def evidence(segmentation_uid: str) -> list[Dataset]:
    """Current Requested Procedure Evidence Sequence with one SEG."""
    instance, in_series, in_study = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = SegmentationStorage, segmentation_uid
    in_series.ReferencedSOPSequence, in_study.ReferencedSeriesSequence = [instance], [in_series]
    return [in_study]


def test_our_own_latest_report_comes_along_with_the_segmentation_that_it_describes(records: Records) -> None:
    uid = records.add("20230101")
    described = records.add_result(uid, "SEG", "080000")
    records.add_result(uid, "SEG", "090000")
    report = records.add_result(uid, "SR", "090000", CurrentRequestedProcedureEvidenceSequence=evidence(described))
    records.add_result(uid, "SR", "100000", Manufacturer="Somebody else")
    found = records.find(records.current())
    assert found.segmentation_path is not None
    assert found.segmentation_path.stem == described
    assert found.report_path is not None
    assert found.report_path.stem == report


def test_a_later_report_without_lesions_does_not_bring_an_older_segmentation(records: Records) -> None:
    uid = records.add("20230101")
    older = records.add_result(uid, "SEG", "080000")
    records.add_result(uid, "SR", "080000", CurrentRequestedProcedureEvidenceSequence=evidence(older))
    report = records.add_result(uid, "SR", "090000")
    found = records.find(records.current())
    assert found.report_path is not None
    assert found.report_path.stem == report
    assert found.segmentation_path is None


def test_a_segmentation_without_any_report_comes_along(records: Records) -> None:
    uid = records.add("20230101")
    records.add_result(uid, "SEG", "080000")
    latest = records.add_result(uid, "SEG", "090000")
    found = records.find(records.current())
    assert found.segmentation_path is not None
    assert found.segmentation_path.stem == latest


def test_an_archive_that_lost_a_file_is_asked_again_later(records: Records, tmp_path: Path) -> None:
    uid = records.add("20230101")
    next((tmp_path / "archive" / uid).rglob("*.dcm")).unlink()
    with pytest.raises(IncompleteFetchError):
        records.find(records.current())


def test_the_choice_survives_json(records: Records) -> None:
    records.add("20230101")
    found = records.find(records.current())
    adapter = TypeAdapter(PriorChoice)
    assert adapter.validate_json(adapter.dump_json(found)) == found
    assert "P-1" not in repr(found)
