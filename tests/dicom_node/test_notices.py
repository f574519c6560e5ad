"""Notices: counted, bounded, readable by others, and written on a disk that is full."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node import notices
from dicom_node.notices import SLOTS, NoticeBoard, read_notices


@pytest.fixture
def board(tmp_path: Path) -> NoticeBoard:
    return NoticeBoard(tmp_path / "notices" / "listener")


def told(tmp_path: Path) -> list[tuple[str, str, int]]:
    return [(one.source, one.reason, one.count) for one in read_notices(tmp_path / "notices")]


def test_the_same_again_is_counted_with_first_and_last_time(board: NoticeBoard, tmp_path: Path) -> None:
    board.tell("association", "A", "wrong title")
    board.tell("association", "B", "wrong title")
    board.tell("association", "A", "wrong title")
    assert told(tmp_path) == [("B", "wrong title", 1), ("A", "wrong title", 2)]
    notice = read_notices(tmp_path / "notices")[-1]
    assert notice.first_at_s < notice.last_at_s


def test_another_process_goes_on_where_the_last_one_ended(board: NoticeBoard, tmp_path: Path) -> None:
    board.tell("association", "A", "wrong title")
    NoticeBoard(tmp_path / "notices" / "listener").tell("association", "A", "wrong title")
    NoticeBoard(tmp_path / "notices" / "serve").tell("process", "worker", "ended")
    assert told(tmp_path) == [("A", "wrong title", 2), ("worker", "ended", 1)]


def test_what_is_over_is_withdrawn(board: NoticeBoard, tmp_path: Path) -> None:
    for source in ("listener", "worker"):
        board.tell("process", source, "ended")
    board.withdraw("process", "listener")
    assert told(tmp_path) == [("worker", "ended", 1)]


def test_a_flood_takes_no_more_room_and_the_latest_stay(board: NoticeBoard, tmp_path: Path) -> None:
    size = (tmp_path / "notices" / "listener").stat().st_size
    for number in range(3 * SLOTS):
        board.tell("association", f"sender {number}", "x" * 5000)
    assert (tmp_path / "notices" / "listener").stat().st_size == size
    assert [source for source, _, _ in told(tmp_path)] == [f"sender {n}" for n in range(2 * SLOTS, 3 * SLOTS)]


def test_old_notices_are_not_shown(board: NoticeBoard, tmp_path: Path) -> None:
    board.tell("association", "A", "wrong title")
    old = [replace(one, last_at_s=one.last_at_s - 31 * 86400) for one in read_notices(tmp_path / "notices")]
    line = notices._line(old[0])
    (tmp_path / "notices" / "listener").write_bytes(line)
    assert told(tmp_path) == []


@given(reason=st.text(max_size=3000), source=st.text(max_size=300))
def test_whatever_is_told_fits_and_can_be_read(
    reason: str, source: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("notices") / "listener"
    board = NoticeBoard(path)
    for _ in range(3):
        board.tell("instance", source, reason)
    (notice,) = read_notices(path.parent)
    assert notice.count == 3
    assert reason.startswith(notice.reason.removesuffix("…"))


def test_half_written_notice_hides_no_other(board: NoticeBoard, tmp_path: Path) -> None:
    for number in range(3):
        board.tell("association", f"{number}", "wrong title")
    path = tmp_path / "notices" / "listener"
    content = bytearray(path.read_bytes())
    content[1024 + 20 : 2048] = bytes(1004)
    path.write_bytes(content)
    assert [source for source, _, _ in told(tmp_path)] == ["0", "2"]


def test_folder_that_cannot_be_written_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    NoticeBoard(tmp_path / "file" / "listener").tell("association", "A", "wrong title")
    assert read_notices(tmp_path / "file") == []


def can_mount() -> bool:
    return shutil.which("unshare") is not None and (
        subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not can_mount(), reason="no small disk can be mounted here (unshare -rm)")
@pytest.mark.parametrize("begun", ["before the disk was full", "on the full disk"])
def test_a_full_disk_can_be_told(tmp_path: Path, begun: str) -> None:
    """A notice file that was begun in time takes notices; one that was not takes them once there is room."""
    script = f"""
import os, shutil, sys
from pathlib import Path
from dicom_node.notices import NoticeBoard, read_notices
folder = Path({str(tmp_path)!r})
def fill():
    with (folder / "ballast").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)) == 4096: pass
        except OSError: pass
    assert shutil.disk_usage(folder).free == 0
if {begun!r}.startswith("before"):
    board = NoticeBoard(folder / "notices" / "listener"); fill()
else:
    fill(); board = NoticeBoard(folder / "notices" / "listener")
board.tell("instance", "A", "The disk is full.")
print(len(read_notices(folder / "notices")))
(folder / "ballast").unlink()
board.tell("instance", "B", "The disk is full.")
print(len(read_notices(folder / "notices")))
"""
    mount = f'mount -t tmpfs -o size=1m none {tmp_path} && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", mount, "sh", sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.stdout.split() == (["1", "2"] if begun.startswith("before") else ["0", "2"]), done.stderr
