"""Which lesion of today is which lesion of before: one identity is one track, whatever merged, split or went.

The steps: prior lesions are carried to the current study one by one (`sites`), linked with today's (`assignment`),
and each connected group of links becomes a track. What is left over is new, recurrent or resolved.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from tracking.assignment import Link, MatchSettings, link_sites
from tracking.identity import baseline_identities, new_tracking_uid, tracking_order
from tracking.lesion import Lesion
from tracking.registration.result import Registration, RegistrationKind
from tracking.sites import Site, covers, sites_of
from tracking.timepoint import Timepoint
from tracking.track import KnownLesion, LesionTrack, TrackState

__all__ = [
    "KnownLesion",
    "LesionTrack",
    "MatchSettings",
    "TrackState",
    "baseline_identities",
    "baseline_tracks",
    "match",
    "new_tracking_uid",
]

LOW_CONFIDENCE = 0.5
UNLINKED_CONFIDENCE = 0.9  # new and resolved: nothing near speaks against it
DOUBT = 0.5  # factor for each reason to doubt
RECURRENCE_REACH_MM = 2.0  # how far beyond the gate a lesion may return: the extent of the resolved one is not known


def baseline_tracks(study_uid: str, lesions: Sequence[Lesion]) -> tuple[LesionTrack, ...]:
    """Name and list the lesions of a patient's first study.

    Parameters
    ----------
    study_uid
        Study Instance UID.
    lesions
        As measured; their order gives the numbers of the tracking identifiers.
    """
    return tuple(_baseline(identity) for identity in baseline_identities(study_uid, lesions))


def match(
    current: Timepoint,
    current_lesions: Sequence[Lesion],
    prior: Timepoint,
    known: Sequence[KnownLesion],
    registration: Registration,
    *,
    settings: MatchSettings | None = None,
) -> tuple[LesionTrack, ...]:
    """Follow every known lesion from the prior study to the current one.

    Parameters
    ----------
    current, prior
        Studies with their label volumes; the numbers in ``prior.lesions`` are those of the known lesions.
    current_lesions
        As measured on ``current.lesions``.
    known
        All identities so far: lesions of the prior study, and lesions that were resolved there, with their last site.
        For a prior without earlier results see `baseline_identities`.
    registration
        Current study fixed, prior study moving.

    Returns
    -------
    tuple of LesionTrack
        One for each identity, in order of tracking identifiers. An identity that merged into another has no track of
        its own; the remark of the merged lesion names it.

    Raises
    ------
    ValueError
        If a study has no label volume, a lesion is not in it, or the registration is of other studies.
    """
    _check(current, prior, registration)
    scene = _scene(current, current_lesions, prior, known, registration, settings or MatchSettings())
    links = link_sites(scene.priors, scene.currents, registration.sigma_mm, scene.settings)
    groups = list(_groups(scene, links))
    tracks = [_followed(scene, group) for group in groups if group.priors]
    tracks += _without_prior(scene, [group.currents[0] for group in groups if not group.priors])
    if registration.kind == RegistrationKind.NONE:
        tracks = [_unregistered(track) for track in tracks]
    return tuple(sorted(tracks, key=lambda track: tracking_order(track.tracking_id)))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scene:
    """All that matching looks at; ``present`` and ``priors`` belong together place by place."""

    current: Timepoint
    prior: Timepoint
    registration: Registration
    settings: MatchSettings
    present: tuple[KnownLesion, ...]
    absent: tuple[KnownLesion, ...]
    priors: tuple[Site, ...]
    currents: tuple[Site, ...]
    absent_sites_mm: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Places of sites that are one identity, and the links between them."""

    priors: tuple[int, ...]
    currents: tuple[int, ...]
    links: tuple[Link, ...]


def _check(current: Timepoint, prior: Timepoint, registration: Registration) -> None:
    if (registration.fixed_study_uid, registration.moving_study_uid) != (current.study_uid, prior.study_uid):
        raise ValueError(
            f"The registration brings study {registration.moving_study_uid} to {registration.fixed_study_uid}, but"
            f" {prior.study_uid} is to be matched with {current.study_uid}; register these two."
        )


def _scene(
    current: Timepoint,
    current_lesions: Sequence[Lesion],
    prior: Timepoint,
    known: Sequence[KnownLesion],
    registration: Registration,
    settings: MatchSettings,
) -> _Scene:
    absent = tuple(identity for identity in known if identity.lesion is None)
    lesions = [identity.lesion for identity in known if identity.lesion is not None]
    return _Scene(
        current=current,
        prior=prior,
        registration=registration,
        settings=settings,
        present=tuple(identity for identity in known if identity.lesion is not None),
        absent=absent,
        priors=sites_of(lesions, _labels(prior), registration.transform),
        currents=sites_of(current_lesions, _labels(current)),
        absent_sites_mm=registration.map_points([identity.last_centroid_mm for identity in absent]),
    )


