"""The table of jobs: what people and other processes see of the engine's work, in a SQLite file of its own.

Design rule: the worker alone writes; everyone else opens the file read-only. The engine's database decides what runs,
and what is written here can be made again from it and from the received files.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from dicom_node.errors import NodeError

State = Literal["waiting", "running", "done", "attention", "replaced"]
UNFINISHED: tuple[State, ...] = ("waiting", "running")

_SCHEMA = """
create table if not exists jobs (
    job_id text primary key, study_uid text not null, patient_key text not null, study_time text not null,
    instance_count integer not null, state text not null, step text not null default '',
    steps_done integer not null default 0, steps_total integer not null default 0, reason text not null default '',
    failures integer not null default 0, failed_step text not null default '', retry_at_s real not null default 0,
    received_at_s real not null, started_at_s real, finished_at_s real,
    step_started_at_s real, timings_s text not null default '{}', outcome text
);
create index if not exists jobs_by_study on jobs (study_uid);
create index if not exists jobs_by_state on jobs (state);
create table if not exists seen_studies (study_uid text primary key, folder_mtime_ns integer not null);
"""


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """One row of the table; all times are seconds since 1970, UTC.

    Attributes
    ----------
    job_id, study_uid, instance_count
        As in `StudyJob`; ``instance_count`` leaves our own results out.
    patient_key
        Hash that is equal for studies of one patient; empty when the patient has no ID.
    study_time
        Study date and time as ``YYYYMMDDHHMMSS``, so that text order is time order; empty when unknown.
    state
        ``replaced`` is a job overtaken by later instances of its study.
    step, steps_done, steps_total
        The running (or last) step; the total is that of the longest way, 0 when unknown.
    reason
        Why the job waits, or why it needs attention: one sentence.
    failures, failed_step, retry_at_s
        Failures in a row of one step, and when it is tried again.
    timings_s
        Seconds per finished step.
    outcome
        The pipeline's `Outcome` as JSON, once the job is done.
    """

    job_id: str
    study_uid: str
    patient_key: str = field(repr=False)
    study_time: str
    instance_count: int
    state: State
    step: str = ""
    steps_done: int = 0
    steps_total: int = 0
    reason: str = ""
    failures: int = 0
    failed_step: str = ""
    retry_at_s: float = 0.0
    received_at_s: float
    started_at_s: float | None = None
    finished_at_s: float | None = None
    step_started_at_s: float | None = None
    timings_s: dict[str, float] = field(default_factory=dict)
    outcome: dict[str, Any] | None = None

    @property
    def order(self) -> tuple[str, float, str]:
        """Key by which earlier studies come first and studies without a date last."""
        return (self.study_time or "9", self.received_at_s, self.study_uid)


class JobTable:
    """The worker's hold on the table; its methods may be called from many threads.

    Raises
    ------
    sqlite3.OperationalError
        By every method, when the disk is full or broken.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = full")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def add(self, record: JobRecord) -> bool:
        """Add a waiting job; return False when it is there already."""
        values = asdict(record) | {"timings_s": json.dumps(record.timings_s), "outcome": None}
        columns = ", ".join(values)
        places = ", ".join(f":{name}" for name in values)
        sql = f"insert or ignore into jobs ({columns}) values ({places})"  # noqa: S608 - our own field names
        with self._lock:
            return self._connection.execute(sql, values).rowcount == 1

    def records(self, *states: State) -> list[JobRecord]:
        """Return the jobs in these states (all when none is named), oldest study first."""
        with self._lock:
            return _select(self._connection, states)

    def of_study(self, study_uid: str) -> list[JobRecord]:
        """Return all revisions of one study, oldest first."""
        with self._lock:
            rows = self._connection.execute("select * from jobs where study_uid = ?", (study_uid,)).fetchall()
        return sorted(map(_record, rows), key=lambda record: record.received_at_s)

    def get(self, job_id: str) -> JobRecord:
        """Return one job.

        Raises
        ------
        KeyError
            There is none of that name.
        """
        with self._lock:
            row = self._connection.execute("select * from jobs where job_id = ?", (job_id,)).fetchone()
        if row is None:
            raise KeyError(job_id)
        return _record(row)

    def mark_started(self, job_id: str, steps_total: int) -> None:
        """Note that the job runs (again), from its first step or from the one that it had reached."""
        self._update(
            job_id,
            "state = 'running', reason = '', steps_done = 0, steps_total = ?, finished_at_s = null, "
            "started_at_s = coalesce(started_at_s, ?)",
            steps_total,
            time.time(),
        )

    def mark_step(self, job_id: str, step: str) -> None:
        """Note that a step begins."""
        self._update(job_id, "step = ?, step_started_at_s = ?", step, time.time())

    def mark_step_done(self, job_id: str, step: str, *, seconds: float | None) -> None:
        """Note that a step is done; ``seconds`` is None when its result came from an earlier run."""
        self._update(job_id, "steps_done = steps_done + 1")
        if seconds is not None:
            self._update(job_id, "timings_s = json_set(timings_s, ?, ?)", f'$."{step}"', round(seconds, 3))

    def mark_done(self, job_id: str, outcome: dict[str, Any]) -> None:
        """Note that the results are delivered."""
        self._update(
            job_id,
            "state = 'done', reason = '', step = '', steps_total = steps_done, failures = 0, finished_at_s = ?, "
            "outcome = ?",
            time.time(),
            json.dumps(outcome),
        )

    def mark_attention(self, job_id: str, reason: str) -> None:
        """Note that somebody must look at it."""
        self._update(job_id, "state = 'attention', reason = ?, finished_at_s = ?", reason, time.time())

    def mark_waiting(self, job_id: str, reason: str) -> None:
        """Note that the job waits for something that the reason names."""
        self._update(job_id, "state = 'waiting', reason = ?", reason)

    def mark_queued(self, job_id: str, reason: str) -> None:
        """Note why a job that was handed to the engine still waits; nothing changes if the engine has begun it."""
        with self._lock:
            self._connection.execute(
                "update jobs set reason = ? where job_id = ? and state = 'waiting'", (reason, job_id)
            )

    def mark_retry(self, job_id: str, reason: str, *, step: str, failures: int, retry_at_s: float) -> None:
        """Note that a step failed in a way that may pass by itself."""
        self._update(
            job_id,
            "state = 'waiting', reason = ?, failed_step = ?, failures = ?, retry_at_s = ?",
            reason,
            step,
            failures,
            retry_at_s,
        )

    def mark_replaced(self, job_id: str, reason: str) -> None:
        """Note that a later revision of the study takes its place."""
        self._update(job_id, "state = 'replaced', reason = ?, finished_at_s = ?", reason, time.time())

    def seen_studies(self) -> dict[str, int]:
        """Return the modification time (ns) of each incoming folder as it was when it was last dealt with."""
        with self._lock:
            return dict(self._connection.execute("select study_uid, folder_mtime_ns from seen_studies").fetchall())

    def mark_seen(self, study_uid: str, folder_mtime_ns: int) -> None:
        """Note that the study is dealt with as its folder was at that time."""
        with self._lock:
            self._connection.execute("insert or replace into seen_studies values (?, ?)", (study_uid, folder_mtime_ns))

    def forget_study(self, study_uid: str) -> None:
        """Note that the study's folder is gone."""
        with self._lock:
            self._connection.execute("delete from seen_studies where study_uid = ?", (study_uid,))

    def _update(self, job_id: str, assignment: str, *values: object) -> None:
        sql = f"update jobs set {assignment} where job_id = ?"  # noqa: S608 - the assignments are those above
        with self._lock:
            self._connection.execute(sql, (*values, job_id))


