"""The one right that listener and worker share: to say which files the incoming folder has.

Design rule: it is held for as long as a name is given or taken away, never while bytes are written; the kernel gives
it back whatever way the process ends.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def naming_files(incoming_folder: Path) -> Iterator[None]:
    """Let nobody else, no thread and no process, name or remove files of the incoming folder while the block runs."""
    path = incoming_folder.with_name(f"{incoming_folder.name}.lock")
    with path.open("a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
