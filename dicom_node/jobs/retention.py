"""Removal of what is not needed any more: files of studies whose results were delivered long ago.

Design rule: nothing is removed that has not been dealt with, not even when it arrives in the same moment.
"""

import logging
import shutil
from pathlib import Path

_log = logging.getLogger(__name__)


def remove_study(folder: Path, *, seen_mtime_ns: int | None) -> bool:
    """Remove a study's incoming folder if it still is as it was when its job was made.

    Parameters
    ----------
    folder
        ``incoming/<study UID>``.
    seen_mtime_ns
        Its modification time then; None when it was never dealt with.

    Returns
    -------
    bool
        False when something has come since, which then stays.
    """
    if not folder.exists():
        return True
    aside = folder.with_name(f".removed-{folder.name}")  # Out of the listener's way, which then makes a new folder.
    folder.rename(aside)
    if aside.stat().st_mtime_ns != seen_mtime_ns:
        aside.rename(folder)
        return False
    shutil.rmtree(aside)
    _log.info("removed the files of study %s: their retention time is over", folder.name)
    return True


def finish_removals(incoming_folder: Path) -> None:
    """Remove what an interrupted process had put aside."""
    for aside in incoming_folder.glob(".removed-*"):
        shutil.rmtree(aside)