def read_jobs(path: Path) -> list[JobRecord]:
    """Read the table from another process, without touching it; empty when there is none yet.

    Raises
    ------
    NodeError
        The file is no table of jobs.
    """
    if not path.exists():
        return []
    with _open_read_only(path) as connection:
        has_table = connection.execute("select 1 from sqlite_master where name = 'jobs'").fetchone()
        return _select(connection, ()) if has_table else []  # The worker may be about to make it.


@contextmanager
def _open_read_only(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            yield connection
    except sqlite3.DatabaseError as error:
        raise NodeError(f"The table of jobs {path} cannot be read: {error}.") from error


def _select(connection: sqlite3.Connection, states: tuple[State, ...]) -> list[JobRecord]:
    places = ", ".join("?" * len(states))
    condition = f"where state in ({places})" if states else ""
    rows = connection.execute(f"select * from jobs {condition}", states).fetchall()  # noqa: S608 - question marks only
    return sorted(map(_record, rows), key=lambda record: record.order)


def _record(row: sqlite3.Row) -> JobRecord:
    values = {column.name: row[column.name] for column in fields(JobRecord)}
    values["timings_s"] = json.loads(values["timings_s"])
    values["outcome"] = None if values["outcome"] is None else json.loads(values["outcome"])
    return JobRecord(**values)
