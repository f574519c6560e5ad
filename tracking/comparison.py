"""Two studies of one patient, compared lesion by lesion."""

from dataclasses import dataclass
from datetime import date

from tracking.matching import LesionTrack


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
    remarks
        What the radiologist must know: no prior, poor registration, studies that compare badly, what is not assessed.
    """

    current_study_uid: str
    current_date: date
    prior_study_uid: str | None
    prior_date: date | None
    tracks: tuple[LesionTrack, ...]
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
