"""What the node reported, as plain values: the only thing of the node that the comparison with the truth sees."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from highdicom import Volume

Point = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One lesion identity in one study, as SEG and SR state it.

    Attributes
    ----------
    tracking_uid, tracking_id
        Identity of the lesion (0062,0021 and 0062,0020).
    state
        What became of it, in the words of `tracking.matching.TrackState`.
    number
        Its value in `StudyFindings.labels`; 0 when the lesion has no segment any more.
    volume_mm3, longest_diameter_mm, perpendicular_diameter_mm
        As the report gives them; 0 for a resolved lesion.
    prior_volume_mm3, change_percent
        As the report gives them; None without a prior lesion.
    centroid_mm
        Centre of the segment, or the site of a resolved lesion; LPS mm; None when unknown.
    colour
        ``#rrggbb`` from Recommended Display CIELab Value (0062,000D).
    remarks
        Doubts about this lesion, its place in words and notes on its size.
    """

    tracking_uid: str
    tracking_id: str
    state: str
    number: int
    volume_mm3: float
    longest_diameter_mm: float = 0.0
    perpendicular_diameter_mm: float = 0.0
    prior_volume_mm3: float | None = None
    change_percent: float | None = None
    centroid_mm: Point | None = None
    colour: str = "#888888"
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyFindings:
    """All that SEG and SR of one study say.

    Attributes
    ----------
    study_uid, study_date
        Of the study that carries them.
    findings
        One per tracking UID, in order of tracking ID.
    labels
        uint16 volume (slice, row, column) in LPS mm: 0 background, else `Finding.number`; None without a SEG.
    remarks
        Sentences for the radiologist that concern the whole study.
    course
        Sentences on all studies so far: response, and how fast things go.
    objects
        SOP Instance UIDs read, by kind (``"SEG"``, ``"SR"``).
    """

    study_uid: str
    study_date: date
    findings: tuple[Finding, ...]
    labels: Volume | None
    remarks: tuple[str, ...] = ()
    course: tuple[str, ...] = ()
    objects: Mapping[str, str] = field(default_factory=dict)

    def by_uid(self, tracking_uid: str) -> Finding | None:
        """Return the finding with this tracking UID, or None."""
        return next((finding for finding in self.findings if finding.tracking_uid == tracking_uid), None)

    @property
    def segmented(self) -> tuple[Finding, ...]:
        """The findings that have voxels in this study."""
        return tuple(finding for finding in self.findings if finding.number)
