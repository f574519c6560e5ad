"""The way of a study, as a radiologist would tell it; this file alone knows the order of the steps."""

from dicom_node.jobs.acceptance import accept_study
from dicom_node.jobs.analysis import compare_studies, read_or_segment_prior, segment_study
from dicom_node.jobs.delivery import deliver_results, write_results
from dicom_node.jobs.history import fetch_prior
from dicom_node.jobs.job import Outcome, StepRunner, StudyJob

STEP_COUNT = 7


def follow_up(job: StudyJob, step: StepRunner) -> Outcome:
    """Analyse one received study and put SEG and SR beside it in the archive.

    Parameters
    ----------
    job
        The study.
    step
        Runs each step; every step takes values and returns a value, and can be repeated.

    Returns
    -------
    Outcome
        What was found, delivered and verified.

    Raises
    ------
    NodeError
        With the reason why the study cannot be analysed or its results not be delivered.
    """
    study = step("select series", accept_study, job, heavy=True)
    prior = step("find prior", fetch_prior, job, study, heavy=True)
    current = step("segment", segment_study, job, study, heavy=True)
    before = step("read prior lesions", read_or_segment_prior, job, prior, heavy=True)
    compared = step("compare", compare_studies, job, study, current, prior, before, heavy=True)
    results = step("write SEG and SR", write_results, job, study, compared)
    delivered = step("deliver", deliver_results, job, results)
    return Outcome(
        study_uid=job.study_uid,
        prior_study_uid=compared.comparison.prior_study_uid,
        series=study.selection.decisions,
        result_uids=delivered,
        lesion_count=sum(len(track.current) for track in compared.comparison.tracks),
        remarks=compared.comparison.remarks,
    )
