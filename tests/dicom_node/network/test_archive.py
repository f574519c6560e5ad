"""One suite for every archive: the folder, and a real Orthanc over REST."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import generate_uid

from dicom_node.errors import (
    ArchiveUnavailableError,
    ConfigurationError,
    DeliveryError,
    IncompleteFetchError,
    StorageFullError,
)
from dicom_node.network.archive import Archive, open_archive
from dicom_node.network.archive.folder import FolderArchive
from dicom_node.network.archive.orthanc import OrthancArchive
from tests.dicom_node.network.instances import data_set_bytes, mr_instance, save, series
from tests.peers import DCMTK_MISSING, ORTHANC_MISSING, OrthancPeer, dcmtk, free_port

ORTHANC = pytest.param("orthanc", marks=[pytest.mark.end_to_end, ORTHANC_MISSING])


@pytest.fixture(params=["folder", ORTHANC])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    """An archive of each kind; other tests may have left other patients in it."""
    if request.param == "folder":
        return open_archive("folder", folder=tmp_path / "archive")
    peer: OrthancPeer = request.getfixturevalue("orthanc")
    return open_archive("orthanc", url=peer.url, user=peer.user, password=peer.password)


@pytest.fixture
def patient_id() -> str:
    """A patient ID that no other test uses."""
    return f"P-{generate_uid()[-24:]}"


def test_a_study_comes_back_as_it_was_stored(archive: Archive, patient_id: str, tmp_path: Path) -> None:
    study = generate_uid()
    images = series(
        tmp_path / "a",
        study,
        5,
        PatientID=patient_id,
        SeriesNumber=2,
        SeriesDescription="t1 mpr gd",
        StudyDate="20240229",
    )
    other = series(tmp_path / "b", study, 3, PatientID=patient_id, SeriesNumber=1, Modality="OT", StudyDate="20240229")
    archive.store([*images, *other])

    (found,) = archive.find_studies(patient_id)
    assert (found.study_uid, found.study_date, found.study_time) == (study, date(2024, 2, 29), "101500")
    assert (found.accession_number, found.instance_count) == ("A1", 8)
    first, second = found.series
    assert (first.modality, first.series_number, first.instance_count) == ("OT", 1, 3)
    assert (second.modality, second.description, second.manufacturer) == ("MR", "t1 mpr gd", "Phantom Works")
    assert second.sop_class_uids == ("1.2.840.10008.5.1.4.1.1.4",)
    assert second.series_uid == pydicom.dcmread(images[0]).SeriesInstanceUID
    assert archive.find_study(study) == found
    assert archive.count_instances(study) == 8

    fetched = archive.fetch_study(study, into=tmp_path / "fetched")
    assert {path.name: data_set_bytes(path) for path in fetched} == {
        path.name: data_set_bytes(path) for path in [*images, *other]
    }
    assert {path.parent.name for path in fetched} == {first.series_uid, second.series_uid}

    one_series = archive.fetch_series(study, first.series_uid, into=tmp_path / "one")
    assert {path.name for path in one_series} == {path.name for path in other}


def test_studies_of_a_patient_come_oldest_first_and_nobody_elses(
    archive: Archive, patient_id: str, tmp_path: Path
) -> None:
    days = ["20230101", "20210505", "", "20220202"]
    for day in days:
        archive.store(series(tmp_path / f"d{day}", generate_uid(), 1, PatientID=patient_id, StudyDate=day))
    archive.store(series(tmp_path / "x", generate_uid(), 1, PatientID=patient_id + "9"))
    archive.store(series(tmp_path / "y", generate_uid(), 1, PatientID=patient_id.lower()))
    studies = archive.find_studies(patient_id)
    assert [study.study_date for study in studies] == [None, date(2021, 5, 5), date(2022, 2, 2), date(2023, 1, 1)]


@pytest.mark.parametrize("hostile", ["*", "P?", "' OR 1=1 --", "ÄÖ%_"])
def test_a_patient_id_is_no_pattern(hostile: str, archive: Archive, patient_id: str, tmp_path: Path) -> None:
    archive.store(series(tmp_path / "someone", generate_uid(), 1, PatientID=patient_id))
    assert archive.find_studies(hostile) == ()
    archive.store(
        series(
            tmp_path / "hostile", generate_uid(), 1, PatientID=patient_id + hostile, SpecificCharacterSet="ISO_IR 192"
        )
    )
    assert len(archive.find_studies(patient_id + hostile)) == 1
    assert len(archive.find_studies(patient_id)) == 1


def test_an_empty_patient_id_has_no_studies(archive: Archive, tmp_path: Path) -> None:
    archive.store(series(tmp_path / "nobody", generate_uid(), 1, PatientID=""))
    assert archive.find_studies("") == ()


def test_the_same_id_from_another_issuer_is_another_patient(archive: Archive, patient_id: str, tmp_path: Path) -> None:
    ours, unknown = generate_uid(), generate_uid()
    archive.store(series(tmp_path / "1", ours, 1, PatientID=patient_id, IssuerOfPatientID="OURS", StudyDate="20200101"))
    archive.store(series(tmp_path / "3", unknown, 1, PatientID=patient_id, StudyDate="20200103"))
    found = archive.find_studies(patient_id, issuer_of_patient_id="OURS")
    assert [study.study_uid for study in found] == [ours, unknown]
    found = archive.find_studies(patient_id, issuer_of_patient_id="THEIRS")
    assert [study.study_uid for study in found] == [unknown]
    assert len(archive.find_studies(patient_id)) == 2


def test_what_the_archive_does_not_have(archive: Archive, tmp_path: Path) -> None:
    assert archive.find_study("1.2.3.999") is None
    assert archive.count_instances("1.2.3.999") == 0
    with pytest.raises(IncompleteFetchError, match=r"1\.2\.3\.999"):
        archive.fetch_study("1.2.3.999", into=tmp_path / "fetched")
    study = generate_uid()
    archive.store(series(tmp_path / "a", study, 1))
    with pytest.raises(IncompleteFetchError, match=r"1\.2\.3\.998"):
        archive.fetch_series(study, "1.2.3.998", into=tmp_path / "fetched")


def test_held_instances_are_those_that_are_there(archive: Archive, tmp_path: Path) -> None:
    study = generate_uid()
    files = series(tmp_path / "a", study, 3)
    archive.store(files[:2])
    wanted = [file.stem for file in files] + [study]
    assert archive.held_instances(wanted) == {files[0].stem, files[1].stem}
    assert archive.held_instances([]) == frozenset()


def test_storing_again_changes_nothing_and_fetching_again_neither(archive: Archive, tmp_path: Path) -> None:
    study = generate_uid()
    files = series(tmp_path / "a", study, 3)
    archive.store(files)
    before = archive.find_study(study)
    archive.store(files)
    assert archive.find_study(study) == before
    first = archive.fetch_study(study, into=tmp_path / "fetched")
    assert sorted(archive.fetch_study(study, into=tmp_path / "fetched")) == sorted(first)


def test_a_late_series_is_counted(archive: Archive, tmp_path: Path) -> None:
    study = generate_uid()
    archive.store(series(tmp_path / "a", study, 2))
    archive.store(series(tmp_path / "b", study, 2))
    assert archive.count_instances(study) == 4
    assert len(archive.fetch_study(study, into=tmp_path / "fetched")) == 4


@pytest.mark.parametrize("damage", ["text", "truncated", "missing"])
def test_what_is_no_whole_instance_is_not_stored(damage: str, archive: Archive, tmp_path: Path) -> None:
    (path,) = series(tmp_path / "a", generate_uid(), 1)
    if damage == "text":
        path.write_text("no DICOM here")
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-50])
    else:
        path.unlink()
    with pytest.raises(DeliveryError, match=path.name):
        archive.store([path])
    assert archive.held_instances([path.stem]) == frozenset()


def test_check_says_what_it_is(archive: Archive) -> None:
    assert "instances." in archive.check()


def test_patient_identity_is_not_in_the_repr(archive: Archive, patient_id: str, tmp_path: Path) -> None:
    archive.store(series(tmp_path / "a", generate_uid(), 1, PatientID=patient_id, AccessionNumber="ACC-77"))
    (study,) = archive.find_studies(patient_id)
    assert patient_id not in repr(study)
    assert "ACC-77" not in repr(study)


# The folder alone


def test_a_lost_index_is_made_anew_from_the_files(tmp_path: Path) -> None:
    archive = FolderArchive(tmp_path / "archive")
    study = generate_uid()
    archive.store(series(tmp_path / "a", study, 3))
    before = archive.find_study(study)
    for path in (tmp_path / "archive").glob("index.sqlite*"):
        path.unlink()
    (tmp_path / "archive" / "1.2" / "1.3").mkdir(parents=True)
    (tmp_path / "archive" / "1.2" / "1.3" / "1.4.dcm").write_text("not DICOM")
    assert FolderArchive(tmp_path / "archive").find_study(study) == before


def test_a_damaged_index_says_what_to_do(tmp_path: Path) -> None:
    archive = FolderArchive(tmp_path / "archive")
    study = generate_uid()
    archive.store(series(tmp_path / "a", study, 3))
    for path in (tmp_path / "archive").glob("index.sqlite-*"):
        path.unlink()
    (tmp_path / "archive" / "index.sqlite").write_bytes(os.urandom(8192))
    with pytest.raises(ConfigurationError, match="Delete it"):
        archive.find_study(study)
    (tmp_path / "archive" / "index.sqlite").unlink()
    assert archive.count_instances(study) == 3


def test_files_that_were_put_there_by_hand_are_listed_after_reindexing(tmp_path: Path) -> None:
    archive, other = FolderArchive(tmp_path / "archive"), FolderArchive(tmp_path / "other")
    study = generate_uid()
    other.store(series(tmp_path / "a", study, 3))
    archive.check()
    (tmp_path / "other" / study).rename(tmp_path / "archive" / study)
    archive.reindex()
    other.reindex()
    assert (archive.count_instances(study), other.count_instances(study)) == (3, 0)


def test_a_file_that_is_gone_is_not_held_and_makes_the_fetch_incomplete(tmp_path: Path) -> None:
    archive = FolderArchive(tmp_path / "archive")
    study = generate_uid()
    files = series(tmp_path / "a", study, 3)
    archive.store(files)
    next((tmp_path / "archive").rglob(files[1].name)).unlink()
    assert archive.held_instances(file.stem for file in files) == {files[0].stem, files[2].stem}
    with pytest.raises(IncompleteFetchError, match=files[1].stem):
        archive.fetch_study(study, into=tmp_path / "fetched")


def test_other_content_under_the_same_uid_replaces(tmp_path: Path) -> None:
    archive = FolderArchive(tmp_path / "archive")
    study, series_uid = generate_uid(), generate_uid()
    archive.store([save(mr_instance(study, series_uid, 1), tmp_path / "old")])
    new = save(mr_instance(study, series_uid, 1, SeriesDescription="corrected"), tmp_path / "new")
    archive.store([new])
    (path,) = archive.fetch_study(study, into=tmp_path / "fetched")
    assert path.read_bytes() == new.read_bytes()
    found = archive.find_study(study)
    assert found is not None
    assert found.series[0].description == "corrected"


def test_files_are_filed_byte_for_byte_under_their_uids(tmp_path: Path) -> None:
    study = generate_uid()
    (file,) = series(tmp_path / "a", study, 1)
    FolderArchive(tmp_path / "archive").store([file])
    stored = tmp_path / "archive" / study / pydicom.dcmread(file).SeriesInstanceUID / file.name
    assert stored.read_bytes() == file.read_bytes()


def test_a_hostile_uid_never_becomes_a_path(tmp_path: Path) -> None:
    path = save(mr_instance("../../escape", generate_uid(), 1), tmp_path / "a")
    with pytest.raises(DeliveryError, match="Study Instance UID"):
        FolderArchive(tmp_path / "archive").store([path])
    assert not list(tmp_path.rglob("escape"))


def test_processes_share_the_folder(tmp_path: Path) -> None:
    study = generate_uid()
    batches = [series(tmp_path / str(number), study, 6) for number in range(3)]
    script = (
        "import sys; from pathlib import Path; from dicom_node.network.archive.folder import FolderArchive\n"
        "archive = FolderArchive(Path(sys.argv[1]))\n"
        "for path in sorted(Path(sys.argv[2]).iterdir()): archive.store([path])"
    )
    root = tmp_path / "archive"
    processes = [
        subprocess.Popen([sys.executable, "-c", script, root, batch[0].parent], cwd=Path(__file__).parents[3])
        for batch in batches
    ]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    assert FolderArchive(root).count_instances(study) == 18


def test_threads_share_an_archive_whose_index_is_lost(tmp_path: Path) -> None:
    archive = FolderArchive(tmp_path / "archive")
    study = generate_uid()
    archive.store(series(tmp_path / "a", study, 20))
    (tmp_path / "archive" / "index.sqlite").unlink()
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(archive.count_instances(study))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [20] * 6


def test_a_full_disk_leaves_the_archive_as_it_was(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    small, large = series(tmp_path / "s", generate_uid(), 1), series(tmp_path / "l", generate_uid(), 1, side=512)
    FolderArchive(root).store(small)
    script = (
        "import sys; from pathlib import Path; from dicom_node.network.archive.folder import FolderArchive\n"
        "FolderArchive(Path(sys.argv[1])).store([Path(sys.argv[2])])"
    )
    done = subprocess.run(
        ["prlimit", "--fsize=262144", sys.executable, "-c", script, root, large[0]],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert StorageFullError.__name__ in done.stderr
    assert list((root / ".partial").iterdir()) == []
    assert FolderArchive(root).held_instances([small[0].stem, large[0].stem]) == {small[0].stem}


def test_the_index_is_plain_sqlite_in_wal_mode(tmp_path: Path) -> None:
    archive = FolderArchive(tmp_path / "archive")
    archive.store(series(tmp_path / "a", generate_uid(), 2))
    connection = sqlite3.connect(tmp_path / "archive" / "index.sqlite")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("SELECT COUNT(*) FROM instances").fetchone() == (2,)
    connection.close()


# Orthanc alone


def test_an_orthanc_that_does_not_answer_is_named() -> None:
    port = free_port()
    with pytest.raises(ArchiveUnavailableError, match=f"http://127.0.0.1:{port} does not answer"):
        open_archive("orthanc", url=f"http://127.0.0.1:{port}").check()


@pytest.mark.end_to_end
@ORTHANC_MISSING
def test_a_wrong_password_is_named_and_not_repeated(orthanc: OrthancPeer) -> None:
    with pytest.raises(ConfigurationError, match="refuses the user"):
        open_archive("orthanc", url=orthanc.url, user="node", password="wrong").find_study("1.2.3")


@pytest.mark.end_to_end
@ORTHANC_MISSING
@DCMTK_MISSING
def test_what_came_into_orthanc_by_c_store_is_fetched_bit_for_bit(
    orthanc: OrthancPeer, patient_id: str, tmp_path: Path
) -> None:
    study = generate_uid()
    files = series(tmp_path / "a", study, 20, PatientID=patient_id)
    address = ["127.0.0.1", str(orthanc.dicom_port)]
    status, said = dcmtk("storescu", "-aec", "ORTHANC", "+sd", *address, tmp_path / "a")
    assert status == 0, said
    archive = open_archive("orthanc", url=orthanc.url, user=orthanc.user, password=orthanc.password)
    fetched = archive.fetch_study(study, into=tmp_path / "fetched")
    assert {p.name: data_set_bytes(p) for p in fetched} == {p.name: data_set_bytes(p) for p in files}


@pytest.mark.end_to_end
@ORTHANC_MISSING
def test_an_instance_that_vanishes_from_orthanc_while_fetching_makes_the_fetch_incomplete(
    orthanc: OrthancPeer, tmp_path: Path
) -> None:
    class Emptied(OrthancArchive):
        """Somebody deletes each instance between its listing and its fetching."""

        def _fetch_instance(self, entry: dict[str, Any], into: Path) -> Iterator[Path]:
            orthanc.delete(f"/instances/{entry['ID']}")
            return super()._fetch_instance(entry, into)

    archive = Emptied(orthanc.url, user=orthanc.user, password=orthanc.password)
    study = generate_uid()
    archive.store(series(tmp_path / "a", study, 3))
    with pytest.raises(IncompleteFetchError, match="lists 3 instances"):
        archive.fetch_study(study, into=tmp_path / "fetched")
    assert not list(tmp_path.rglob("fetched/*/*.dcm"))


@pytest.mark.parametrize(
    ("kind", "settings"), [("folder", {}), ("orthanc", {}), ("dicomweb", {"url": "http://127.0.0.1"})]
)
def test_what_the_kind_needs_is_named(kind: str, settings: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=kind):
        open_archive(kind, **settings)  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match="file/archive"):
        open_archive("folder", folder=tmp_path / "file" / "archive")


def _type_check(folder: FolderArchive) -> Iterator[Archive]:
    """Mypy sees that the folder fulfils the Protocol."""
    yield folder
