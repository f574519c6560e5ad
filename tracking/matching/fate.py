"""What became of a lesion: a group of linked sites is put into a state, and every reason for doubt into words.

"New" needs the prior study to show the place, "resolved" the current one; what cannot be told is said to be so.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from tracking.identity import tracking_order
from tracking.lesion import Lesion, Point
from tracking.matching.link import Link
from tracking.matching.sites import Site, covers
from tracking.matching.step import Group, Step
from tracking.timepoint import labels_of
from tracking.track import EmptySite, Identity, KnownLesion, LesionLink, LesionTrack, LinkKind, TrackState

LOW_CONFIDENCE = 0.5
UNLINKED_CONFIDENCE = 0.9  # new and resolved: nothing near speaks against it
DOUBT = 0.5  # factor for each reason to doubt
BEYOND_GATE_MM = 2.0  # a lesion of the other study so near to one that stands alone is told of


def followed(step: Step, group: Group) -> LesionTrack:
    """Build the track of a group that holds an identity known from before."""
    names = _names_by_volume(step, group)
    used = (*group.links, *group.returns)
    track = LesionTrack(
        tracking_uid=names[0].tracking_uid,
        tracking_id=names[0].tracking_id,
        state=_state(step, group, len(names)),
        prior=tuple(step.prior_lesions[place] for place in group.priors),
        current=tuple(step.current_lesions[place] for place in group.currents),
        confidence=min((_confidence(link) for link in used), default=UNLINKED_CONFIDENCE),
        remarks=(*_lineage(names[1:]), *_history_remarks(step, group)),
        links=tuple(_numbered(step, link) for link in group.links),
        absorbed=tuple(names[1:]),
        empty_sites=_empty_sites(step, group),
        returned=_returned(step, group),
    )
    return _with_doubt(step, group, track) if group.currents else _gone(step, group, track)


def baseline(known: KnownLesion) -> LesionTrack:
    """Build the track of a lesion that there is no earlier study for."""
    return LesionTrack(
        tracking_uid=known.tracking_uid,
        tracking_id=known.tracking_id,
        state=TrackState.BASELINE,
        prior=(),
        current=(known.lesion,) if known.lesion else (),
        confidence=1.0,
        remarks=_doubts(known.lesion),
    )


def unprecedented(step: Step, place: int, known: KnownLesion) -> LesionTrack:
    """Build the track of a lesion that is new, or whose place the prior study does not show."""
    site = step.currents[place]
    if not covers(labels_of(step.prior), step.alignment.transform.to_moving(site.centroid_mm)[0]):
        remark = "verify: the prior study does not show this place, so the lesion may be older"
        first = baseline(known)
        return replace(first, confidence=LOW_CONFIDENCE, remarks=(remark, *first.remarks))
    finding = step.current_lesions[place].confidence
    sure = UNLINKED_CONFIDENCE if finding is None else min(UNLINKED_CONFIDENCE, finding)
    track = replace(baseline(known), state=TrackState.NEW, confidence=sure)
    told = _near(step, track, [site], step.priors, remark="a lesion of the prior study lies {:.1f} mm away")
    if told is not track:
        return told
    return _near(step, track, [site], step.empty, remark="the place of a lesion that had resolved lies {:.1f} mm away")


def unregistered(track: LesionTrack) -> LesionTrack:
    """Doubt a track because registration had failed: then nothing is surely new, and nothing surely gone."""
    remark = "verify: the prior study could not be registered"
    unsure = {TrackState.NEW: TrackState.BASELINE, TrackState.RESOLVED: TrackState.NOT_ASSESSED}
    return replace(
        track,
        state=unsure.get(track.state, track.state),
        confidence=track.confidence * DOUBT if track.current else 0.0,
        remarks=(*track.remarks, remark),
    )


def _names_by_volume(step: Step, group: Group) -> list[Identity]:
    """Return each identity of a group, the largest in the prior study first, so that those which are back come last."""
    volumes_mm3: dict[Identity, float] = defaultdict(float)
    for place in group.priors:
        volumes_mm3[step.present[place].identity] += step.priors[place].volume_mm3
    for place in group.empty:
        volumes_mm3.setdefault(step.absent[place].identity, 0.0)
    return sorted(volumes_mm3, key=lambda name: (-volumes_mm3[name], tracking_order(name.tracking_id)))


def _state(step: Step, group: Group, identities: int) -> TrackState:
    if not group.currents:
        return TrackState.RESOLVED
    if not group.links:
        return TrackState.RECURRENT if _returned(step, group) else TrackState.PERSISTENT
    if identities > 1 or _joined(link.current for link in group.links):
        return TrackState.MERGED
    return TrackState.SPLIT if _joined(link.prior for link in group.links) else TrackState.PERSISTENT


def _returned(step: Step, group: Group) -> tuple[int, ...]:
    """Return the numbers of current lesions at places where the prior study shows that there was none."""
    places = {link.current for link in group.returns if _was_shown(step, link.prior)}
    return tuple(sorted(step.current_lesions[place].number for place in places))


def _was_shown(step: Step, empty: int) -> bool:
    """Whether the prior study shows the place of a lesion that it does not have."""
    return covers(labels_of(step.prior), np.array(step.absent[empty].last_centroid_mm))


def _joined(places: Iterable[int]) -> bool:
    return max(Counter(places).values(), default=0) > 1


def _doubts(lesion: Lesion | None) -> tuple[str, ...]:
    """Return what a reader must know of a finding that no earlier study confirms."""
    if lesion is None or lesion.confidence is None or lesion.confidence >= LOW_CONFIDENCE:
        return ()
    return (f"verify: the model is only {100 * lesion.confidence:.0f} % sure of it",)


def _confidence(link: Link) -> float:
    return link.confidence * (DOUBT if link.rivalled else 1.0)


def _numbered(step: Step, link: Link) -> LesionLink:
    return LesionLink(
        prior=step.prior_lesions[link.prior].number,
        current=step.current_lesions[link.current].number,
        kind=link.kind,
        confidence=_confidence(link),
    )


def _lineage(absorbed: Sequence[Identity]) -> tuple[str, ...]:
    names = ", ".join(name.tracking_id for name in absorbed)
    return (f"includes {names}, merged into this lesion",) if names else ()


def _history_remarks(step: Step, group: Group) -> tuple[str, ...]:
    remarks = []
    if group.currents and group.vanished:
        shown = all(covers(labels_of(step.current), step.priors[place].centroid_mm) for place in group.vanished)
        why = "is not found today" if shown else "is not shown by the current study"
        remarks.append(f"a part of it {why}")
    if group.returns and not _returned(step, group):
        remarks.append("verify: the prior study does not show this place; the lesion was seen before it")
    elif group.returns:
        part = "" if len(_returned(step, group)) == len(group.currents) else "a part was "
        remarks.append(f"{part}found again at the place of a lesion that had resolved")
    return tuple(remarks)


def _empty_sites(step: Step, group: Group) -> tuple[EmptySite, ...]:
    gone = [(step.priors[place], step.prior_lesions[place].total_volume_mm3) for place in group.vanished]
    away = [(step.empty[place], step.absent[place].last_volume_mm3) for place in group.still_empty]
    return tuple(EmptySite(site_mm=_point(site), volume_mm3=volume_mm3) for site, volume_mm3 in (*gone, *away))


def _point(site: Site) -> Point:
    x, y, z = site.centroid_mm
    return float(x), float(y), float(z)


def _with_doubt(step: Step, group: Group, track: LesionTrack) -> LesionTrack:
    """Say why the weakest link of a followed lesion is weak."""
    if track.confidence >= LOW_CONFIDENCE:
        return track
    ends = [(link, step.priors[link.prior]) for link in group.links]
    ends += [(link, step.empty[link.prior]) for link in group.returns]
    worst, prior = min(ends, key=lambda end: _confidence(end[0]))
    if worst.kind != LinkKind.PAIR:
        return replace(track, remarks=(*track.remarks, "verify: one of its parts lies only partly within the whole"))
    distance_mm = float(np.linalg.norm(prior.centroid_mm - step.currents[worst.current].centroid_mm))
    other = ", and another lesion would fit nearly as well" if worst.rivalled else ""
    remark = f"verify: the prior lesion's centre is {distance_mm:.1f} mm away{other}"
    return replace(track, remarks=(*track.remarks, remark))


def _gone(step: Step, group: Group, track: LesionTrack) -> LesionTrack:
    """Decide whether a lesion that is not found has resolved, or its place is not shown today."""
    sites = [*(step.priors[place] for place in group.priors), *(step.empty[place] for place in group.empty)]
    if not all(covers(labels_of(step.current), site.centroid_mm) for site in sites):
        remark = "verify: the current study does not show its place"
        return replace(track, state=TrackState.NOT_ASSESSED, confidence=0.0, remarks=(*track.remarks, remark))
    if not group.priors:
        shown = any(_was_shown(step, place) for place in group.empty)
        before = ["already resolved in the prior study" if shown else "the prior study does not show its place"]
        if any(_surface_distance_mm(site, other) < 0 for site in sites for other in step.currents):
            before.append("verify: another lesion lies at its place today")
        return replace(track, remarks=(*track.remarks, *before))
    return _near(step, track, sites, step.currents, remark="a lesion of today lies {:.1f} mm from its place")


def _near(step: Step, track: LesionTrack, sites: Iterable[Site], others: Sequence[Site], *, remark: str) -> LesionTrack:
    """Doubt a lesion that stands alone when one of the other study lies just beyond the gate."""
    pairs = [(site, other) for site in sites for other in others]
    gap_mm, sigma_mm = min(
        ((_surface_distance_mm(*pair), max(site.sigma_mm for site in pair)) for pair in pairs), default=(np.inf, 0.0)
    )
    if gap_mm > step.settings.gate_mm(sigma_mm) + BEYOND_GATE_MM:
        return track
    doubt = f"verify: {remark.format(max(gap_mm, 0.0))}"
    return replace(track, confidence=track.confidence * DOUBT, remarks=(*track.remarks, doubt))


def _surface_distance_mm(first: Site, second: Site) -> float:
    """Approximate free distance of two sites taken as spheres."""
    return float(np.linalg.norm(first.centroid_mm - second.centroid_mm)) - first.radius_mm - second.radius_mm
