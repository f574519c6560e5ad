"""Files that survive a power cut: a name appears only when all bytes behind it are safe on disk."""

import os
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4


def write_aside(parts: Iterable[bytes], scratch_folder: Path) -> Path:
    """Write `parts` to a new file in `scratch_folder` and flush it to the disk.

    The caller renames it to its final name on the same file system, then calls `sync_folder` on that folder.

    Raises
    ------
    OSError
        The disk is full or broken; nothing stays behind.
    """
    path = scratch_folder / uuid4().hex
    try:
        with path.open("xb") as stream:
            stream.writelines(parts)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return path


def write_durably(path: Path, parts: Iterable[bytes], scratch_folder: Path) -> None:
    """Write `parts` to `path`, replacing what was there; on any failure the old state stays.

    Parameters
    ----------
    path
        Its folder is made when it is missing.
    parts
        The content, in pieces.
    scratch_folder
        An existing folder on the same file system as `path`.
    """
    aside = write_aside(parts, scratch_folder)
    try:
        make_folder_durably(path.parent)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def make_folder_durably(folder: Path) -> None:
    """Make `folder` and its missing parents so that they are there after a power cut too."""
    if folder.is_dir():
        return
    make_folder_durably(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` safe on disk (fsync of the directory)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(scratch_folder: Path) -> int:
    """Make `scratch_folder`, or empty it of what an interrupted process left; return how many files went."""
    scratch_folder.mkdir(parents=True, exist_ok=True)
    leftovers = [path for path in scratch_folder.iterdir() if path.is_file()]
    for path in leftovers:
        path.unlink()
    return len(leftovers)
