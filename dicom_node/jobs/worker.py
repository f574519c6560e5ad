"""The worker: it turns complete studies into jobs, decides which may run, and tidies up behind them.

Design rule: it may be killed at any moment. Whatever it needs to know after that lies in the incoming folder, in the
engine's database or in the table of jobs, and each round of its loop can be repeated; stopping it is no different
from killing it.
"""

import logging
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from dicom_node.config import Configuration
from dicom_node.errors import NodeError
from dicom_node.jobs.arrival import Arrival, StudyCard, read_arrival
from dicom_node.jobs.assembly import Assembly, CompleteStudy
from dicom_node.jobs.engine import Engine, EngineSettings, Pipeline
from dicom_node.jobs.failure import is_disk_full
from dicom_node.jobs.job import StudyJob
from dicom_node.jobs.lock import lock_folder
from dicom_node.jobs.reserve import DiskReserve
from dicom_node.jobs.retention import finish_removals, remove_study
from dicom_node.jobs.table import UNFINISHED, JobRecord, JobTable

_ROUND_S = 0.5
_RECONCILE_S = 5.0
_TIDY_S = 3600.0
_STUCK_ROUNDS = 3
_DAY_S = 86400.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WorkerParts:
    """What the worker is made of besides its configuration.

    Attributes
    ----------
    pipeline
        The story that each job runs.
    steps_total
        Number of steps on its longest way; 0 when unknown.
    stated_count
        Asks the archive how many instances a study has; None when it cannot tell.
    """

    pipeline: Pipeline
    steps_total: int = 0
    stated_count: Callable[[str], int | None] = lambda _: None


class StuckError(NodeError):
    """A job is unfinished but no thread works on it: only a new process can take it up again."""


