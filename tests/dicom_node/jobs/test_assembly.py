"""When a study is complete, told by a clock of the test's own and real files."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.jobs.arrival import read_arrival
from dicom_node.jobs.assembly import Assembly
from dicom_node.results.codes import MANUFACTURER
from tests.dicom_node.jobs.running_node import mr_instance


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Inbox:
    """An incoming folder with an assembly of 30 s quiet time on it."""

    def __init__(self, folder: Path, stated_count: Callable[[str], int | None] = lambda _: None) -> None:
        self.folder = folder
        self.clock = Clock()
        self.assembly = Assembly(folder, quiet_time_s=30, seen={}, stated_count=stated_count, clock=self.clock)

    def receive(self, study_uid: str, number: int, **attributes: str) -> None:
        study = self.folder / study_uid
        study.mkdir(exist_ok=True)
        instance = mr_instance(study_uid, number, **attributes)
        instance.save_as(study / f"{instance.SOPInstanceUID}.dcm", enforce_file_format=True)

    def complete_after(self, seconds: float) -> list[str]:
        self.clock.now_s += seconds
        complete = self.assembly.poll()
        for study in complete:
            self.assembly.close(study)
        return [study.folder.name for study in complete]


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path)


def test_study_is_complete_after_the_quiet_time(inbox: Inbox) -> None:
    inbox.receive("1.1", 1)
    assert inbox.complete_after(0) == []
    assert inbox.complete_after(29.9) == []
    assert inbox.complete_after(0.1) == ["1.1"]
    assert inbox.complete_after(60) == []


def test_study_that_could_not_be_dealt_with_is_told_again(inbox: Inbox) -> None:
    inbox.receive("1.1", 1)
    inbox.complete_after(0)
    inbox.clock.now_s += 30
    assert [study.folder.name for study in inbox.assembly.poll()] == ["1.1"]
    assert inbox.complete_after(5) == ["1.1"]
    assert inbox.complete_after(5) == []


def test_each_instance_starts_the_quiet_time_anew(inbox: Inbox) -> None:
    inbox.receive("1.1", 1)
    inbox.complete_after(0)
    inbox.clock.now_s += 29
    inbox.receive("1.1", 2)
    assert inbox.complete_after(0) == []
    assert inbox.complete_after(29) == []
    assert inbox.complete_after(1) == ["1.1"]


def test_studies_are_told_apart(inbox: Inbox) -> None:
    inbox.receive("1.1", 1)
    inbox.complete_after(0)
    inbox.receive("1.2", 1)
    assert inbox.complete_after(20) == []
    assert inbox.complete_after(10) == ["1.1"]
    assert inbox.complete_after(20) == ["1.2"]


def test_late_instance_makes_the_study_complete_again(inbox: Inbox) -> None:
    inbox.receive("1.1", 1)
    inbox.complete_after(0)
    assert inbox.complete_after(30) == ["1.1"]
    inbox.receive("1.1", 2)
    assert inbox.complete_after(0) == []
    assert inbox.complete_after(30) == ["1.1"]


def test_listeners_own_folders_are_no_studies(inbox: Inbox) -> None:
    (inbox.folder / ".partial").mkdir()
    (inbox.folder / "file").touch()
    inbox.complete_after(0)
    assert inbox.complete_after(100) == []


def test_folder_dealt_with_by_an_earlier_run_is_left_alone(inbox: Inbox) -> None:
    inbox.receive("1.1", 1)
    seen = {"1.1": (inbox.folder / "1.1").stat().st_mtime_ns}
    again = Assembly(inbox.folder, quiet_time_s=30, seen=seen, clock=inbox.clock)
    inbox.clock.now_s += 100
    assert again.poll() == []
    inbox.clock.now_s += 100
    assert again.poll() == []


def test_stated_number_of_instances_ends_the_wait(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, stated_count=lambda _: 2)
    inbox.receive("1.1", 1)
    assert inbox.complete_after(0) == []
    assert inbox.complete_after(1) == []
    inbox.receive("1.1", 2)
    assert inbox.complete_after(0.5) == []
    assert inbox.complete_after(1) == ["1.1"]


def test_number_that_grows_with_the_study_is_not_believed(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, stated_count=lambda uid: len(list((tmp_path / uid).iterdir())))
    inbox.receive("1.1", 1)
    inbox.complete_after(0)
    inbox.receive("1.1", 2)
    assert inbox.complete_after(0.5) == []
    assert inbox.complete_after(20) == []
    assert inbox.complete_after(30) == ["1.1"]


def test_card_of_an_arriving_study_is_known_before_it_is_complete(inbox: Inbox) -> None:
    inbox.receive("1.1", 1, date="20230203")
    inbox.complete_after(0)
    (card,) = inbox.assembly.arriving_cards()
    assert card.study_time == "20230203101500"
    assert card.patient_key


def test_job_is_named_by_the_instances_and_not_by_their_order(inbox: Inbox) -> None:
    inbox.receive("1.1", 2)
    inbox.receive("1.1", 1)
    first = read_arrival(inbox.folder / "1.1")
    inbox.receive("1.1", 1)
    assert read_arrival(inbox.folder / "1.1").job_id == first.job_id
    inbox.receive("1.1", 3)
    later = read_arrival(inbox.folder / "1.1")
    assert later.job_id != first.job_id
    assert (first.instance_count, later.instance_count) == (2, 3)


def test_other_content_under_the_same_uid_is_another_job(inbox: Inbox) -> None:
    inbox.receive("1.1", 1, date="20230203")
    first = read_arrival(inbox.folder / "1.1")
    inbox.receive("1.1", 1, date="20240203")
    second = read_arrival(inbox.folder / "1.1")
    assert second.instance_count == first.instance_count == 1
    assert second.job_id != first.job_id


def test_who_sent_an_instance_does_not_count(inbox: Inbox) -> None:
    inbox.receive("1.1", 1)
    first = read_arrival(inbox.folder / "1.1")
    (path,) = (inbox.folder / "1.1").glob("*.dcm")
    instance = dcmread(path)
    instance.file_meta.SourceApplicationEntityTitle = "OTHER_PACS"
    before = path.read_bytes()
    instance.save_as(path)
    assert path.read_bytes() != before
    assert read_arrival(inbox.folder / "1.1").job_id == first.job_id


def test_own_results_do_not_count(inbox: Inbox) -> None:
    inbox.receive("1.1", 1)
    before = read_arrival(inbox.folder / "1.1")
    inbox.receive("1.1", 2, manufacturer=MANUFACTURER)
    after = read_arrival(inbox.folder / "1.1")
    assert (after.job_id, after.instance_count) == (before.job_id, 1)
    inbox.receive("1.2", 1, manufacturer=MANUFACTURER)
    assert read_arrival(inbox.folder / "1.2").instance_count == 0


def test_unreadable_file_counts_and_its_neighbours_tell_the_date(inbox: Inbox) -> None:
    inbox.receive("1.1", 1)
    (inbox.folder / "1.1" / "1.1.1.9.dcm").write_bytes(b"\0" * 128 + b"DICM cut off")
    arrival = read_arrival(inbox.folder / "1.1")
    assert arrival.instance_count == 2
    assert arrival.card.study_time == "20240101101500"
    assert "Doe" not in repr(arrival)
