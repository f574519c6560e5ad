"""The durable engine: DBOS on SQLite runs each job step by step and goes on where it was when the process died.

Design rule: a step's result is recorded before the next begins, so a killed worker repeats one step at most. Failures
that may pass are tried again by rewinding the job to its failed step, in this one layer and nowhere else; a waiting
job holds up no other. The application version is fixed here: changing the order of steps of running jobs needs
``DBOS.patch``.
"""

import dataclasses
import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dbos import (
    DBOS,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    PortableWorkflowError,
    SetEnqueueOptions,
    SetWorkflowID,
)
from pydantic import TypeAdapter

from dicom_node.errors import NodeError, RetriableError, StorageFullError
from dicom_node.jobs.calls import dump_result, load_result
from dicom_node.jobs.child import ChildLimits, run_in_child
from dicom_node.jobs.failure import as_node_error, restore
from dicom_node.jobs.job import Outcome, StepRunner, StudyJob
from dicom_node.jobs.table import JobTable

T = TypeVar("T")
Pipeline = Callable[[StudyJob, StepRunner], Outcome]

APPLICATION_VERSION = "1"
_EXECUTOR = "node"
_QUEUE = "studies"
_MOST_RECOVERIES = 50
_LATEST_PRIORITY = 99991231
_FIRST_STEP = 1  # DBOS counts from it
_JOB = TypeAdapter(StudyJob)
_OUTCOME = TypeAdapter(Outcome)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """What the engine is told.

    Attributes
    ----------
    database
        SQLite file of DBOS.
    pipeline
        The story that each job runs.
    steps_total
        Number of steps on its longest way; 0 when unknown.
    """

    database: Path
    pipeline: Pipeline
    steps_total: int
    heavy_step_time_limit_s: float
    concurrent_studies: int
    retries: int
    first_retry_wait_s: float
    longest_retry_wait_s: float


class Engine:
    """Runs jobs; one per process and one process per database.

    Parameters
    ----------
    table
        Told of everything that happens to a job.
    on_disk_full
        Called when a step finds the disk full, before that is written down.
    """

    def __init__(
        self, settings: EngineSettings, table: JobTable, *, on_disk_full: Callable[[], None] = lambda: None
    ) -> None:
        self._settings = settings
        self._table = table
        self._on_disk_full = on_disk_full
        self._cancelled: dict[str, threading.Event] = {}
        self._active: set[str] = set()
        _use_write_ahead_log(settings.database)
        DBOS(config=_dbos_configuration(settings.database))
        _log_through_our_handlers()

        def study(job_values: dict[str, Any]) -> dict[str, Any]:  # DBOS takes functions, not methods
            return self._follow(job_values)

        self._workflow = DBOS.workflow(name="study", max_recovery_attempts=_MOST_RECOVERIES)(study)

    def launch(self) -> None:
        """Go on with the jobs that an earlier process left unfinished, and take new ones."""
        DBOS.launch()
        DBOS.register_queue(
            _QUEUE,
            worker_concurrency=self._settings.concurrent_studies,
            polling_interval_sec=0.2,
            on_conflict="always_update",
        )

    def close(self) -> None:
        """Stop without waiting for running jobs; they stay as they are for the next process."""
        DBOS.destroy()

    def submit(self, job: StudyJob, *, study_time: str, from_start: bool) -> None:
        """Run the job, or go on with it from its failed step; harmless when it runs already.

        Jobs of earlier studies (``study_time`` as ``YYYYMMDD…``) are taken first. With ``from_start`` a job that failed
        begins anew, since the intermediate files of its first steps are gone.
        """
        status = self.status(job.job_id)
        if status is None:
            with SetWorkflowID(job.job_id), SetEnqueueOptions(priority=_priority(study_time)):
                DBOS.enqueue_workflow(_QUEUE, self._workflow, _JOB.dump_python(job, mode="json"))
        elif status in ("ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"):
            step = _FIRST_STEP if from_start else _first_unfinished_step(job.job_id)
            DBOS.rewind_workflow(job.job_id, start_step=step, queue_name=_QUEUE)
        elif status == "SUCCESS":
            outcome: Any = DBOS.get_result(job.job_id)
            self._table.mark_done(job.job_id, outcome)

    def cancel(self, job_id: str) -> None:
        """End the job; a heavy step that runs is killed."""
        if job_id in self._cancelled:
            self._cancelled[job_id].set()
        if self.status(job_id) is not None:
            DBOS.cancel_workflow(job_id)

    def status(self, job_id: str) -> str | None:
        """Return the state of the job in the engine's database; None when it is unknown there."""
        status = DBOS.get_workflow_status(job_id)
        return None if status is None else str(status.status)

    def is_active(self, job_id: str) -> bool:
        """Tell whether a thread of this process is at work on the job."""
        return job_id in self._active

    def _follow(self, job_values: dict[str, Any]) -> dict[str, Any]:
        job = _JOB.validate_python(job_values)
        self._cancelled[job.job_id] = threading.Event()
        self._active.add(job.job_id)
        steps = _DurableSteps(job.job_id, self._settings, self._table, self._cancelled[job.job_id])
        try:
            return self._run(job, steps)
        finally:
            self._active.discard(job.job_id)

    def _run(self, job: StudyJob, steps: "_DurableSteps") -> dict[str, Any]:
        _log.info("job %s starts", job.job_id)
        try:
            self._table.mark_started(job.job_id, self._settings.steps_total)
            outcome = self._settings.pipeline(job, steps)
        except Exception as error:
            failure = _as_failure(error, steps.name)
            self._note_failure(job.job_id, steps.name, failure)
            raise failure from error
        if not outcome.timings_s:
            outcome = dataclasses.replace(outcome, timings_s=self._table.get(job.job_id).timings_s)
        values: dict[str, Any] = _OUTCOME.dump_python(outcome, mode="json")
        self._table.mark_done(job.job_id, values)
        shutil.rmtree(job.work_folder, ignore_errors=True)  # A repeated run takes every step's result from the record.
        _log.info("job %s is done", job.job_id)
        return values

    def _note_failure(self, job_id: str, step: str, failure: NodeError) -> None:
        if isinstance(failure, StorageFullError):
            self._on_disk_full()
        record = self._table.get(job_id)
        if record.state == "replaced":
            return
        failures = 1 + (record.failures if record.failed_step == step else 0)
        if isinstance(failure, RetriableError) and failures <= self._settings.retries:
            wait_s = min(self._settings.first_retry_wait_s * 2 ** (failures - 1), self._settings.longest_retry_wait_s)
            reason = f"{failure} Tried again in {wait_s:g} s ({failures} of {self._settings.retries})."
            _log.warning("job %s waits: %s", job_id, reason)
            self._table.mark_retry(job_id, reason, step=step, failures=failures, retry_at_s=time.time() + wait_s)
        else:
            _log.error("job %s needs attention: %s", job_id, failure)
            self._table.mark_attention(job_id, str(failure))


