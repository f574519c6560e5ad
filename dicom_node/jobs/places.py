"""Where each lesion lies, in words, and the notes on it."""

from dataclasses import replace

from highdicom import Volume

from inference.anatomy import atlas_for, place_in_words
from tracking.comparison import Comparison
from tracking.detail import LesionDetail, lesion_details
from tracking.lesion import Point
from tracking.response import Criteria
from tracking.timepoint import Timepoint
from tracking.track import EmptySite, LesionTrack

EmptySites = dict[str, tuple[EmptySite, ...]]


def details_of(
    study: Timepoint, comparison: Comparison, empty_sites: EmptySites, criteria: Criteria, *, threads: int
) -> tuple[dict[str, LesionDetail], tuple[str, ...]]:
    """Return the details of every identity by its tracking UID, and what the reader must know of the atlas.

    Without a lesion to place the atlas is not looked for.
    """
    if not comparison.tracks:
        return {}, ()
    atlas = atlas_for(study, threads=threads)
    found = lesion_details(study, comparison.tracks, empty_sites, atlas=atlas.labels, criteria=criteria)
    if atlas.labels is None:
        return dict(found), (atlas.remark,)
    points = {track.tracking_uid: _point_of(track, empty_sites) for track in comparison.tracks}
    return {uid: _in_words(detail, points[uid], atlas.labels) for uid, detail in found.items()}, ()


def _point_of(track: LesionTrack, empty_sites: EmptySites) -> Point | None:
    if track.current:
        return max(track.current, key=lambda lesion: lesion.total_volume_mm3).centroid_mm
    return next((site.site_mm for site in empty_sites.get(track.tracking_uid, ())), None)


def _in_words(detail: LesionDetail, point_mm: Point | None, labels: Volume) -> LesionDetail:
    if point_mm is None:
        return detail
    return replace(detail, place=place_in_words(detail.place, point_mm, labels))
