"""The second step: what the archive knows of the patient's past."""

from dicom_node.config import load_configuration, open_configured_archive
from dicom_node.jobs.acceptance import AcceptedStudy
from dicom_node.jobs.job import StudyJob
from dicom_node.studies.prior import PriorChoice, find_prior


def fetch_prior(job: StudyJob, study: AcceptedStudy) -> PriorChoice:
    """Find the patient's latest earlier study with a usable T1c, and fetch it with its results.

    Raises
    ------
    IncompleteFetchError, ArchiveUnavailableError
        The archive does not give what it says it has, or does not answer.
    """
    archive = open_configured_archive(load_configuration(job.configuration_path))
    return find_prior(archive, study.study, job.work_folder / "prior")