class _DurableSteps:
    """The `StepRunner` of one job in the engine."""

    def __init__(self, job_id: str, settings: EngineSettings, table: JobTable, cancelled: threading.Event) -> None:
        self._job_id = job_id
        self._table = table
        self._limits = ChildLimits(time_limit_s=settings.heavy_step_time_limit_s, cancelled=cancelled)
        self.name = "start"

    def __call__(self, name: str, function: Callable[..., T], /, *args: Any, heavy: bool = False) -> T:
        """Run the step, or take its result from the engine's record of an earlier run."""
        self.name = name
        seconds: list[float] = []

        def execute() -> Any:
            self._table.mark_step(self._job_id, name)
            started = time.monotonic()
            result = self._execute(name, function, args, heavy=heavy)
            seconds.append(time.monotonic() - started)
            return result

        value = DBOS.run_step({"name": name}, execute)
        self._table.mark_step_done(self._job_id, name, seconds=seconds[0] if seconds else None)
        result: T = load_result(function, value)
        return result

    def _execute(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], *, heavy: bool) -> Any:
        try:
            result = run_in_child(name, function, args, limits=self._limits) if heavy else function(*args)
            return dump_result(function, result)
        except Exception as error:
            raise as_node_error(error, name) from error


def _as_failure(error: Exception, step: str) -> NodeError:
    """Return the failure of a job; DBOS hands a failure that it recorded earlier out as a `PortableWorkflowError`."""
    if isinstance(error, PortableWorkflowError):
        return restore(error.name, error.message)
    return as_node_error(error, step)


def _first_unfinished_step(job_id: str) -> int:
    steps = DBOS.list_workflow_steps(job_id, load_output=True)
    failed = [step["function_id"] for step in steps if step["error"] is not None]
    return min(failed, default=max((step["function_id"] for step in steps), default=0) + 1)


def _priority(study_time: str) -> int:
    return int(study_time[:8]) if study_time else _LATEST_PRIORITY


def _log_through_our_handlers() -> None:
    """Let DBOS log as we do, but not repeat at length the failures that were logged here as a sentence."""
    logger = logging.getLogger("dbos")
    logger.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], NodeError)))
    logger.handlers.clear()
    logger.propagate = True


def _use_write_ahead_log(database: Path) -> None:
    """Let readers and the writer not wait for each other; the mode stays with the file."""
    database.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(database)
    connection.execute("pragma journal_mode = wal")
    connection.close()


def _dbos_configuration(database: Path) -> DBOSConfig:
    return {
        "name": "dicom-node",
        "system_database_url": f"sqlite:///{database}",
        "serializer": DBOSPortableJSONSerializer(),  # JSON, not pickle: no code comes out of a database
        "application_version": APPLICATION_VERSION,
        "executor_id": _EXECUTOR,
        "log_level": "WARNING",
        "enable_otlp": False,
    }
