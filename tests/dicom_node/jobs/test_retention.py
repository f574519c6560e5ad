"""What is removed, what stays, and the room that is kept for a full disk."""

import itertools
import shutil
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import FrameType

import pytest

from dicom_node.jobs import retention
from dicom_node.jobs.reserve import DiskReserve
from dicom_node.jobs.retention import finish_removals, remove_study
from dicom_node.network.inbox import Inbox, ReceivedInstance
from dicom_node.network.incoming_lock import naming_files
from tests.dicom_node.jobs import story
from tests.dicom_node.jobs.running_node import Node
from tests.dicom_node.network.instances import encoded, mr_instance


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


class CrashError(BaseException):
    """The process ends here."""


def run_to_line(number: int, function: Callable[[], object]) -> bool:
    """Run the function, end it before the n-th line of `retention` it comes to; return whether it came so far."""
    left = number

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., object] | None:
        nonlocal left
        if frame.f_code.co_filename != retention.__file__:
            return None
        if event == "line":
            left -= 1
            if left < 0:
                raise CrashError
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    except CrashError:
        return True
    finally:
        sys.settrace(before)
    return False


def test_crash_at_any_line_loses_nothing_that_came_late(tmp_path: Path) -> None:
    for number in itertools.count():
        incoming = tmp_path / str(number)
        incoming.mkdir()
        received = study(incoming)
        seen_mtime_ns = received.stat().st_mtime_ns - 1  # Something came after that.
        crashed = run_to_line(number, partial(remove_study, received, seen_mtime_ns=seen_mtime_ns))
        finish_removals(incoming)
        assert (received / "1.1.1.dcm").read_bytes() == b"1", number
        if not crashed:
            break
    assert number > 3


def test_crash_at_any_line_of_a_removal_leaves_all_files_or_none(tmp_path: Path) -> None:
    outcomes = []
    for number in itertools.count():
        incoming = tmp_path / str(number)
        incoming.mkdir()
        received = study(incoming)
        (received / "1.1.2.dcm").write_bytes(b"2")
        removal = partial(remove_study, received, seen_mtime_ns=received.stat().st_mtime_ns)
        crashed = run_to_line(number, removal)
        finish_removals(incoming)
        outcomes.append(len(list(incoming.rglob("*.dcm"))))
        if not crashed:
            break
    assert set(outcomes) == {0, 2}
    assert outcomes == sorted(outcomes, reverse=True)


def test_what_arrives_during_a_removal_is_kept(tmp_path: Path) -> None:
    """Each instance that the sender was told is stored is there in the end, however the two race."""
    inbox = Inbox(tmp_path / "incoming", tmp_path / "quarantine")
    folder = tmp_path / "incoming" / "1.2"
    stored: list[str] = []
    stop = threading.Event()

    def remove_for_ever() -> None:
        while not stop.is_set():
            remove_study(folder, seen_mtime_ns=mtime_ns(folder) - 1)

    thread = threading.Thread(target=remove_for_ever)
    thread.start()
    for number in range(40):
        instance = mr_instance("1.2", "1.2.1", number, side=2)
        request = ReceivedInstance(
            data=encoded(instance),
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            sop_class_uid=str(instance.SOPClassUID),
            sop_instance_uid=str(instance.SOPInstanceUID),
            calling_ae_title="SCANNER",
        )
        assert inbox.keep(request) == 0
        stored.append(f"{instance.SOPInstanceUID}.dcm")
    stop.set()
    thread.join()
    finish_removals(tmp_path / "incoming")
    assert sorted(path.name for path in folder.iterdir()) == sorted(stored)


def mtime_ns(folder: Path) -> int:
    return folder.stat().st_mtime_ns if folder.exists() else 1


def test_folder_is_not_looked_at_while_the_listener_adds_to_it(tmp_path: Path) -> None:
    received = study(tmp_path)
    mtime = received.stat().st_mtime_ns
    with ThreadPoolExecutor(1) as pool:
        with naming_files(tmp_path):
            removal = pool.submit(remove_study, received, seen_mtime_ns=mtime)
            time.sleep(0.2)
            assert not removal.done()
            (received / "1.1.2.dcm").write_bytes(b"2")
        assert not removal.result()
    assert len(list(received.iterdir())) == 2


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


@pytest.mark.slow
def test_work_of_a_job_in_attention_goes_with_time_and_its_study_stays(node: Node) -> None:
    """Sent again later, the study begins at its first step, since what the earlier steps had written is gone."""
    node.behave("1.1", segment="no-t1c")
    node.receive("1.1", instances=range(2))
    node.start()
    record = node.wait_for_state("1.1", "attention")
    work_folder = node.data_dir / "work" / record.job_id.replace(":", "_")
    (work_folder / "volume.npz").write_bytes(b"1")
    node.kill()
    node.options = {"DICOM_NODE_NODE__RETENTION_DAYS": "1"}
    node.start()
    node.wait_for(lambda: node.log().count("watches") == 2)
    time.sleep(1)
    assert work_folder.exists()
    node.kill()
    node.options = {"DICOM_NODE_NODE__RETENTION_DAYS": "0"}
    node.start()
    node.wait_for(lambda: not work_folder.exists())
    assert len(list((node.data_dir / "incoming" / "1.1").iterdir())) == 2
    node.behave("1.1")
    node.receive("1.1", instances=range(2))
    node.wait_for_state("1.1", "done")
    begun = [step for _, step, event, _ in story.journal(node.data_dir) if event == "begin"]
    assert begun == ["read", "register", "segment", *story.STEPS]
