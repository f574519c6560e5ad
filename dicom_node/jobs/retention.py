"""Removal of what is not needed any more: files of studies whose results were delivered long ago.

Design rule: nothing is removed that has not been dealt with, not even when it arrives in the same moment or the
process is killed in between: whether a folder may go is looked at under the lock that the listener needs to add to it,
and only then does it get the name under which an interrupted removal is finished.
"""

import logging
import shutil
from pathlib import Path

from dicom_node.network.incoming_lock import naming_files

_MAY_GO = ".removed-"
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
    aside = folder.with_name(_MAY_GO + folder.name)
    with naming_files(folder.parent):
        if not folder.exists():
            return True
        if folder.stat().st_mtime_ns != seen_mtime_ns:
            return False
        folder.rename(aside)
    shutil.rmtree(aside)
    _log.info("removed the files of study %s: their retention time is over", folder.name)
    return True


def finish_removals(incoming_folder: Path) -> None:
    """Remove what an interrupted process was about to."""
    for aside in incoming_folder.glob(_MAY_GO + "*"):
        shutil.rmtree(aside)
