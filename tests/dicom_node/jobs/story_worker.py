"""A worker process that runs the small pipeline of `story`; configured by environment variables."""

from dicom_node.config import load_configuration
from dicom_node.jobs.worker import WorkerParts, run_worker
from dicom_node.log import set_up_logging
from tests.dicom_node.jobs import story

if __name__ == "__main__":
    configuration = load_configuration()
    set_up_logging(file=configuration.log_folder / "worker.log")
    run_worker(configuration, None, WorkerParts(pipeline=story.follow, steps_total=len(story.STEPS)))
