"""Some disk kept back, so that a full disk can still be told: the table of jobs and the engine have to write, too."""

import os
import shutil
from pathlib import Path

RESERVE_BYTES = 32 * 2**20


class DiskReserve:
    """A file that takes up room until the room is needed.

    Parameters
    ----------
    path
        On the disk of the databases; its folder exists.
    size_bytes
        How much to keep back.
    """

    def __init__(self, path: Path, size_bytes: int = RESERVE_BYTES) -> None:
        self._path = path
        self._size_bytes = size_bytes

    def hold(self) -> None:
        """Take the room, unless it is taken or the disk is nearly full."""
        if self._path.exists() or shutil.disk_usage(self._path.parent).free < 4 * self._size_bytes:
            return
        with self._path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self._size_bytes)

    def release(self) -> None:
        """Give the room back; it is taken again once the disk has some."""
        self._path.unlink(missing_ok=True)
