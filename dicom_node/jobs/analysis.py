"""The heavy steps: images to lesions, and lesions of two studies to a comparison."""

from dataclasses import dataclass, replace

from highdicom import Volume

from dicom_node.config import load_configuration
from dicom_node.errors import InvalidStudyError
from dicom_node.jobs.acceptance import AcceptedStudy
from dicom_node.jobs.artefacts import save_volume
from dicom_node.jobs.brains import brain_of
from dicom_node.jobs.course import Course, Past, criteria_of, first_visit, past_in_reports, tell_course
from dicom_node.jobs.job import StudyJob
from dicom_node.jobs.model import model_of, threads_of
from dicom_node.jobs.places import details_of
from dicom_node.jobs.second_look import look_again
from dicom_node.jobs.segmented import SegmentedStudy, timepoint_of
from dicom_node.jobs.sequences import align_further
from dicom_node.results.course_record import EarlierReport
from dicom_node.results.prior_reading import PriorResults, read_prior_results
from dicom_node.studies.comparability import compare_acquisitions
from dicom_node.studies.prior import PriorChoice, PriorStudy
from dicom_node.studies.volumes import SeriesVolume, read_volume
from inference.segmentation import segment
from tracking.comparison import Comparison, compare
from tracking.detail import LesionDetail
from tracking.identity import baseline_identities
from tracking.lesion import Lesion
from tracking.measurement import measure_lesions
from tracking.registration import Registration, RegistrationKind, register
from tracking.timepoint import MRSequence, Timepoint
from tracking.track import EmptySite, KnownLesion
from tracking.visit import visit_of_study

# What cannot be laid on each other must not be judged together: a lesion that is not recognised would seem gone.
UNCONNECTED = Past(remarks=("The course begins with this study, as the prior study could not be registered.",))


@dataclass(frozen=True, kw_only=True)
class PriorLesions:
    """The prior with its lesions and their identities.

    Attributes
    ----------
    known
        Every identity followed so far, also of lesions that were gone by then.
    past
        The visits up to the prior.
    days_since_baseline
        Days from the patient's first study to the prior.
    """

    study: SegmentedStudy
    known: tuple[KnownLesion, ...]
    past: Past
    days_since_baseline: int


@dataclass(frozen=True, kw_only=True)
class PriorReading:
    """What came of reading the prior.

    Attributes
    ----------
    lesions
        None without a prior, or with one whose images cannot be analysed.
    remarks
        What the reader must know of it.
    """

    lesions: PriorLesions | None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ComparedStudy:
    """The current study, compared with its prior or standing alone.

    Attributes
    ----------
    empty_sites
        By tracking UID where lesions were that are not there any more, in the current frame of reference.
    details
        By tracking UID where each lesion lies, and notes.
    course
        What is said of all visits together.
    prior_report
        The report that the identities come from.
    """

    current: SegmentedStudy
    comparison: Comparison
    empty_sites: dict[str, tuple[EmptySite, ...]]
    details: dict[str, LesionDetail]
    course: Course
    days_since_baseline: int
    prior_report: EarlierReport | None = None


def segment_study(job: StudyJob, study: AcceptedStudy) -> SegmentedStudy:
    """Find brain and lesions of the received study.

    Raises
    ------
    InvalidGeometryError
        The T1c is no regular volume.
    InvalidStudyError
        It shows no brain.
    """
    source = PriorStudy(study=study.study, t1c=study.t1c, physics=study.physics, chosen=study.selection.chosen)
    return _segment(job, "current", source)


