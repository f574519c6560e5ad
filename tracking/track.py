"""What is said of one lesion through time: its identity, its state and its measurements then and now."""

from dataclasses import dataclass
from enum import StrEnum

from tracking.lesion import Lesion, Point


class TrackState(StrEnum):
    """What became of a lesion since the prior study."""

    NEW = "new"
    PERSISTENT = "persistent"
    RESOLVED = "resolved"
    RECURRENT = "recurrent"
    MERGED = "merged"
    SPLIT = "split"
    BASELINE = "baseline"  # there is no prior to compare with, or it does not show this place
    NOT_ASSESSED = "not assessed"  # the current study does not show this place, so nothing can be said


class LinkKind(StrEnum):
    """Why a prior and a current lesion belong together."""

    PAIR = "pair"
    MERGE = "merge"
    SPLIT = "split"


@dataclass(frozen=True, kw_only=True)
class LesionLink:
    """A lesion of the prior study and one of the current study that are the same.

    Attributes
    ----------
    prior, current
        Numbers of the lesions in their studies.
    kind
        The pair, or a part of a merge or split; the other part of a merge may be one that has returned.
    confidence
        0 to 1.
    """

    prior: int
    current: int
    kind: LinkKind
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The pair of names that DICOM SEG and SR carry (0062,0021 and 0062,0020)."""

    tracking_uid: str
    tracking_id: str


@dataclass(frozen=True, kw_only=True)
class EmptySite:
    """Where a lesion was that is not found today.

    Attributes
    ----------
    site_mm
        In the current study's space, LPS mm.
    volume_mm3
        When it was last seen; None if that is not known.
    """

    site_mm: Point
    volume_mm3: float | None


@dataclass(frozen=True, kw_only=True)
class LesionTrack:
    """One lesion followed through time.

    Attributes
    ----------
    tracking_uid, tracking_id
        The pair that DICOM SEG and SR carry (0062,0021 and 0062,0020); stable over all studies.
    state
        What became of it between the prior and the current study.
    prior, current
        Its lesions in the prior and current study; both may hold several (merge, split) or none. A merged lesion
        goes on under the identity of the largest prior lesion and lists all of them; the parts of a split lesion
        are one track. So volumes and change are those of the group.
    confidence
        0 to 1; how sure the match is.
    remarks
        Sentences for the radiologist about doubt, for example "verify: prior is 6 mm away".
    links
        Which of the prior lesions is which of the current ones.
    absorbed
        Identities that have merged into this one now, and have no track of their own any more.
    empty_sites
        Where lesions of this identity were that are not found today; kept, so that they are known if they return.
    returned
        Numbers of the current lesions that are back where the prior study did not show them any more.
    """

    tracking_uid: str
    tracking_id: str
    state: TrackState
    prior: tuple[Lesion, ...]
    current: tuple[Lesion, ...]
    confidence: float
    remarks: tuple[str, ...] = ()
    links: tuple[LesionLink, ...] = ()
    absorbed: tuple[Identity, ...] = ()
    empty_sites: tuple[EmptySite, ...] = ()
    returned: tuple[int, ...] = ()

    @property
    def states(self) -> dict[int, TrackState]:
        """State of each current lesion by its number: of a group that goes on, one part may have returned."""
        return {lesion.number: self._state_of(lesion.number) for lesion in self.current}

    @property
    def gone(self) -> tuple[Lesion, ...]:
        """Prior lesions that no current one continues, also of a group that goes on in its other parts."""
        continued = {link.prior for link in self.links}
        return tuple(lesion for lesion in self.prior if lesion.number not in continued)

    @property
    def prior_volume_mm3(self) -> float:
        """Sum over the prior lesions, mm³."""
        return sum(lesion.total_volume_mm3 for lesion in self.prior)

    @property
    def current_volume_mm3(self) -> float:
        """Sum over the current lesions, mm³."""
        return sum(lesion.total_volume_mm3 for lesion in self.current)

    @property
    def change_percent(self) -> float | None:
        """Volume change from prior to current, per cent; None without a prior lesion."""
        if not self.prior_volume_mm3:
            return None
        return 100 * (self.current_volume_mm3 / self.prior_volume_mm3 - 1)

    def _state_of(self, number: int) -> TrackState:
        if number in self.returned:
            return TrackState.RECURRENT
        sources = [link.prior for link in self.links if link.current == number]
        if not sources:
            return TrackState.PERSISTENT if self.links else self.state
        if len(sources) > 1:
            return TrackState.MERGED
        parts = sum(link.prior == sources[0] for link in self.links)
        return TrackState.SPLIT if parts > 1 else TrackState.PERSISTENT


@dataclass(frozen=True, kw_only=True)
class KnownLesion:
    """What earlier results say of one lesion identity: read back from the prior's SEG and SR, or from its track.

    The parts of a lesion that had split are several of these with one identity.

    Attributes
    ----------
    tracking_uid, tracking_id
        Its identity.
    lesion
        The lesion in the prior study; None when it was already resolved there.
    last_centroid_mm
        Its last known site in the prior study's space, LPS mm (the site of a resolved lesion).
    last_volume_mm3
        Its volume when it was last seen; None if that is not known.
    """

    tracking_uid: str
    tracking_id: str
    lesion: Lesion | None
    last_centroid_mm: Point
    last_volume_mm3: float | None = None

    @property
    def identity(self) -> Identity:
        """Its pair of names."""
        return Identity(tracking_uid=self.tracking_uid, tracking_id=self.tracking_id)


def known_after(track: LesionTrack) -> tuple[KnownLesion, ...]:
    """Return what the next study is to be compared with: every part that is there, and every empty site."""
    name = {"tracking_uid": track.tracking_uid, "tracking_id": track.tracking_id}
    present = tuple(
        KnownLesion(**name, lesion=lesion, last_centroid_mm=lesion.centroid_mm, last_volume_mm3=lesion.total_volume_mm3)
        for lesion in track.current
    )
    absent = tuple(
        KnownLesion(**name, lesion=None, last_centroid_mm=empty.site_mm, last_volume_mm3=empty.volume_mm3)
        for empty in track.empty_sites
    )
    return (*present, *absent)
