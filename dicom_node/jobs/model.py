"""The model of the node's configuration, for the steps of a job."""

import os
from functools import lru_cache
from pathlib import Path

from dicom_node.config import load_configuration
from dicom_node.jobs.job import StudyJob
from inference.models import load_model, read_model, verify_model
from inference.tissue_model import ModelDescription, TissueModel
from inference.weights import default_manifest_path


def description_of(job: StudyJob) -> ModelDescription:
    """Return what is known of the model without loading it."""
    return read_model(load_configuration(job.configuration_path).model.manifest or default_manifest_path())


def model_of(job: StudyJob) -> TissueModel:
    """Return the model, loaded; it stays so for the next step and job of this process."""
    configuration = load_configuration(job.configuration_path)
    path = configuration.model.manifest or default_manifest_path()
    # A model that was changed on disk has another checksum, and is loaded anew.
    return _loaded(path, verify_model(path).sha256, threads_of(job), configuration.node.data_dir / "cache")


@lru_cache(maxsize=1)
def _loaded(path: Path, sha256: str, threads: int, cache_folder: Path) -> TissueModel:  # noqa: ARG001 - part of the key
    return load_model(path, threads=threads, cache_folder=cache_folder)


def threads_of(job: StudyJob) -> int:
    """Return how many processor threads a heavy step may use."""
    return load_configuration(job.configuration_path).model.threads or os.cpu_count() or 1
