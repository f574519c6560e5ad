"""What people must be told although no job stands for it: refused senders, a full disk, a process that does not start.

Design rule: telling works on a full disk, too. Each writing process has a file of its own, whose room is taken when
the process starts; a notice is written in place and in one piece, and never makes the file grow. (A file system that
copies on write may still want room; then the log has the notice alone.)
"""

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

Kind = Literal["association", "instance", "process"]

SLOTS = 64
_SLOT_BYTES = 1024
_LONGEST_SOURCE = 120
_KEPT_S = 30 * 86400.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that happened, once or more often; all times are seconds since 1970, UTC.

    Attributes
    ----------
    kind
        An association or an instance was refused, or a process of the node ended.
    source
        Who sent (AE title and address), or which process ended.
    reason
        Why, and what to do. Neither it nor ``source`` tells anything of a patient.
    """

    kind: Kind
    source: str
    reason: str
    count: int
    first_at_s: float
    last_at_s: float


class NoticeBoard:
    """One process's notices; its methods may be called from many threads, and never fail.

    Of more than `SLOTS` different notices the one that was repeated last the longest time ago gives way.

    Parameters
    ----------
    path
        The file; what an earlier process wrote there is taken over.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._notices = _read(path)[:SLOTS]
        with contextlib.suppress(OSError):  # What is wrong with the folder is told when there is something to tell.
            path.parent.mkdir(parents=True, exist_ok=True)
        self._save(range(SLOTS))

    def tell(self, kind: Kind, source: str, reason: str) -> None:
        """Note that this happened now, once more if it did before."""
        now_s = time.time()
        new = Notice(
            kind=kind, source=source[:_LONGEST_SOURCE], reason=reason, count=1, first_at_s=now_s, last_at_s=now_s
        )
        new = _shortened(new)
        with self._lock:
            self._save([self._place(new)])

    def withdraw(self, kind: Kind, source: str) -> None:
        """Forget what was told of this source, since it is over."""
        with self._lock:
            kept = [notice for notice in self._notices if (notice.kind, notice.source) != (kind, source)]
            if len(kept) < len(self._notices):
                self._notices = kept
                self._save(range(SLOTS))

    def _place(self, new: Notice) -> int:
        for index, known in enumerate(self._notices):
            if (known.kind, known.source, known.reason) == (new.kind, new.source, new.reason):
                self._notices[index] = replace(known, count=known.count + 1, last_at_s=new.last_at_s)
                return index
        if len(self._notices) < SLOTS:
            self._notices.append(new)
            return len(self._notices) - 1
        oldest = min(range(SLOTS), key=lambda index: self._notices[index].last_at_s)
        self._notices[oldest] = new
        return oldest

    def _save(self, indices: Iterable[int]) -> None:
        try:
            with self._path.open("r+b" if self._path.exists() else "x+b", buffering=0) as file:
                if os.fstat(file.fileno()).st_size < SLOTS * _SLOT_BYTES:
                    indices = range(SLOTS)  # The room is not taken yet: what is empty is written, too.
                for index in indices:
                    line = _line(self._notices[index]) if index < len(self._notices) else b""
                    os.pwrite(file.fileno(), line.ljust(_SLOT_BYTES - 1) + b"\n", index * _SLOT_BYTES)
        except OSError as error:
            _log.warning("%s cannot be written (%s): `dicom-node jobs` misses a notice.", self._path, error.strerror)


def read_notices(folder: Path) -> list[Notice]:
    """Read all processes' notices of the last thirty days, the latest last; from any process."""
    since_s = time.time() - _KEPT_S
    notices = [notice for path in sorted(folder.glob("*")) for notice in _read(path)]
    return sorted((one for one in notices if one.last_at_s > since_s), key=lambda notice: notice.last_at_s)


def _read(path: Path) -> list[Notice]:
    try:
        content = path.read_bytes()
    except OSError:
        return []  # There is none yet.
    slots = (content[start : start + _SLOT_BYTES] for start in range(0, len(content), _SLOT_BYTES))
    return [notice for notice in map(_parsed, slots) if notice is not None]


def _parsed(slot: bytes) -> Notice | None:
    """Return the slot's notice; None for an empty slot and for one that a power cut left half-written."""
    try:
        return Notice(**json.loads(slot.strip(b"\0 \n")))
    except (ValueError, TypeError):
        return None


def _shortened(notice: Notice) -> Notice:
    """Cut a reason that does not fit into a slot, with room left for the count to grow."""
    while len(_line(notice)) > _SLOT_BYTES - 20:
        notice = replace(notice, reason=notice.reason[:-20].rstrip("…") + "…")
    return notice


def _line(notice: Notice) -> bytes:
    return json.dumps(asdict(notice)).encode("ascii")
