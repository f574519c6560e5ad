"""When a study is complete: after a quiet time, or at once when all instances that the archive states have come.

Design rule: the incoming folder is the only truth of what has arrived; quiet time is measured from the moment at which
this process saw the folder change, so a clock that jumps, here or at a sender, cannot cut a study short.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dicom_node.jobs.arrival import StudyCard, read_card

_CALM_S = 1.0
"""The archive is asked once nothing has come for so long, not for every instance."""


@dataclass(kw_only=True)
class _Arriving:
    """A study that is not complete yet."""

    folder_mtime_ns: int
    changed_at_s: float
    first_stated_count: int | None
    card: StudyCard | None = None
    count_checked: bool = False
    is_count_reached: bool = False


@dataclass(frozen=True, kw_only=True)
class CompleteStudy:
    """A study folder in which nothing is expected to appear any more, as it was when that was decided."""

    folder: Path
    folder_mtime_ns: int


class Assembly:
    """Watches the incoming folder; `poll` is called every half second or so.

    Parameters
    ----------
    incoming_folder
        Holds one folder per study, named by its UID. Names that begin with a dot are the listener's own.
    quiet_time_s
        See the module.
    seen
        Modification times (ns) of the folders that earlier runs have dealt with.
    stated_count
        Asks the archive how many instances a study has in all; None when it cannot tell.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        incoming_folder: Path,
        *,
        quiet_time_s: float,
        seen: Mapping[str, int],
        stated_count: Callable[[str], int | None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._incoming_folder = incoming_folder
        self._quiet_time_s = quiet_time_s
        self._stated_count = stated_count
        self._clock = clock
        self._seen = dict(seen)
        self._arriving: dict[str, _Arriving] = {}

    def poll(self) -> list[CompleteStudy]:
        """Return the studies that are complete; each is returned again until it is handed to `close`."""
        folders = {path.name: path for path in self._incoming_folder.iterdir() if path.name[0] != "." and path.is_dir()}
        for gone in set(self._arriving) - set(folders):
            del self._arriving[gone]
        for name, folder in folders.items():
            self._note_change(name, folder)
        return [
            CompleteStudy(folder=folders[name], folder_mtime_ns=state.folder_mtime_ns)
            for name, state in self._arriving.items()
            if self._is_complete(folders[name], state)
        ]

    def close(self, study: CompleteStudy) -> None:
        """Take note that the study, as it was, is dealt with."""
        self._seen[study.folder.name] = study.folder_mtime_ns
        self._arriving.pop(study.folder.name, None)

    def arriving_cards(self) -> list[StudyCard]:
        """Return what is known of the studies that are still arriving."""
        for name, state in self._arriving.items():
            if state.card is None:
                state.card = read_card(self._incoming_folder / name)
        return [state.card for state in self._arriving.values() if state.card is not None]

    def _note_change(self, name: str, folder: Path) -> None:
        mtime_ns = folder.stat().st_mtime_ns
        if self._seen.get(name) == mtime_ns:
            return
        state = self._arriving.get(name)
        if state is None:
            count = self._stated_count(name)
            self._arriving[name] = _Arriving(
                folder_mtime_ns=mtime_ns, changed_at_s=self._clock(), first_stated_count=count
            )
        elif state.folder_mtime_ns != mtime_ns:
            state.folder_mtime_ns, state.changed_at_s = mtime_ns, self._clock()
            state.count_checked = state.is_count_reached = False

    def _is_complete(self, folder: Path, state: _Arriving) -> bool:
        quiet_s = self._clock() - state.changed_at_s
        if quiet_s >= self._quiet_time_s:
            return True
        if state.is_count_reached or state.count_checked or quiet_s < _CALM_S:
            return state.is_count_reached
        state.count_checked = True
        received = sum(1 for _ in folder.glob("*.dcm"))
        # An archive that is itself still receiving, and forwards as it receives, states a number that grows.
        state.is_count_reached = received == state.first_stated_count == self._stated_count(folder.name)
        return state.is_count_reached
