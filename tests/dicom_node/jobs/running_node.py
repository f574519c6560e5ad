"""A data folder, studies put into it as the listener would, and worker processes to kill."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from dicom_node.jobs.table import JobRecord, read_jobs

QUIET_TIME_S = 1.0
_REPOSITORY = Path(__file__).parents[3]
_WORKER = "tests.dicom_node.jobs.story_worker"


@dataclass
class Node:
    """A data folder and the worker process on it."""

    data_dir: Path
    options: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    def receive(self, study_uid: str, *, instances: range, date: str = "20240101", patient: str = "P1") -> None:
        """File instances of a study as the listener does: written aside, then renamed."""
        folder = self.data_dir / "incoming" / study_uid
        folder.mkdir(parents=True, exist_ok=True)
        for number in instances:
            instance = mr_instance(study_uid, number, date=date, patient=patient)
            partial = self.data_dir / "partial"
            instance.save_as(partial, enforce_file_format=True)
            partial.rename(folder / f"{instance.SOPInstanceUID}.dcm")

    def behave(self, study_uid: str, **behaviour: str) -> None:
        """Say what goes wrong in a job of this study."""
        folder = self.data_dir / "behaviour"
        folder.mkdir(exist_ok=True)
        (folder / f"{study_uid}.json").write_text(json.dumps(behaviour), "ascii")

    def start(self) -> None:
        """Start a worker process."""
        environment = os.environ | {
            "PYTHONPATH": str(_REPOSITORY),
            "DICOM_NODE_NODE__DATA_DIR": str(self.data_dir),
            "DICOM_NODE_NODE__QUIET_TIME_S": str(QUIET_TIME_S),
        }
        self.process = subprocess.Popen([sys.executable, "-m", _WORKER], env=environment | self.options)

    def kill(self) -> None:
        """End the worker process as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def jobs(self) -> dict[str, JobRecord]:
        """Return the latest revision of each study's job."""
        records = sorted(read_jobs(self.data_dir / "jobs" / "jobs.sqlite"), key=lambda record: record.received_at_s)
        return {record.study_uid: record for record in records}

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 40) -> None:
        """Wait until something has happened, and fail with the jobs as they are where it does not."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, list(self.jobs().values())
            time.sleep(0.05)

    def wait_for_state(self, study_uid: str, state: str) -> JobRecord:
        """Wait until the study's job is in a state."""
        self.wait_for(lambda: study_uid in self.jobs() and self.jobs()[study_uid].state == state)
        return self.jobs()[study_uid]

    def log(self) -> str:
        """Return the worker's log."""
        return (self.data_dir / "log" / "worker.log").read_text("utf-8")


def mr_instance(
    study_uid: str, number: int, *, date: str = "20240101", patient: str = "P1", manufacturer: str = "ACME"
) -> Dataset:
    """Make an MR header without pixels, which is all that the engine reads."""
    instance = Dataset()
    instance.SOPClassUID = MRImageStorage
    instance.SOPInstanceUID = f"{study_uid}.1.{number}"
    instance.StudyInstanceUID = study_uid
    instance.SeriesInstanceUID = f"{study_uid}.1"
    instance.Modality = "MR"
    instance.Manufacturer = manufacturer
    instance.PatientID = patient
    instance.PatientName = "Doe^Jane"
    instance.StudyDate, instance.StudyTime = date, "101500"
    instance.file_meta = FileMetaDataset()
    instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    instance.file_meta.MediaStorageSOPClassUID = instance.SOPClassUID
    instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    return instance
