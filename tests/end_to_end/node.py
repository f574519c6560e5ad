"""A real node under test: `dicom-node serve` as a process, spoken to only over DICOM and its command line."""

import json
import os
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers import free_port, running

COMMAND = Path(sysconfig.get_path("scripts")) / "dicom-node"


@dataclass(frozen=True, kw_only=True)
class Node:
    """A running node; ``archive`` is the folder of the embedded one."""

    port: int
    configuration: Path
    data: Path
    archive: Path
    log: Path

    def send(self, *folders: Path, called: str = "METSEG") -> subprocess.CompletedProcess[str]:
        """Send all files below the folders with dcmtk's storescu."""
        return subprocess.run(
            ["storescu", "-aec", called, "-aet", "HOSPITALPACS", "+sd", "+r", "127.0.0.1", str(self.port), *folders],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "TCP_NODELAY": "1"},
        )

    def jobs(self) -> list[dict[str, Any]]:
        """What `dicom-node jobs --json` prints."""
        done = subprocess.run(
            [COMMAND, "jobs", "--json", "--config", self.configuration], capture_output=True, text=True, check=True
        )
        jobs: list[dict[str, Any]] = json.loads(done.stdout)
        return jobs

    def finished(self, study_uid: str, *, timeout_s: float = 400) -> dict[str, Any]:
        """Wait until the study's newest job is done or needs attention, and return it."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for job in reversed(self.jobs()):
                if job["study_uid"] == study_uid and job["state"] in ("done", "attention"):
                    return job
            time.sleep(1)
        raise TimeoutError(f"no finished job of {study_uid}; the log ends:\n{self.log.read_text()[-3000:]}")

    def results(self, study_uid: str, job: dict[str, Any]) -> dict[str, Path]:
        """Files of the job's results in the embedded archive, by kind."""
        return {
            kind: next((self.archive / study_uid).rglob(f"{uid}.dcm"))
            for kind, uid in job["outcome"]["result_uids"].items()
        }


@contextmanager
def serving(folder: Path, *, archive: Path | None = None, node_options: str = "") -> Iterator[Node]:
    """Run a node with its data in ``folder`` while the block runs; options are lines of TOML."""
    folder.mkdir(parents=True, exist_ok=True)
    port, data, configuration = free_port(), folder / "data", folder / "node.toml"
    archive = archive or data / "archive"
    configuration.write_text(
        f'[node]\nport = {port}\ndata_dir = "{data}"\nquiet_time_s = 2\n{node_options}\n'
        f'[archive]\nkind = "folder"\nfolder = "{archive}"\n'
    )
    log = folder / "node.log"
    with running([COMMAND, "serve", "--config", configuration], port, log=log):
        yield Node(port=port, configuration=configuration, data=data, archive=archive, log=log)