class Worker:
    """One worker on one data folder."""

    def __init__(self, configuration: Configuration, configuration_path: Path | None, parts: WorkerParts) -> None:
        self._configuration = configuration
        self._configuration_path = configuration_path
        configuration.incoming_folder.mkdir(parents=True, exist_ok=True)
        self._table = JobTable(table_path(configuration))
        self._reserve = DiskReserve(configuration.jobs_folder / "reserve")
        self._engine = Engine(_engine_settings(configuration, parts), self._table, on_disk_full=self._reserve.release)
        self._assembly = Assembly(
            configuration.incoming_folder,
            quiet_time_s=configuration.node.quiet_time_s,
            seen=self._table.seen_studies(),
            stated_count=parts.stated_count,
        )
        self._submitted: set[str] = set()
        self._idle_rounds: dict[str, int] = {}
        self._reconciled_at_s = self._tidied_at_s = float("-inf")

    def start(self) -> None:
        """Take up what an earlier process left."""
        finish_removals(self._configuration.incoming_folder)
        self._engine.launch()
        for record in self._table.records("running"):
            self._table.mark_waiting(record.job_id, "The node was restarted; the job goes on where it was.")

    def round(self) -> None:
        """Do all that is due now.

        Raises
        ------
        StuckError
            The process must be replaced by a new one.
        """
        for study in self._assembly.poll():
            self._admit(study)
        self._dispatch()
        now_s = time.monotonic()
        if now_s - self._reconciled_at_s > _RECONCILE_S:
            self._reserve.hold()
            self._reconcile()
            self._reconciled_at_s = now_s
        if now_s - self._tidied_at_s > _TIDY_S:
            self._tidy()
            self._tidied_at_s = now_s

    def note_trouble(self, error: Exception) -> None:
        """Make room for the databases when the disk is full."""
        if is_disk_full(error):
            self._reserve.release()

    def _admit(self, study: CompleteStudy) -> None:
        arrival = read_arrival(study.folder)
        if arrival.instance_count:
            self._admit_job(arrival)
        else:
            _log.info("study %s holds nothing but results of this node: no job", arrival.study_uid)
        self._table.mark_seen(arrival.study_uid, study.folder_mtime_ns)
        self._assembly.close(study)

    def _admit_job(self, arrival: Arrival) -> None:
        record = JobRecord(
            job_id=arrival.job_id,
            study_uid=arrival.study_uid,
            patient_key=arrival.card.patient_key,
            study_time=arrival.card.study_time,
            instance_count=arrival.instance_count,
            state="waiting",
            received_at_s=time.time(),
        )
        if self._table.add(record):
            _log.info("job %s: study complete with %d instances", record.job_id, record.instance_count)
        elif self._table.get(record.job_id).state == "attention":
            _log.info("job %s: its study was sent again, so it is tried again", record.job_id)
            self._table.mark_waiting(record.job_id, "The study was sent again.")
            self._submitted.discard(record.job_id)
        self._replace_earlier_revisions(record)

    def _replace_earlier_revisions(self, record: JobRecord) -> None:
        for earlier in self._table.of_study(record.study_uid):
            if earlier.job_id != record.job_id and earlier.state in (*UNFINISHED, "attention"):
                reason = f"Replaced by job {record.job_id}, as instances came later: {record.instance_count} in all."
                self._table.mark_replaced(earlier.job_id, reason)
                self._engine.cancel(earlier.job_id)
                _log.info("job %s: %s", earlier.job_id, reason)

    def _dispatch(self) -> None:
        unfinished = self._table.records(*UNFINISHED)
        arriving = self._assembly.arriving_cards() if unfinished else []
        for record in unfinished:
            if not self._is_due(record):
                continue
            if blocker := _earlier_study(record, unfinished, arriving):
                if record.reason != blocker:
                    self._table.mark_waiting(record.job_id, blocker)
                continue
            self._submit(record)

    def _submit(self, record: JobRecord) -> None:
        self._submitted.add(record.job_id)
        at_once = self._configuration.limits.concurrent_studies
        self._table.mark_queued(record.job_id, f"Waits for its turn; limits.concurrent_studies = {at_once}.")
        is_begun = self._work_folder(record).exists()
        self._engine.submit(self._job(record), study_time=record.study_time, from_start=not is_begun)

    def _is_due(self, record: JobRecord) -> bool:
        """Tell whether to submit the job; one that failed is due again, whether or not the engine knows it by now."""
        if record.state != "waiting" or record.retry_at_s > time.time():
            return False
        return record.failures > 0 or record.job_id not in self._submitted

    def _job(self, record: JobRecord) -> StudyJob:
        folder = self._configuration.incoming_folder / record.study_uid
        work_folder = self._work_folder(record)
        work_folder.mkdir(parents=True, exist_ok=True)
        return StudyJob(
            job_id=record.job_id,
            study_uid=record.study_uid,
            instance_paths=tuple(sorted(folder.glob("*.dcm"))),
            work_folder=work_folder,
            configuration_path=self._configuration_path,
        )

    def _reconcile(self) -> None:
        """Compare the table with the engine, whose word counts, and let failed jobs be submitted again."""
        for record in self._table.records(*UNFINISHED):
            if record.job_id not in self._submitted:
                continue
            status = self._engine.status(record.job_id)
            if status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
                self._table.mark_attention(
                    record.job_id, f"The worker died again and again at step {record.step}: look at the study."
                )
            elif status in ("ERROR", "CANCELLED", "SUCCESS", None):
                self._release(record.job_id)
            elif status == "PENDING":
                self._watch_for_stuck(record)

    def _release(self, job_id: str) -> None:
        """Let a job that the engine has ended be submitted again, if the table still takes it for unfinished."""
        if self._table.get(job_id).state == "running":  # The table could not be written when it ended.
            self._table.mark_waiting(job_id, "")
        self._submitted.discard(job_id)

    def _watch_for_stuck(self, record: JobRecord) -> None:
        """Count rounds in which a running job has no thread, as after a full disk."""
        rounds = 0 if self._engine.is_active(record.job_id) else self._idle_rounds.get(record.job_id, 0) + 1
        self._idle_rounds[record.job_id] = rounds
        if rounds >= _STUCK_ROUNDS:
            raise StuckError(f"Job {record.job_id} is unfinished but nothing works on it: the worker starts anew.")

    def _tidy(self) -> None:
        """Remove what is not needed any more; the received files of a study that needs attention always stay."""
        limit_s = time.time() - self._configuration.node.retention_days * _DAY_S
        for record in self._table.records("replaced", "attention"):
            if record.state == "replaced" or (record.finished_at_s or 0) < limit_s:
                shutil.rmtree(self._work_folder(record), ignore_errors=True)
        self._remove_delivered(limit_s)

    def _remove_delivered(self, limit_s: float) -> None:
        """Remove the received files of studies whose results were delivered before a time (s since 1970)."""
        seen = self._table.seen_studies()
        for record in self._table.records("done"):
            revisions = self._table.of_study(record.study_uid)
            if not all(one.state in ("done", "replaced") and (one.finished_at_s or 0) < limit_s for one in revisions):
                continue
            folder = self._configuration.incoming_folder / record.study_uid
            if remove_study(folder, seen_mtime_ns=seen.get(record.study_uid)):
                self._table.forget_study(record.study_uid)

    def _work_folder(self, record: JobRecord) -> Path:
        return self._configuration.work_folder / record.job_id.replace(":", "_")


