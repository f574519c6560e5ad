"""Everything that a demonstration leaves to tell: the terminal, the report and the JSON file are made from it alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dicom_node.demo.followup import Figures, StudyResult


@dataclass(frozen=True, kw_only=True)
class SeriesRole:
    """What the node took a series for, and why."""

    series_number: int | None
    description: str
    role: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class JobReport:
    """A job as ``dicom-node jobs --json`` lists it.

    Attributes
    ----------
    state
        waiting, running, done or attention.
    step, progress, reason
        Where it is, how far (0 to 1), and why it needs attention.
    series, remarks, result_uids, timings_s
        The outcome of a finished job.
    """

    study_uid: str
    state: str
    step: str = ""
    progress: float = 0.0
    reason: str = ""
    series: tuple[SeriesRole, ...] = ()
    remarks: tuple[str, ...] = ()
    result_uids: Mapping[str, str] = field(default_factory=dict)
    timings_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class DemoOutcome:
    """One run of the demonstration.

    Attributes
    ----------
    seed, patient_id
        Which synthetic patient.
    results, jobs
        One per study, in order of date.
    figures
        Over all studies.
    timings_s
        Seconds of the demonstration's own stages, in order.
    """

    seed: int
    patient_id: str
    results: Sequence[StudyResult]
    jobs: Sequence[JobReport]
    figures: Figures
    timings_s: Mapping[str, float]
