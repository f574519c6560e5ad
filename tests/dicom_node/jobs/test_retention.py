"""What is removed, what stays, and the room that is kept for a full disk."""

import shutil
from pathlib import Path

import pytest

from dicom_node.jobs.reserve import DiskReserve
from dicom_node.jobs.retention import finish_removals, remove_study
from tests.dicom_node.jobs.running_node import Node


def study(folder: Path) -> Path:
    received = folder / "1.1"
    received.mkdir()
    (received / "1.1.1.dcm").write_bytes(b"1")
    return received


def test_study_as_it_was_is_removed(tmp_path: Path) -> None:
    received = study(tmp_path)
    assert remove_study(received, seen_mtime_ns=received.stat().st_mtime_ns)
    assert list(tmp_path.iterdir()) == []


def test_study_that_something_was_added_to_stays(tmp_path: Path) -> None:
    received = study(tmp_path)
    before = received.stat().st_mtime_ns - 1
    assert not remove_study(received, seen_mtime_ns=before)
    assert not remove_study(received, seen_mtime_ns=None)
    assert (received / "1.1.1.dcm").read_bytes() == b"1"


def test_interrupted_removal_is_finished(tmp_path: Path) -> None:
    study(tmp_path).rename(tmp_path / ".removed-1.1")
    finish_removals(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_reserve_takes_room_and_gives_it_back(tmp_path: Path) -> None:
    reserve = DiskReserve(tmp_path / "reserve", size_bytes=2**20)
    reserve.hold()
    reserve.hold()
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= 2**20
    reserve.release()
    reserve.release()
    assert not (tmp_path / "reserve").exists()


def test_reserve_leaves_a_nearly_full_disk_alone(tmp_path: Path) -> None:
    DiskReserve(tmp_path / "reserve", size_bytes=shutil.disk_usage(tmp_path).free).hold()
    assert not (tmp_path / "reserve").exists()


@pytest.mark.slow
def test_delivered_study_is_removed_and_its_job_stays(node: Node) -> None:
    node.behave("1.2", read="no-t1c")
    node.receive("1.1", instances=range(2), patient="A")
    node.receive("1.2", instances=range(2), patient="B")
    node.start()
    done = node.wait_for_state("1.1", "done")
    node.wait_for_state("1.2", "attention")
    node.kill()
    node.options = {"DICOM_NODE_NODE__RETENTION_DAYS": "0"}
    node.start()
    node.wait_for(lambda: not (node.data_dir / "incoming" / "1.1").exists())
    assert (node.data_dir / "incoming" / "1.2").exists()
    assert not (node.data_dir / "work" / done.job_id.replace(":", "_")).exists()
    assert node.jobs()["1.1"] == done
