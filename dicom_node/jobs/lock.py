"""One process of a kind per data folder, by a lock that the kernel gives back whatever way the process ends."""

import fcntl
from pathlib import Path
from typing import IO

from dicom_node.errors import ConfigurationError


def lock_folder(data_dir: Path, name: str) -> IO[str]:
    """Hold ``data_dir/<name>.lock`` until the returned file is closed or the process ends.

    Raises
    ------
    ConfigurationError
        Another process holds it, or the folder cannot be written.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / f"{name}.lock").open("a+", encoding="ascii")
    except OSError as error:
        raise ConfigurationError(
            f"node.data_dir = {data_dir} cannot be written ({error.strerror}): choose another folder."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise ConfigurationError(
            f"node.data_dir = {data_dir} is in use by another `{name}` process: stop it, or choose another folder."
        ) from error
    return lock


def is_locked(data_dir: Path, name: str) -> bool:
    """Tell whether a process holds the lock now."""
    path = data_dir / f"{name}.lock"
    if not path.exists():
        return False
    with path.open("r", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