def _labels(study: Timepoint) -> Volume:
    if study.lesions is None:
        raise ValueError(f"Study {study.study_uid} has no label volume; segment it before matching.")
    return study.lesions


def _groups(scene: _Scene, links: Sequence[Link]) -> Iterator[_Group]:
    """Join what is linked, and the parts of one identity, into groups."""
    count = len(scene.priors)
    edges = [(link.prior, count + link.current) for link in links]
    first_of: dict[str, int] = {}
    for place, identity in enumerate(scene.present):
        edges.append((first_of.setdefault(identity.tracking_uid, place), place))
    size = count + len(scene.currents)
    rows, columns = (np.array([edge[end] for edge in edges], int) for end in (0, 1))
    graph = coo_array((np.ones(len(edges)), (rows, columns)), shape=(size, size))
    number, membership = connected_components(graph, directed=False)
    for group in range(number):
        places = np.flatnonzero(membership == group).tolist()
        yield _Group(
            priors=tuple(place for place in places if place < count),
            currents=tuple(place - count for place in places if place >= count),
            links=tuple(link for link in links if membership[link.prior] == group),
        )


def _followed(scene: _Scene, group: _Group) -> LesionTrack:
    """Build the track of a group that the prior study shows."""
    names = _names_by_volume([scene.present[place] for place in group.priors])
    track = LesionTrack(
        tracking_uid=names[0][0],
        tracking_id=names[0][1],
        state=_state(group, len(names)),
        prior=tuple(scene.priors[place].lesion for place in group.priors),
        current=tuple(scene.currents[place].lesion for place in group.currents),
        confidence=min((_link_confidence(link) for link in group.links), default=UNLINKED_CONFIDENCE),
        remarks=_lineage(names[1:]),
    )
    return _with_doubt(scene, group, track) if group.currents else _gone(scene, group, track)


def _names_by_volume(parts: Sequence[KnownLesion]) -> list[tuple[str, str]]:
    """Return (tracking UID, tracking ID) of each identity, the largest first."""
    volumes: dict[tuple[str, str], float] = {}
    for part in parts:
        name = (part.tracking_uid, part.tracking_id)
        volumes[name] = volumes.get(name, 0.0) + (part.lesion.total_volume_mm3 if part.lesion else 0.0)
    return sorted(volumes, key=lambda name: (-volumes[name], tracking_order(name[1])))


def _state(group: _Group, identities: int) -> TrackState:
    if not group.currents:
        return TrackState.RESOLVED
    if identities > 1:
        return TrackState.MERGED
    return TrackState.SPLIT if len(group.currents) > len(group.priors) else TrackState.PERSISTENT


