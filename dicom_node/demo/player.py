"""Plays the PACS: starts the node as a process of its own and speaks with it only as a PACS and a person could.

Instances go in by C-STORE, one association per series; what became of them is asked of ``dicom-node jobs``.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from dicom_node.demo.outcome import JobReport, SeriesRole
from dicom_node.errors import NodeError
from dicom_node.network.sender import PeerError, echo_peer, send_files

COMMAND = (sys.executable, "-m", "dicom_node.cli")  # `dicom-node` of the environment that this runs in
AE_TITLE = "METSEG"
CALLING_AE_TITLE = "DEMOPACS"
QUIET_TIME_S = 2
START_LIMIT_S = 60.0
STOP_LIMIT_S = 30.0
STUDY_LIMIT_S = 900.0
FIRST_SIGN_LIMIT_S = 120.0
SENDING_ATTEMPTS = 3
ASK_EVERY_S = 2.5  # each question costs 0.3 s of a core
FINAL_STATES = ("done", "attention")

Watcher = Callable[[JobReport], None]


class DemoError(NodeError):
    """The demonstration cannot go on."""


@dataclass(frozen=True, kw_only=True)
class RunningNode:
    """A node that listens.

    Attributes
    ----------
    configuration_path
        Its TOML file.
    port
        Where it listens on 127.0.0.1.
    log_path
        What it writes to its terminal.
    process
        ``dicom-node serve``.
    """

    configuration_path: Path
    port: int
    log_path: Path
    process: subprocess.Popen[bytes]

    def send_study(self, paths: Sequence[Path], sent: Callable[[int], None]) -> None:
        """Send files series by series, each series (folder) in an association of its own.

        Raises
        ------
        DemoError
            When the node does not take an instance.
        """
        for _, series in groupby(paths, key=lambda path: path.parent):
            files = list(series)
            self._send_series(files)
            sent(len(files))

    def _send_series(self, files: Sequence[Path]) -> None:
        """Send a series, and once more what was not taken, as senders do."""
        waiting, problem = list(files), ""
        for _ in range(SENDING_ATTEMPTS):
            answers = send_files(
                waiting, "127.0.0.1", self.port, called_ae_title=AE_TITLE, calling_ae_title=CALLING_AE_TITLE
            )
            waiting = [answer.path for answer in answers if not answer.is_stored]
            if not waiting:
                return
            problem = next(answer.problem for answer in answers if not answer.is_stored)
        raise DemoError(f"the node did not take {len(waiting)} of {len(files)} instances: {problem}")

    def job_of(self, study_uid: str, instance_count: int) -> JobReport | None:
        """Ask ``dicom-node jobs`` for the job that has all instances of a study; None while there is none."""
        run = subprocess.run(  # noqa: S603 - our own command
            [*COMMAND, "jobs", "--json", "--config", str(self.configuration_path)],
            capture_output=True,
            check=False,
            text=True,
            env=_environment(),
        )
        if run.returncode:
            raise DemoError(f"dicom-node jobs failed: {run.stderr.strip()[-500:]}")
        jobs = [job for job in json.loads(run.stdout) if _has_all(job, study_uid, instance_count)]
        return _job_report(jobs[-1]) if jobs else None

    def wait_for(self, study_uid: str, instance_count: int, watch: Watcher) -> JobReport:
        """Wait until the study's job is done or needs attention.

        Raises
        ------
        DemoError
            When the node ends, makes no job within two minutes, or takes longer than fifteen minutes.
        """
        start = time.monotonic()
        job = None
        while time.monotonic() - start < (STUDY_LIMIT_S if job else FIRST_SIGN_LIMIT_S):
            self.check_alive()
            job = self.job_of(study_uid, instance_count)
            if job is not None:
                watch(job)
                if job.state in FINAL_STATES:
                    return job
            time.sleep(ASK_EVERY_S)
        seconds, doing = time.monotonic() - start, f"is still {job.state}" if job else "has not begun"
        raise DemoError(f"after {seconds:.0f} s the job {doing}; the end of {self.log_path}:\n{self._log_end()}")

    def check_alive(self) -> None:
        """Raise `DemoError` with the end of the log if the node has ended."""
        status = self.process.poll()
        if status is not None:
            raise DemoError(f"the node ended with status {status}; the end of {self.log_path}:\n{self._log_end()}")

    def _log_end(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")[-1500:]


@contextmanager
def running_node(folder: Path, archive_folder: Path) -> Iterator[RunningNode]:
    """Start a node on a free port and stop it at the end.

    Parameters
    ----------
    folder
        Receives its configuration, its data and its log.
    archive_folder
        The embedded archive.

    Raises
    ------
    DemoError
        When the node does not answer C-ECHO within a minute.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    configuration_path = folder / "node.toml"
    configuration_path.write_text(_configuration(folder, archive_folder, port), encoding="utf-8")
    log_path = folder / "node.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*COMMAND, "serve", "--config", str(configuration_path)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(),
        )
        node = RunningNode(configuration_path=configuration_path, port=port, log_path=log_path, process=process)
        try:
            _wait_until_it_answers(node)
            yield node
        finally:
            _stop(process)


def _configuration(folder: Path, archive_folder: Path, port: int) -> str:
    """Return the node's options; JSON strings are TOML strings too."""
    return (
        f"[node]\nae_title = {json.dumps(AE_TITLE)}\nport = {port}\nquiet_time_s = {QUIET_TIME_S}\n"
        f"data_dir = {json.dumps(str((folder / 'data').absolute()))}\n\n"
        f'[archive]\nkind = "folder"\nfolder = {json.dumps(str(archive_folder.absolute()))}\n'
    )


def _environment() -> dict[str, str]:
    """Return the environment without options that would override the demonstration's own."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith("DICOM_NODE_")}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_answers(node: RunningNode) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        node.check_alive()
        try:
            return echo_peer("127.0.0.1", node.port, AE_TITLE, CALLING_AE_TITLE)
        except PeerError as error:
            if time.monotonic() > deadline:
                raise DemoError(f"the node does not answer after {START_LIMIT_S:.0f} s: {error}") from error
        time.sleep(0.3)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the node to end, and end it where it does not."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _has_all(job: dict[str, Any], study_uid: str, instance_count: int) -> bool:
    """Tell whether it is this study's job and no earlier one, begun when a part of it had come."""
    return bool(
        job["study_uid"] == study_uid and job["state"] != "replaced" and job["instance_count"] == instance_count
    )


def _job_report(job: dict[str, Any]) -> JobReport:
    outcome = job.get("outcome") or {}
    return JobReport(
        study_uid=job["study_uid"],
        state=job["state"],
        step=job.get("step") or "",
        progress=float(job.get("progress") or 0.0),
        reason=job.get("reason") or "",
        series=tuple(_series_role(decision) for decision in outcome.get("series", ())),
        remarks=tuple(outcome.get("remarks", ())),
        result_uids=dict(outcome.get("result_uids", {})),
        timings_s=dict(job.get("timings_s") or outcome.get("timings_s") or {}),
    )


def _series_role(decision: dict[str, Any]) -> SeriesRole:
    return SeriesRole(
        series_number=decision.get("series_number"),
        description=decision.get("description") or "",
        role=decision.get("role") or "",
        reason=decision.get("reason") or "",
    )
