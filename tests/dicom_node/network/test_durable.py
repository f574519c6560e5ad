"""That names appear only when what is behind them is safe: the order of flushing, and what failures leave."""

import errno
import os
from pathlib import Path

import pytest

from dicom_node.network.durable import sweep, write_durably


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    sweep(folder)
    return folder


def test_file_then_new_folders_then_name_are_flushed(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[Path] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write_durably(tmp_path / "a" / "b" / "file", (b"one", b"two"), scratch)
    assert flushed[0].parent == scratch
    assert flushed[1:] == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"onetwo"


@pytest.mark.parametrize("failing_call", [1, 2])
def test_a_failure_leaves_the_old_content_and_no_litter(
    failing_call: int, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "folder" / "file"
    write_durably(target, (b"old",), scratch)
    calls: list[int] = []

    def fail(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == failing_call:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        write_durably(target, (b"new",), scratch)
    assert target.read_bytes() in ((b"old",) if failing_call == 1 else (b"new",))
    assert list(scratch.iterdir()) == []


def test_a_name_that_cannot_be_given_leaves_no_litter(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "taken" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="taken"):
        write_durably(tmp_path / "taken", (b"new",), scratch)
    assert list(scratch.iterdir()) == []


def test_sweeping_makes_or_empties_the_folder(tmp_path: Path) -> None:
    assert sweep(tmp_path / "new") == 0
    (tmp_path / "new" / "leftover").write_bytes(b"half")
    assert sweep(tmp_path / "new") == 1
    assert list((tmp_path / "new").iterdir()) == []