def read_or_segment_prior(job: StudyJob, prior: PriorChoice) -> PriorReading:
    """Take the prior's lesions from its own SEG and SR or, where that cannot be, find them now.

    A prior that cannot be analysed costs the comparison, never the report of the current study.
    """
    if prior.prior is None:
        return PriorReading(lesions=None)
    if prior.segmentation_path is None and prior.report_path is None:
        return _segment_prior(job, prior.prior, "The prior had no results yet; its lesions were found only now.")
    try:
        return PriorReading(lesions=_read_prior(job, prior, prior.prior))
    except InvalidStudyError as error:
        remark = f"The prior's own results were not used, so earlier identities of lesions are lost: {error}"
        return _segment_prior(job, prior.prior, remark)


def compare_studies(
    job: StudyJob, study: AcceptedStudy, current: SegmentedStudy, fetched: PriorChoice, reading: PriorReading
) -> ComparedStudy:
    """Register the prior, match its lesions with today's and say what became of each."""
    now, told = timepoint_of(current), (*study.remarks, *current.remarks, *fetched.reasons, *reading.remarks)
    prior = reading.lesions
    if prior is None:
        return _compared(job, current, compare(now, current.measured, remarks=told), Past(), {})
    before = timepoint_of(prior.study)
    registration = register(now, before, threads=threads_of(job))
    current, kept = look_again(job, current, before, registration)
    now = timepoint_of(current)
    remarks = (*told, *compare_acquisitions(current.physics, prior.study.physics), *kept)
    taken = {one.tracking_id for visit in prior.past.visits for one in visit.sightings}
    comparison = compare(now, current.measured, before, prior.known, registration, taken=taken, remarks=remarks)
    past = UNCONNECTED if registration.kind == RegistrationKind.NONE else prior.past
    compared = _compared(job, current, comparison, past, _empty_sites(comparison, registration))
    return replace(compared, days_since_baseline=prior.days_since_baseline + (comparison.interval_days or 0))


def _compared(
    job: StudyJob,
    current: SegmentedStudy,
    comparison: Comparison,
    past: Past,
    empty_sites: dict[str, tuple[EmptySite, ...]],
) -> ComparedStudy:
    """Add what is said of each lesion by itself, and of all visits together."""
    now, options = timepoint_of(current), load_configuration(job.configuration_path).response
    criteria = criteria_of(options)
    details, remarks = details_of(now, comparison, empty_sites, criteria, threads=threads_of(job))
    return ComparedStudy(
        current=current,
        comparison=replace(comparison, remarks=(*comparison.remarks, *remarks)),
        empty_sites=empty_sites,
        details=details,
        course=tell_course(past, visit_of_study(now, comparison.tracks), criteria),
        days_since_baseline=0,
        prior_report=past.report,
    )


def _empty_sites(comparison: Comparison, registration: Registration) -> dict[str, tuple[EmptySite, ...]]:
    """Return where lesions were that are not there any more, in the current study; nothing where that is unknown."""
    if registration.kind == RegistrationKind.NONE:
        return {}
    return {track.tracking_uid: track.empty_sites for track in comparison.tracks if track.empty_sites}


def _segment(job: StudyJob, name: str, source: PriorStudy) -> SegmentedStudy:
    """Find brain and lesions on a T1c and leave them as files called after ``name``."""
    model = model_of(job)
    read = read_volume(source.t1c)
    brain = _brain(job, read.volume)
    further = align_further(
        source.chosen, read.volume, brain, channels=model.manifest.channels, threads=threads_of(job)
    )
    timepoint = Timepoint(
        study_uid=source.study.study_uid,
        study_date=source.study.study_date,
        images={MRSequence.T1C: read.volume, **further.images},
        brain=brain,
    )
    found = segment(timepoint, model)
    measured = measure_lesions(found.lesions, found.confidence, tissues=found.tissues)
    kept = _keep(job, name, source, read, _Findings(brain=brain, lesions=found.lesions, measured=measured))
    return replace(
        kept,
        probability=save_volume(job.work_folder / f"{name}-probability.npz", found.probability),
        tissues=None if found.tissues is None else save_volume(job.work_folder / f"{name}-tissues.npz", found.tissues),
        further={
            sequence: save_volume(job.work_folder / f"{name}-{sequence}.npz", image)
            for sequence, image in further.images.items()
        },
        remarks=further.remarks,
    )


