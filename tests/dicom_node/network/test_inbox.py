"""The incoming folder without a network: durability, hostile names, concurrency."""

import errno
import os
import threading
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from dicom_node.network.inbox import (
    CANNOT_UNDERSTAND,
    OUT_OF_RESOURCES,
    SUCCESS,
    Inbox,
    ReceivedInstance,
    list_quarantined,
)
from tests.dicom_node.network.instances import data_set_bytes, encoded, mr_instance


def received(instance: Dataset, *, ae_title: str = "MRSCANNER") -> ReceivedInstance:
    return ReceivedInstance(
        data=encoded(instance),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        sop_class_uid=str(instance.SOPClassUID),
        sop_instance_uid=str(instance.SOPInstanceUID),
        calling_ae_title=ae_title,
    )


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "incoming", tmp_path / "quarantine")


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_success_is_not_answered_when_the_disk_does_not_confirm(
    inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken_disk(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken_disk)
    assert inbox.keep(received(mr_instance("1.2", "1.3", 1))) == OUT_OF_RESOURCES
    assert everything_below(tmp_path) == set()
    assert os.strerror(errno.EIO) in caplog.text


def test_file_and_folders_are_flushed_before_success(
    inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[Path] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    assert inbox.keep(received(mr_instance("1.2", "1.3", 1))) == SUCCESS
    assert flushed[0].parent == tmp_path / "incoming" / ".partial"
    assert flushed[1:] == [tmp_path / "incoming", tmp_path / "incoming" / "1.2"]


def test_the_same_instance_from_another_sender_changes_nothing(inbox: Inbox, tmp_path: Path) -> None:
    instance = mr_instance("1.2", "1.3", 1)
    assert inbox.keep(received(instance, ae_title="FIRST")) == SUCCESS
    assert inbox.keep(received(instance, ae_title="SECOND")) == SUCCESS
    (path,) = (tmp_path / "incoming" / "1.2").iterdir()
    assert pydicom.dcmread(path).file_meta.SourceApplicationEntityTitle == "FIRST"
    assert everything_below(tmp_path / "quarantine") == set()
    assert everything_below(tmp_path / "incoming" / ".partial") == set()


def test_senders_that_race_with_different_content_leave_one_whole_file_and_keep_the_others(
    inbox: Inbox, tmp_path: Path
) -> None:
    variants = [received(mr_instance("1.2", "1.3", 1, SeriesDescription=f"variant {n}")) for n in range(8)]
    threads = [threading.Thread(target=inbox.keep, args=(variant,)) for variant in variants]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = [*(tmp_path / "incoming" / "1.2").iterdir(), *(tmp_path / "quarantine" / "superseded").glob("*.dcm")]
    assert sorted(map(data_set_bytes, kept)) == sorted(variant.data for variant in variants)


def test_a_missing_command_uid_keeps_the_bare_data_set(inbox: Inbox, tmp_path: Path) -> None:
    instance = mr_instance("1.2", "1.3", 1)
    hostile = ReceivedInstance(
        data=encoded(instance),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        sop_class_uid=MRImageStorage,
        sop_instance_uid="../../escape",
        calling_ae_title="X" * 16,
    )
    assert inbox.keep(hostile) == 0xA900
    (kept,) = list_quarantined(tmp_path / "quarantine")
    assert (kept.sop_instance_uid, kept.study_uid) == ("", "1.2")
    assert (tmp_path / "quarantine" / kept.file_name).read_bytes() == hostile.data
    assert not (tmp_path / "escape").exists()


def test_the_quarantine_can_be_used_for_what_nothing_foresaw(inbox: Inbox, tmp_path: Path) -> None:
    assert inbox.quarantine(received(mr_instance("1.2", "1.3", 1)), reason="Unforeseen.") == CANNOT_UNDERSTAND
    (kept,) = list_quarantined(tmp_path / "quarantine")
    assert kept.reason == "Unforeseen."


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_comes_is_filed_or_kept_in_quarantine(inbox: Inbox, tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(encoded(mr_instance("1.2", "1.3", 1, side=4)))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    broken = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    instance = ReceivedInstance(
        data=broken,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        sop_class_uid=MRImageStorage,
        sop_instance_uid=str(mr_instance("1.2", "1.3", 1).SOPInstanceUID),
        calling_ae_title="MRSCANNER",
    )
    status = inbox.keep(instance)
    files = [path for path in tmp_path.rglob("*.dcm") if "superseded" not in path.parts]
    assert any(data_set_bytes(path) == broken for path in files)
    assert (status == SUCCESS) == any(
        data_set_bytes(path) == broken for path in files if "incoming" in path.relative_to(tmp_path).parts
    )
    assert all(tmp_path in path.resolve().parents for path in files)
