"""A patient's visits, put together from earlier reports and today's study, and what they say."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from dicom_node.config import ResponseOptions
from dicom_node.errors import InvalidStudyError
from dicom_node.results.course_record import EarlierReport, read_visits
from tracking.course import describe_course
from tracking.response import Criteria
from tracking.timepoint import Timepoint
from tracking.track import KnownLesion, LesionTrack, TrackState
from tracking.visit import Visit, visit_of_study


@dataclass(frozen=True, kw_only=True)
class Past:
    """The visits before today's.

    Attributes
    ----------
    visits
        In order of date.
    report
        The report of the last of them; None if no report holds these visits, so that today's has to.
    remarks
        What of the past is missing.
    """

    visits: tuple[Visit, ...] = ()
    report: EarlierReport | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Course:
    """What is said of all visits together, and what is recorded for the next one.

    Attributes
    ----------
    sentences
        For the reader.
    recorded
        Visits that today's report records.
    """

    sentences: tuple[str, ...]
    recorded: tuple[Visit, ...]


def past_in_reports(report_path: Path, earlier_paths: Sequence[Path], study_uid: str) -> Past:
    """Read the visits that a prior's report and those before it hold.

    Parameters
    ----------
    report_path, earlier_paths
        The prior's report, and those that it goes back to, the latest first.
    study_uid
        Of the prior.

    Returns
    -------
    Past
        Without visits if the prior's report holds none (it is from an earlier version). A damaged report ends the
        course, and is told.
    """
    visits: list[Visit] = []
    remarks: tuple[str, ...] = ()
    for path in (report_path, *earlier_paths):
        try:
            visits = [*read_visits(dcmread(path)), *visits]  # the latest last, also of one day
        except (InvalidDicomError, InvalidStudyError, OSError) as error:
            since = f" on {visits[0].day}" if visits else ""
            remarks = (f"The course begins only{since}, as an earlier report cannot be read: {error}",)
            break
    report = EarlierReport(study_uid=study_uid, sop_instance_uid=report_path.stem) if visits else None
    return Past(visits=tuple(sorted(visits, key=lambda visit: visit.day)), report=report, remarks=remarks)


def first_visit(study: Timepoint, known: Sequence[KnownLesion]) -> Visit:
    """Make the visit of a study that has no record: nothing is known of the time before it."""
    parts: dict[str, list[KnownLesion]] = {}
    for one in known:
        if one.lesion is not None:
            parts.setdefault(one.tracking_uid, []).append(one)
    tracks = [
        LesionTrack(
            tracking_uid=uid,
            tracking_id=group[0].tracking_id,
            state=TrackState.BASELINE,
            prior=(),
            current=tuple(one.lesion for one in group if one.lesion is not None),
            confidence=1.0,
        )
        for uid, group in parts.items()
    ]
    return visit_of_study(study, tracks)


def criteria_of(options: ResponseOptions) -> Criteria:
    """Return the options of RANO-BM that the configuration sets."""
    return Criteria(immunotherapy=options.immunotherapy, small_lesions=options.small_lesions)


def tell_course(past: Past, today: Visit, criteria: Criteria) -> Course:
    """Say what all visits together mean; of several studies of one day the latest stands for it."""
    before = {visit.day: visit for visit in past.visits if visit.day < today.day}
    twice = f"Of several studies of {today.day} only this one is part of the course."
    remarks = (*past.remarks, *([twice] if any(visit.day == today.day for visit in past.visits) else []))
    return Course(
        sentences=(*remarks, *describe_course((*before.values(), today), criteria)),
        recorded=(today,) if past.report is not None else (*before.values(), today),
    )