def _lineage(absorbed: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    names = ", ".join(tracking_id for _, tracking_id in absorbed)
    return (f"includes {names}, merged into this lesion",) if names else ()


def _link_confidence(link: Link) -> float:
    return float(np.exp(-link.cost / 2)) * (DOUBT if link.ambiguous else 1.0)


def _with_doubt(scene: _Scene, group: _Group, track: LesionTrack) -> LesionTrack:
    if track.confidence >= LOW_CONFIDENCE:
        return track
    worst = min(group.links, key=_link_confidence)
    prior, current = scene.priors[worst.prior], scene.currents[worst.current]
    distance_mm = float(np.linalg.norm(prior.centroid_mm - current.centroid_mm))
    other = ", and another lesion would fit nearly as well" if worst.ambiguous else ""
    return replace(
        track, remarks=(*track.remarks, f"verify: the prior lesion's centre is {distance_mm:.1f} mm away{other}")
    )


def _gone(scene: _Scene, group: _Group, track: LesionTrack) -> LesionTrack:
    """Decide whether a lesion that is not found has resolved, or its place is not shown today."""
    sites = [scene.priors[place] for place in group.priors]
    if not all(covers(_labels(scene.current), site.centroid_mm) for site in sites):
        return _not_shown(track)
    nearest_mm = min((_surface_distance_mm(site, other) for site in sites for other in scene.currents), default=np.inf)
    return _near(scene, track, nearest_mm, "a lesion of today lies {:.1f} mm from its place")


def _not_shown(track: LesionTrack) -> LesionTrack:
    remark = "verify: the current study does not show its place"
    return replace(track, state=TrackState.NOT_ASSESSED, confidence=0.0, remarks=(*track.remarks, remark))


def _near(scene: _Scene, track: LesionTrack, distance_mm: float, remark: str) -> LesionTrack:
    """Doubt a lesion that is alone when another lies within twice the gate."""
    if distance_mm > 2 * scene.settings.gate_mm(scene.registration.sigma_mm):
        return track
    doubt = f"verify: {remark.format(max(distance_mm, 0.0))}"
    return replace(track, confidence=track.confidence * DOUBT, remarks=(*track.remarks, doubt))


def _surface_distance_mm(first: Site, second: Site) -> float:
    """Approximate free distance of two sites taken as spheres."""
    return float(np.linalg.norm(first.centroid_mm - second.centroid_mm)) - first.radius_mm - second.radius_mm


def _without_prior(scene: _Scene, places: Sequence[int]) -> list[LesionTrack]:
    """Build the tracks of lesions that the prior does not show, and of identities that stay away."""
    returned = _returned(scene, places)
    fresh = [scene.currents[place] for place in places if place not in returned]
    taken = [identity.tracking_id for identity in (*scene.present, *scene.absent)]
    named = baseline_identities(scene.current.study_uid, [site.lesion for site in fresh], taken=taken)
    tracks = [_new(scene, site, identity) for site, identity in zip(fresh, named, strict=True)]
    tracks += [_recurrent(scene, place, scene.absent[row]) for place, row in returned.items()]
    tracks += [_still_away(scene, row) for row in range(len(scene.absent)) if row not in returned.values()]
    return tracks


def _returned(scene: _Scene, places: Sequence[int]) -> dict[int, int]:
    """Give left-over lesions the identity of a resolved one at the same place, the nearest first."""
    reach_mm = scene.settings.gate_mm(scene.registration.sigma_mm) + RECURRENCE_REACH_MM
    near = sorted(
        (distance_mm, place, row)
        for place in places
        for row, distance_mm in enumerate(cdist(scene.absent_sites_mm, scene.currents[place].voxels).min(axis=1))
        if distance_mm <= reach_mm
    )
    returned: dict[int, int] = {}
    for _, place, row in near:
        if place not in returned and row not in returned.values():
            returned[place] = row
    return returned


def _recurrent(scene: _Scene, place: int, identity: KnownLesion) -> LesionTrack:
    return LesionTrack(
        tracking_uid=identity.tracking_uid,
        tracking_id=identity.tracking_id,
        state=TrackState.RECURRENT,
        prior=(),
        current=(scene.currents[place].lesion,),
        confidence=UNLINKED_CONFIDENCE,
        remarks=("found again at the place of a lesion that had resolved",),
    )


def _still_away(scene: _Scene, row: int) -> LesionTrack:
    identity = scene.absent[row]
    track = LesionTrack(
        tracking_uid=identity.tracking_uid,
        tracking_id=identity.tracking_id,
        state=TrackState.RESOLVED,
        prior=(),
        current=(),
        confidence=UNLINKED_CONFIDENCE,
        remarks=("already resolved in the prior study",),
    )
    return track if covers(_labels(scene.current), scene.absent_sites_mm[row]) else _not_shown(track)


def _new(scene: _Scene, site: Site, identity: KnownLesion) -> LesionTrack:
    """Build the track of a lesion that is new, or whose place the prior does not show."""
    if not covers(_labels(scene.prior), scene.registration.transform.to_moving(site.centroid_mm)[0]):
        remark = "verify: the prior study does not show this place, so the lesion may be older"
        return replace(_baseline(identity), confidence=LOW_CONFIDENCE, remarks=(remark,))
    probability = site.lesion.mean_probability
    track = replace(
        _baseline(identity),
        state=TrackState.NEW,
        confidence=UNLINKED_CONFIDENCE if probability is None else min(UNLINKED_CONFIDENCE, probability),
    )
    nearest_mm = min((_surface_distance_mm(site, other) for other in scene.priors), default=np.inf)
    return _near(scene, track, nearest_mm, "a lesion of the prior study lies {:.1f} mm away")


def _baseline(identity: KnownLesion) -> LesionTrack:
    return LesionTrack(
        tracking_uid=identity.tracking_uid,
        tracking_id=identity.tracking_id,
        state=TrackState.BASELINE,
        prior=(),
        current=(identity.lesion,) if identity.lesion else (),
        confidence=1.0,
    )


def _unregistered(track: LesionTrack) -> LesionTrack:
    remark = "verify: the prior study could not be registered"
    return replace(track, confidence=track.confidence * DOUBT, remarks=(*track.remarks, remark))