def table_path(configuration: Configuration) -> Path:
    """Return the file of the table of jobs."""
    return configuration.jobs_folder / "jobs.sqlite"


def run_worker(configuration: Configuration, configuration_path: Path | None, parts: WorkerParts) -> None:
    """Work until the process is ended.

    Raises
    ------
    ConfigurationError
        Another worker holds the data folder.
    StuckError
        A new process must take over.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        # Nothing needs to be put in order: what is unfinished is taken up again, and the kernel ends the children.
        signal.signal(number, lambda _number, _frame: os._exit(0))
    with lock_folder(configuration.node.data_dir, "worker"):
        worker = Worker(configuration, configuration_path, parts)
        worker.start()
        _log.info("the worker watches %s", configuration.incoming_folder)
        while True:
            _one_round(worker)
            time.sleep(_ROUND_S)


def _one_round(worker: Worker) -> None:
    try:
        worker.round()
    except (OSError, sqlite3.Error, DBAPIError) as error:
        _log.error("the worker waits, since its files cannot be read or written: %s", error)
        worker.note_trouble(error)
        time.sleep(_RECONCILE_S)


def _engine_settings(configuration: Configuration, parts: WorkerParts) -> EngineSettings:
    limits = configuration.limits
    return EngineSettings(
        database=configuration.jobs_folder / "engine.sqlite",
        pipeline=parts.pipeline,
        steps_total=parts.steps_total,
        heavy_step_time_limit_s=limits.heavy_step_time_limit_s,
        concurrent_studies=limits.concurrent_studies,
        retries=limits.retries,
        first_retry_wait_s=limits.first_retry_wait_s,
        longest_retry_wait_s=limits.longest_retry_wait_s,
    )


def _earlier_study(record: JobRecord, unfinished: list[JobRecord], arriving: list[StudyCard]) -> str:
    """Return why the job must wait for an earlier study of its patient, whose results it will need; or nothing."""
    if not record.patient_key or not record.study_time:
        return ""
    for other in unfinished:
        same_patient = other.patient_key == record.patient_key and other.study_uid != record.study_uid
        if same_patient and other.study_time and other.order < record.order:
            return f"Waits for the job of the patient's earlier study {other.study_uid}."
    for card in arriving:
        if card.patient_key == record.patient_key and card.study_time and card.study_time < record.study_time:
            return "Waits for an earlier study of the patient that is still arriving."
    return ""
