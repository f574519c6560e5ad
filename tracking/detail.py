"""What a report says of each lesion beside its axes and volume: where it lies, and how far its numbers go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from highdicom import Volume

from tracking.measurement import LesionProfile, Place, locate, profile_lesions, volume_interval_mm3
from tracking.response import Criteria, measurability
from tracking.timepoint import Timepoint, labels_of
from tracking.track import EmptySite, LesionTrack


@dataclass(frozen=True, kw_only=True)
class LesionDetail:
    """One lesion identity today.

    Attributes
    ----------
    place
        Of its largest part, or of the site where it was; not known without an atlas.
    notes
        Half sentences for the report.
    """

    place: Place
    notes: tuple[str, ...] = ()


def lesion_details(
    study: Timepoint,
    tracks: Sequence[LesionTrack],
    empty_sites: Mapping[str, Sequence[EmptySite]],
    *,
    atlas: Volume | None = None,
    criteria: Criteria | None = None,
) -> Mapping[str, LesionDetail]:
    """Return the details of every identity by its tracking UID.

    Parameters
    ----------
    study
        With the label volume that the current lesions were measured on.
    tracks
        Every identity at this study.
    empty_sites
        By tracking UID where lesions were that are not there today, as far as that is known.
    atlas
        Label map with SynthSeg's numbers in the study's space; None: places are not known.
    criteria
        Options of RANO-BM; the defaults when None.

    Raises
    ------
    ValueError
        If the study has no label volume, or a lesion is not in it.
    """
    labels = labels_of(study)
    lesions = [lesion for track in tracks for lesion in track.current]
    profiles = {one.lesion.number: one for one in profile_lesions(labels, lesions, atlas=atlas)}
    spacing_mm, options = float(labels.spacing[0]), criteria or Criteria()
    return {
        track.tracking_uid: _present([profiles[lesion.number] for lesion in track.current], spacing_mm, options)
        if track.current
        else LesionDetail(place=_place_of(empty_sites.get(track.tracking_uid, ()), atlas))
        for track in tracks
    }


def _present(parts: Sequence[LesionProfile], slice_spacing_mm: float, criteria: Criteria) -> LesionDetail:
    largest = max(parts, key=lambda part: part.lesion.total_volume_mm3)
    low_mm3, high_mm3 = volume_interval_mm3(sum(part.lesion.total_volume_mm3 for part in parts), slice_spacing_mm)
    notes = [
        f"95 % limits of volume {low_mm3:.0f} to {high_mm3:.0f} mm³",
        f"longest diameter in 3-D {max(part.longest_diameter_3d_mm for part in parts):.1f} mm",
        _measurable(largest, slice_spacing_mm, criteria),
    ]
    if len(parts) > 1:
        lengths_mm = " + ".join(f"{part.lesion.longest_diameter.length_mm:.1f}" for part in parts)
        notes.insert(0, f"{len(parts)} parts, longest diameters {lengths_mm} mm, which RANO-BM adds up")
    return LesionDetail(place=largest.place, notes=tuple(notes))


def _measurable(part: LesionProfile, slice_spacing_mm: float, criteria: Criteria) -> str:
    found = measurability(
        part.lesion.longest_diameter.length_mm,
        part.lesion.perpendicular_diameter.length_mm,
        slice_count=part.slice_count,
        slice_spacing_mm=slice_spacing_mm,
        small_lesions=criteria.small_lesions,
    )
    if found.measurable:
        return "today measurable by RANO-BM"
    return f"today not measurable by RANO-BM: {', '.join(found.reasons)}"


def _place_of(sites: Sequence[EmptySite], atlas: Volume | None) -> Place:
    return locate(np.array([sites[0].site_mm]), atlas) if sites else Place()
