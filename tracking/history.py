"""Which lesion stands for which through a patient's visits: sizes stay comparable when lesions merge or part."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from tracking.visit import Presence, Sighting, Visit, in_order

Measure = Callable[[Sighting], float]
Groups = Mapping[str, tuple[str, ...]]  # by tracking UID of a lesion, those of the earlier lesions that are in it


def diameter_mm(sighting: Sighting) -> float:
    """Return the longest diameter of a lesion."""
    return sighting.longest_diameter_mm


def volume_mm3(sighting: Sighting) -> float:
    """Return the volume of a lesion."""
    return sighting.volume_mm3


@dataclass(frozen=True, kw_only=True)
class History:
    """All visits of one patient; a visit is named by its place, from 0. Made by `history_of`.

    Attributes
    ----------
    visits
        In order of date.
    merges
        For each visit, by tracking UID of a merged lesion, that of the lesion it is part of.
    """

    visits: tuple[Visit, ...]
    merges: tuple[Mapping[str, str], ...]

    def host(self, number: int, uid: str) -> str:
        """Return what stands for an identity at a visit: itself, or what it has merged into."""
        merges, seen = self.merges[number], {uid}
        while uid in merges and merges[uid] not in seen:
            uid = merges[uid]
            seen.add(uid)
        return uid

    def groups(self, number: int, uids: Iterable[str]) -> Groups:
        """Return these identities as they hang together at a visit."""
        joined: dict[str, list[str]] = {}
        for uid in uids:
            joined.setdefault(self.host(number, uid), []).append(uid)
        return {host: tuple(members) for host, members in joined.items()}

    def size(self, number: int, uids: Iterable[str], measure: Measure) -> float | None:
        """Return the size of these identities together at a visit, each host once; None if one is not shown."""
        seen = [self.visits[number].of(host) for host in sorted({self.host(number, uid) for uid in uids})]
        if any(one is not None and one.presence == Presence.NOT_SHOWN for one in seen):
            return None
        return float(sum(measure(one) for one in seen if one is not None))

    def first_seen(self) -> dict[str, int]:
        """Return the first visit at which each identity is present."""
        numbers: dict[str, int] = {}
        for number, visit in enumerate(self.visits):
            for lesion in visit.present:
                numbers.setdefault(lesion.tracking_uid, number)
        return numbers

    def onset_known(self, number: int, uid: str) -> bool:
        """Tell whether an identity seen by this visit is surely no older than its first sighting."""
        first = self.first_seen().get(uid, number)
        sightings = [visit.of(uid) for visit in self.visits[: min(first, number) + 1]]
        return all(one.onset_known and one.presence != Presence.NOT_SHOWN for one in sightings if one is not None)

    def first_seen_days(self) -> dict[str, date]:
        """Return the day on which each identity is first present."""
        return {uid: self.visits[number].day for uid, number in self.first_seen().items()}


def history_of(visits: Sequence[Visit]) -> History:
    """Put the visits in order and follow the merges.

    Raises
    ------
    ValueError
        If two visits have the same date.
    """
    ordered = in_order(visits)
    return History(visits=ordered, merges=tuple(_merges_until_each(ordered)))


def _merges_until_each(visits: Sequence[Visit]) -> Iterator[Mapping[str, str]]:
    """Yield for each visit all merges up to it: later visits do not list a merged lesion, unless it parts again."""
    merges: dict[str, str] = {}
    for visit in visits:
        parted = {one.tracking_uid for one in visit.present}
        merges = {uid: host for uid, host in merges.items() if uid not in parted} | {
            one.tracking_uid: one.merged_into for one in visit.sightings if one.merged_into is not None
        }
        yield merges
