"""The model of the node's configuration, for the steps of a job."""

import os

from dicom_node.config import load_configuration
from dicom_node.jobs.job import StudyJob
from inference.models import load_model, read_model
from inference.tissue_model import ModelDescription, TissueModel
from inference.weights import default_manifest_path


def description_of(job: StudyJob) -> ModelDescription:
    """Return what is known of the model without loading it."""
    return read_model(load_configuration(job.configuration_path).model.manifest or default_manifest_path())


def model_of(job: StudyJob) -> TissueModel:
    """Return the model, ready to run; it stays loaded for the next step and job of this process."""
    configuration = load_configuration(job.configuration_path)
    return load_model(
        configuration.model.manifest or default_manifest_path(),
        threads=threads_of(job),
        cache_folder=configuration.node.data_dir / "cache",
    )


def threads_of(job: StudyJob) -> int:
    """Return how many processor threads a heavy step may use."""
    return load_configuration(job.configuration_path).model.threads or os.cpu_count() or 1
