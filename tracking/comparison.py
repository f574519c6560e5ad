"""Two studies of one patient, compared lesion by lesion."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date

from tracking.lesion import Lesion
from tracking.matching import baseline_tracks, match
from tracking.measurement import (
    equivalent_diameter_mm,
    minimum_detectable_change_percent,
    within_measurement_error,
)
from tracking.registration.result import Registration, RegistrationKind
from tracking.timepoint import Timepoint, labels_of
from tracking.track import KnownLesion, LesionTrack

NO_PRIOR = "No prior study: lesions are listed as found today."
NOT_ASSESSED = (
    "Not assessed: leptomeningeal, dural and calvarial disease, and the walls of resection cavities."
    " Every finding needs a radiologist's confirmation."
)
POOR_SIGMA_MM = 2.0  # beyond it small neighbouring lesions can be confused


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The result for one study.

    Attributes
    ----------
    current_study_uid, prior_study_uid
        Study Instance UIDs; the prior is None when none was found.
    current_date, prior_date
        Study dates.
    tracks
        One per lesion identity, in order of ``tracking_id``.
    slice_spacing_mm, prior_slice_spacing_mm
        Between the slices of the T1c of each study; the prior's is None without one.
    remarks
        What the radiologist must know: no prior, poor registration, studies that compare badly, what is not assessed.
    """

    current_study_uid: str
    current_date: date
    prior_study_uid: str | None
    prior_date: date | None
    tracks: tuple[LesionTrack, ...]
    slice_spacing_mm: float
    prior_slice_spacing_mm: float | None = None
    remarks: tuple[str, ...] = ()

    @property
    def interval_days(self) -> int | None:
        """Days from the prior to the current study; None without a prior."""
        return (self.current_date - self.prior_date).days if self.prior_date else None

    @property
    def current_volume_mm3(self) -> float:
        """Total lesion volume today, mm³."""
        return sum(track.current_volume_mm3 for track in self.tracks)

    @property
    def prior_volume_mm3(self) -> float:
        """Total lesion volume in the prior study, mm³."""
        return sum(track.prior_volume_mm3 for track in self.tracks)

    def has_changed(self, track: LesionTrack) -> bool:
        """Tell whether a lesion's volume has changed by more than measurement error, or is gone; a new one has not."""
        prior_mm3, current_mm3 = track.prior_volume_mm3, track.current_volume_mm3
        if not prior_mm3 or not current_mm3:
            return bool(prior_mm3)
        return not within_measurement_error(
            prior_mm3, current_mm3, self.slice_spacing_mm, prior_slice_spacing_mm=self.prior_slice_spacing_mm
        )


def compare(  # noqa: PLR0913 - two studies, and what is known of each
    current: Timepoint,
    current_lesions: Sequence[Lesion],
    prior: Timepoint | None = None,
    known: Sequence[KnownLesion] = (),
    registration: Registration | None = None,
    *,
    taken: Collection[str] = (),
    remarks: Sequence[str] = (),
) -> Comparison:
    """Say what became of every lesion since the prior study.

    Parameters
    ----------
    current, current_lesions
        Today's study with its label volume, and the lesions measured on it.
    prior, known, registration
        The prior study with its label volume, all identities known so far, and the registration of the prior (moving)
        to the current study (fixed). Without a prior all lesions are a baseline.
    taken
        Further tracking identifiers that the patient's lesions have had (see `match`).
    remarks
        What else the radiologist must know, for example how badly the two acquisitions compare; told first.

    Raises
    ------
    ValueError
        If a prior comes without registration, or its parts do not belong together (see `match`).
    """
    if prior is None:
        return _comparison(current, None, baseline_tracks(current.study_uid, current_lesions), (*remarks, NO_PRIOR))
    if registration is None:
        raise ValueError(f"Prior study {prior.study_uid} comes without a registration; register it first.")
    tracks = match(current, current_lesions, prior, known, registration, taken=taken)
    plain = _comparison(current, prior, tracks, (*remarks, *_registration_remarks(registration)))
    return replace(plain, tracks=tuple(_with_change_remark(plain, track) for track in tracks))


def _comparison(
    current: Timepoint, prior: Timepoint | None, tracks: tuple[LesionTrack, ...], remarks: tuple[str, ...]
) -> Comparison:
    return Comparison(
        current_study_uid=current.study_uid,
        current_date=current.study_date,
        prior_study_uid=prior.study_uid if prior else None,
        prior_date=prior.study_date if prior else None,
        tracks=tracks,
        slice_spacing_mm=float(labels_of(current).spacing[0]),
        prior_slice_spacing_mm=float(labels_of(prior).spacing[0]) if prior else None,
        remarks=(*remarks, NOT_ASSESSED),
    )


def _registration_remarks(registration: Registration) -> tuple[str, ...]:
    """Tell what failed, and the error of position where it is large."""
    if registration.kind == RegistrationKind.NONE or registration.sigma_mm <= POOR_SIGMA_MM:
        return registration.remarks
    poor = (
        f"The prior study is registered to within about {registration.sigma_mm:.1f} mm only;"
        " small lesions close to each other may be confused."
    )
    return (*registration.remarks, poor)


def _with_change_remark(comparison: Comparison, track: LesionTrack) -> LesionTrack:
    """Say so when a lesion has changed no more than two measurements of an unchanged one may differ."""
    prior_mm3, current_mm3 = track.prior_volume_mm3, track.current_volume_mm3
    if not prior_mm3 or not current_mm3 or comparison.has_changed(track):
        return track
    limit = minimum_detectable_change_percent(
        equivalent_diameter_mm(min(prior_mm3, current_mm3)),
        comparison.slice_spacing_mm,
        prior_slice_spacing_mm=comparison.prior_slice_spacing_mm,
    )
    remark = f"change is within measurement error (a factor of {1 + limit / 100:.2f} at this size)"
    return replace(track, remarks=(*track.remarks, remark))