def _segment_prior(job: StudyJob, found: PriorStudy, remark: str) -> PriorReading:
    try:
        study = _segment(job, "prior", found)
    except InvalidStudyError as error:
        day = found.study.study_date
        return PriorReading(lesions=None, remarks=(f"The study of {day} could not be compared with: {error}",))
    known = baseline_identities(study.study_uid, study.measured)
    past = Past(visits=(first_visit(timepoint_of(study), known),))
    return PriorReading(
        lesions=PriorLesions(study=study, known=known, past=past, days_since_baseline=0),
        remarks=(remark,),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Findings:
    brain: Volume
    lesions: Volume
    measured: tuple[Lesion, ...]


def _keep(job: StudyJob, name: str, source: PriorStudy, read: SeriesVolume, findings: _Findings) -> SegmentedStudy:
    return SegmentedStudy(
        study_uid=source.study.study_uid,
        study_date=source.study.study_date,
        physics=source.physics,
        t1c_paths=tuple(dict.fromkeys(read.paths)),
        t1c=save_volume(job.work_folder / f"{name}-t1c.npz", read.volume),
        brain=save_volume(job.work_folder / f"{name}-brain.npz", findings.brain),
        lesions=save_volume(job.work_folder / f"{name}-lesions.npz", findings.lesions),
        measured=findings.measured,
    )


def _brain(job: StudyJob, t1c: Volume) -> Volume:
    folder = load_configuration(job.configuration_path).node.data_dir / "cache"
    return brain_of(t1c, cache_folder=folder, threads=threads_of(job))


def _read_prior(job: StudyJob, prior: PriorChoice, found: PriorStudy) -> PriorLesions:
    """Take the prior's lesions from its own SEG and SR; its brain is needed for registration.

    Raises
    ------
    InvalidStudyError
        The earlier results cannot be read, or do not belong to the prior's images.
    """
    read = read_volume(found.t1c)
    results = read_prior_results(prior.segmentation_path, prior.report_path, read.volume)
    findings = _Findings(
        brain=_brain(job, read.volume), lesions=results.lesions, measured=measure_lesions(results.lesions)
    )
    study, known = _keep(job, "prior", found, read, findings), _known_lesions(results, findings.measured)
    return PriorLesions(
        study=study,
        known=known,
        past=_past(prior, study, known),
        days_since_baseline=results.days_since_baseline or 0,
    )


def _past(prior: PriorChoice, study: SegmentedStudy, known: tuple[KnownLesion, ...]) -> Past:
    """Return the visits up to the prior: as reports record them, else the prior's alone, from its SEG."""
    past = Past()
    if prior.report_path is not None:
        past = past_in_reports(prior.report_path, prior.earlier_report_paths, study.study_uid)
    return past if past.visits else replace(past, visits=(first_visit(timepoint_of(study), known),))


def _known_lesions(results: PriorResults, measured: tuple[Lesion, ...]) -> tuple[KnownLesion, ...]:
    """Join what earlier results call their lesions with what was measured of them, and add those gone by then."""
    by_number = {lesion.number: lesion for lesion in measured}
    present = [
        KnownLesion(
            tracking_uid=one.tracking_uid,
            tracking_id=one.tracking_id,
            lesion=by_number[one.number],
            last_centroid_mm=by_number[one.number].centroid_mm,
            last_volume_mm3=by_number[one.number].total_volume_mm3,
        )
        for one in results.identities
    ]
    absent = [
        KnownLesion(
            tracking_uid=one.tracking_uid,
            tracking_id=one.tracking_id,
            lesion=None,
            last_centroid_mm=one.site_mm,
            last_volume_mm3=one.volume_mm3,
        )
        for one in results.absent
    ]
    return (*present, *absent)
