"""A patient's lesions at one examination, as plain numbers: what response, dynamics and plots read, and no more.

A list of visits is the whole story of a patient. It can be made from tracks (`visit_of`, `visit_of_study`), or by
hand from any other source.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cached_property
from itertools import pairwise

from tracking.measurement.profile import LesionProfile, profile_lesions
from tracking.timepoint import Timepoint, labels_of
from tracking.track import LesionTrack, TrackState


class Presence(StrEnum):
    """Whether a lesion is seen at a visit."""

    PRESENT = "present"
    ABSENT = "absent"
    MERGED = "merged"  # it has become part of another lesion
    NOT_SHOWN = "not shown"  # the images do not show its place


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """One lesion identity at one visit.

    Attributes
    ----------
    tracking_uid, tracking_id
        Its identity, the same at every visit; the id is for people.
    presence
        If it is not present, all measures are 0.
    volume_mm3
        Enhancing tissue and necrosis.
    longest_diameter_mm, perpendicular_diameter_mm
        In the image plane. Of a lesion that has split, the sum over its parts (Eisenhauer et al., Eur J Cancer 2009).
    slice_count, plane_count
        Image planes, and kinds of orthogonal planes, in which it is seen (see `LesionProfile`).
    merged_into
        Tracking UID of the lesion that it is part of now; for `Presence.MERGED` only.
    certain
        False if it needs a look: low confidence of the finding or of its identity.
    onset_known
        False where it is first seen without an earlier study that shows its place: it may be older.
    """

    tracking_uid: str
    tracking_id: str
    presence: Presence = Presence.PRESENT
    volume_mm3: float = 0.0
    longest_diameter_mm: float = 0.0
    perpendicular_diameter_mm: float = 0.0
    slice_count: int = 0
    plane_count: int = 0
    merged_into: str | None = None
    certain: bool = True
    onset_known: bool = True

    def __post_init__(self) -> None:
        if (self.presence == Presence.PRESENT) != (self.volume_mm3 > 0):
            raise ValueError(
                f"Lesion {self.tracking_id} is {self.presence.value}, but its volume is {self.volume_mm3} mm³; only"
                " a lesion that is present has a volume."
            )
        if (self.presence == Presence.MERGED) != (self.merged_into is not None):
            raise ValueError(f"Lesion {self.tracking_id}: give merged_into for a merged lesion, and for no other.")


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One examination.

    Attributes
    ----------
    day
        Date of the examination.
    slice_spacing_mm
        Distance between the slices of the T1c.
    sightings
        One for each identity; one that is not listed is absent.
    inadequate
        Reasons why sizes of this study must not be judged, for example a missing sequence; empty when it is fine.
    """

    day: date
    slice_spacing_mm: float
    sightings: tuple[Sighting, ...]
    inadequate: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        counts = Counter(sighting.tracking_uid for sighting in self.sightings)
        twice = sorted(uid for uid, count in counts.items() if count > 1)
        if twice:
            raise ValueError(f"The visit of {self.day} lists lesions {', '.join(twice)} twice; join their parts first.")

    @property
    def present(self) -> tuple[Sighting, ...]:
        """The lesions that are seen."""
        return tuple(sighting for sighting in self.sightings if sighting.presence == Presence.PRESENT)

    @property
    def total_volume_mm3(self) -> float:
        """Sum over the lesions that are seen, mm³."""
        return sum(sighting.volume_mm3 for sighting in self.present)

    def of(self, tracking_uid: str) -> Sighting | None:
        """Return the sighting of an identity; None when it is not listed."""
        return self._by_uid.get(tracking_uid)

    @cached_property
    def _by_uid(self) -> Mapping[str, Sighting]:
        return {sighting.tracking_uid: sighting for sighting in self.sightings}


def in_order(visits: Sequence[Visit]) -> tuple[Visit, ...]:
    """Return the visits from the first to the last, all of them.

    Raises
    ------
    ValueError
        If two visits have the same date.
    """
    ordered = tuple(sorted(visits, key=lambda visit: visit.day))
    for earlier, later in pairwise(ordered):
        if earlier.day == later.day:
            raise ValueError(f"Two visits have the date {later.day}; keep one of them.")
    return ordered


def visit_of(
    tracks: Sequence[LesionTrack], profiles: Sequence[LesionProfile], *, day: date, slice_spacing_mm: float
) -> Visit:
    """Make the visit of a study from what was followed and measured.

    Parameters
    ----------
    tracks
        Every identity at this study.
    profiles
        Of the current lesions.
    day, slice_spacing_mm
        See `Visit`.

    Raises
    ------
    ValueError
        If a current lesion has no profile.
    """
    by_number = {profile.lesion.number: profile for profile in profiles}
    missing = [lesion.number for track in tracks for lesion in track.current if lesion.number not in by_number]
    if missing:
        raise ValueError(f"Lesions {missing} have no profile; profile all current lesions first.")
    merged = [
        Sighting(
            tracking_uid=part.tracking_uid,
            tracking_id=part.tracking_id,
            presence=Presence.MERGED,
            merged_into=track.tracking_uid,
        )
        for track in tracks
        for part in track.absorbed
    ]
    sightings = (*(_sighting(track, by_number) for track in tracks), *merged)
    return Visit(day=day, slice_spacing_mm=slice_spacing_mm, sightings=sightings)


def visit_of_study(study: Timepoint, tracks: Sequence[LesionTrack]) -> Visit:
    """Make the visit of a study from its label volume, for example each study of `track_history`.

    Parameters
    ----------
    study
        With the label volume that the current lesions were measured on.
    tracks
        Every identity at this study.

    Raises
    ------
    ValueError
        If the study has no label volume, or a lesion is not in it.
    """
    labels = labels_of(study)
    lesions = [lesion for track in tracks for lesion in track.current]
    return visit_of(
        tracks,
        profile_lesions(labels, lesions),
        day=study.study_date,
        slice_spacing_mm=float(labels.spacing[0]),
    )


def _sighting(track: LesionTrack, by_number: Mapping[int, LesionProfile]) -> Sighting:
    parts = [by_number[lesion.number] for lesion in track.current]
    absence = Presence.NOT_SHOWN if track.state == TrackState.NOT_ASSESSED else Presence.ABSENT
    return Sighting(
        tracking_uid=track.tracking_uid,
        tracking_id=track.tracking_id,
        presence=Presence.PRESENT if parts else absence,
        volume_mm3=track.current_volume_mm3,
        longest_diameter_mm=sum(part.lesion.longest_diameter.length_mm for part in parts),
        perpendicular_diameter_mm=max((part.lesion.perpendicular_diameter.length_mm for part in parts), default=0.0),
        slice_count=max((part.slice_count for part in parts), default=0),
        plane_count=max((part.plane_count for part in parts), default=0),
        certain=not any(remark.startswith("verify") for remark in track.remarks),
        onset_known=track.state != TrackState.BASELINE,
    )
