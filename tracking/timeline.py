"""A patient's whole history from label volumes: the front door for whoever has arrays and no DICOM.

Every study is matched with the one before; what had resolved by then is carried along with its place, so a lesion
that returns after any number of studies keeps its identity.

Example
-------
>>> studies = [labelled_study(mask, affine, study_uid=str(n), study_date=day) for n, (mask, affine, day) in ...]
>>> alignments = [GivenAlignment(fixed_study_uid="1", moving_study_uid="0", sigma_mm=1.0), ...]
>>> for study in track_history(studies, alignments):
...     for track in study.tracks:
...         print(study.study_date, track.tracking_id, track.state, track.current_volume_mm3)
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import pairwise

import numpy as np
from highdicom import Volume
from numpy.typing import ArrayLike, NDArray

from tracking.alignment import Alignment
from tracking.components import number_components, without_smaller
from tracking.matching import MatchSettings, baseline_tracks, match
from tracking.matching.sites import covers
from tracking.measurement import measure_lesions
from tracking.registration.result import RegistrationKind
from tracking.timepoint import Timepoint, labels_of
from tracking.track import LesionTrack, TrackState, known_after


@dataclass(frozen=True, kw_only=True)
class StudyTracks:
    """What a study says of every lesion identity so far.

    Attributes
    ----------
    study_uid, study_date
        The study.
    tracks
        In order of tracking identifiers; those of the first study are a baseline.
    """

    study_uid: str
    study_date: date
    tracks: tuple[LesionTrack, ...]


def labelled_study(
    labels: NDArray[np.generic],
    affine: ArrayLike,
    *,
    study_uid: str,
    study_date: date,
    minimum_mm3: float = 0.0,
) -> Timepoint:
    """Make a study of an array.

    Parameters
    ----------
    labels
        Index order (i, j, k): i numbers the image planes (slices), j and k the rows and columns of each. Integers: 0
        background, n the lesion with number n. Booleans are a mask, of which every 26-connected component becomes a
        lesion.
    affine
        From index (i, j, k) to LPS mm, 4 × 4. NIfTI files have RAS: change the sign of their first two rows.
    study_uid
        Any name that no other study of the patient has.
    study_date
        Date of the examination.
    minimum_mm3
        Lesions below this volume are left out.

    Raises
    ------
    ValueError
        If the affine is not one of right angles, or the array is neither of integers nor of booleans.
    TypeError
        If the date is text or another thing that is no date.
    """
    if not isinstance(study_date, date) or isinstance(study_date, datetime):
        raise TypeError(f"The date of study {study_uid} is {study_date!r}; give a datetime.date.")
    if labels.dtype == bool:
        numbered = number_components(Volume(labels, np.asarray(affine, float), "PATIENT"), minimum_mm3=minimum_mm3)
    elif np.issubdtype(labels.dtype, np.integer):
        numbered = without_smaller(Volume(labels, np.asarray(affine, float), "PATIENT"), minimum_mm3)
    else:
        raise ValueError(f"Lesions must be integers or booleans, but the array is {labels.dtype}; apply a threshold.")
    return Timepoint(study_uid=study_uid, study_date=study_date, images={}, lesions=numbered)


def track_history(
    studies: Sequence[Timepoint], alignments: Sequence[Alignment], *, settings: MatchSettings | None = None
) -> tuple[StudyTracks, ...]:
    """Follow every lesion through all studies of a patient.

    Parameters
    ----------
    studies
        With their label volumes, the oldest first.
    alignments
        For each study but the first, how the study before it (moving) lies on it (fixed): a `Registration`, or a
        `GivenAlignment`.

    Returns
    -------
    tuple of StudyTracks
        One for each study.

    Raises
    ------
    ValueError
        If the studies are not in order of date, two have one name, a label volume is missing, or alignments do not fit
        the studies.
    """
    _check(studies, alignments)
    history: list[StudyTracks] = []
    for place, study in enumerate(studies):
        lesions = measure_lesions(labels_of(study))
        if not place:
            tracks = baseline_tracks(study.study_uid, lesions)
        else:
            known = [one for track in history[-1].tracks for one in known_after(track)]
            prior, alignment = studies[place - 1], alignments[place - 1]
            tracks = match(study, lesions, prior, known, alignment, taken=_names(history), settings=settings)
            tracks = tuple(_dated(track, studies[:place], alignments[:place]) for track in tracks)
        history.append(StudyTracks(study_uid=study.study_uid, study_date=study.study_date, tracks=tracks))
    return tuple(history)


def _names(history: Sequence[StudyTracks]) -> set[str]:
    """Return every tracking identifier so far, also of lesions that have merged into others."""
    tracks = [track for study in history for track in study.tracks]
    return {track.tracking_id for track in tracks} | {one.tracking_id for track in tracks for one in track.absorbed}


def _check(studies: Sequence[Timepoint], alignments: Sequence[Alignment]) -> None:
    if len(alignments) != max(len(studies) - 1, 0):
        raise ValueError(
            f"{len(studies)} studies need {max(len(studies) - 1, 0)} alignments, each with the study before, but"
            f" {len(alignments)} are given."
        )
    twice = [uid for uid, count in Counter(study.study_uid for study in studies).items() if count > 1]
    if twice:
        raise ValueError(f"Study {twice[0]} is given twice; give each study once, under its own study_uid.")
    for earlier, later in pairwise(studies):
        if later.study_date < earlier.study_date:
            raise ValueError(
                f"The study of {later.study_date} comes after that of {earlier.study_date}; give the oldest first."
            )


def _dated(track: LesionTrack, earlier: Sequence[Timepoint], alignments: Sequence[Alignment]) -> LesionTrack:
    """Call a lesion new if the prior study does not show its place, but an older one does, without the lesion."""
    if track.state != TrackState.BASELINE:
        return track
    point_mm = np.array([track.current[0].centroid_mm])
    for study, alignment in zip(reversed(earlier), reversed(alignments), strict=True):
        if alignment.kind == RegistrationKind.NONE:
            break
        point_mm = alignment.transform.to_moving(point_mm)
        if covers(labels_of(study), point_mm[0]):
            remark = f"verify: new since {study.study_date}; the prior study does not show this place"
            return replace(track, state=TrackState.NEW, remarks=(remark,))
    return track
