"""``dicom-node serve`` as processes: what dies comes back, what is taken is refused, and receiving loads no torch.

Not here: what becomes of a study (`tests/end_to_end`).
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dicom_node.jobs.lock import lock_folder
from dicom_node.network.sender import PeerError, echo_peer

pytestmark = pytest.mark.slow


class Served:
    """A node that is being served."""

    def __init__(self, data_dir: Path, **variables: str) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.process = start(data_dir, self.port, **variables)

    def answers(self) -> bool:
        try:
            echo_peer("127.0.0.1", self.port, "METSEG")
        except PeerError:
            return False
        return True

    def child(self, name: str) -> int | None:
        """Return the process id of the listener or the worker."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            words = read(path).decode().split("\0")
            if words[1:5] == ["-m", "dicom_node.serve", name, str(self.process.pid)]:
                return int(path.parent.name)
        return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(data_dir: Path, port: int, **variables: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "dicom_node.cli", "serve", "--data-dir", str(data_dir), "--port", str(port)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | variables)


def notices(data_dir: Path) -> list[str]:
    """Return what `dicom-node jobs` tells besides jobs."""
    command = [sys.executable, "-m", "dicom_node.cli", "jobs", "--json", "--data-dir", str(data_dir)]
    entries = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return [entry["reason"] for entry in entries if entry["kind"] == "notice"]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def wait_for(condition: Callable[[], object], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "data")
    wait_for(served.answers)
    yield served
    served.process.kill()
    served.process.communicate()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Serve with given environment variables; the listener answers when the call returns."""
    running: list[Served] = []

    def begin(**variables: str) -> Served:
        running.append(Served(tmp_path / "data", **variables))
        wait_for(running[-1].answers)
        return running[-1]

    yield begin
    for served in running:
        served.process.kill()
        served.process.communicate()


def test_worker_that_cannot_start_is_told_and_harms_no_reception(
    serving: Callable[..., Served], tmp_path: Path
) -> None:
    with lock_folder(tmp_path / "data", "worker"):
        served = serving()
        wait_for(lambda: notices(served.data_dir) and "2 times" in notices(served.data_dir)[0])
        (reason,) = notices(served.data_dir)
        assert reason.startswith("The worker ended 2 times and is started again. It ended with exit status 1: ")
        assert reason.endswith("is in use by another `worker` process: stop it, or choose another folder.")
        log = (served.data_dir / "log" / "serve.log").read_text()
        waits = re.findall(r"another `worker` process.*It is started again in (\d+) s", log)
        assert waits[:2] == ["1", "2"]
        assert served.answers()
    served.process.terminate()
    assert served.process.wait(30) == 0
    assert notices(served.data_dir) == [], "what is no longer the case is not told"


def test_archive_that_is_down_is_told_at_the_start_and_harms_no_reception(serving: Callable[..., Served]) -> None:
    served = serving(
        DICOM_NODE_ARCHIVE__KIND="orthanc", DICOM_NODE_ARCHIVE__ORTHANC_URL=f"http://127.0.0.1:{free_port()}"
    )
    log = served.data_dir / "log" / "worker.log"
    wait_for(lambda: log.exists() and "the worker watches" in log.read_text())
    assert "WARNING dicom_node.serve: The archive cannot be used now" in log.read_text()
    assert served.answers()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"DICOM_NODE_MODEL__MANIFEST": "/nowhere/model.toml"}, ["model.manifest", "/nowhere/model.toml"]),
        (
            {
                "DICOM_NODE_ARCHIVE__KIND": "orthanc",
                "DICOM_NODE_ARCHIVE__ORTHANC_PASSWORD_FILE": "/nowhere/password",
            },
            ["archive.orthanc_password_file = /nowhere/password"],
        ),
    ],
)
def test_what_no_study_could_be_analysed_with_is_refused(
    variables: dict[str, str], words: list[str], tmp_path: Path
) -> None:
    process = start(tmp_path / "data", free_port(), **variables)
    _, message = process.communicate(timeout=60)
    assert (process.returncode, message.count("\n")) == (1, 1)
    assert all(word in message for word in words)


def test_listener_never_loads_torch(served: Served) -> None:
    maps = read(Path(f"/proc/{served.child('listener')}/maps")).decode()
    assert "libpython" in maps or "python" in maps
    assert "torch" not in maps
    assert "ants" not in maps.replace("constants", "")


def test_killed_listener_and_worker_come_back(served: Served) -> None:
    for name in ("listener", "worker"):
        wait_for(lambda name=name: served.child(name))
        before = served.child(name)
        assert before is not None
        os.kill(before, signal.SIGKILL)
        wait_for(lambda name=name, before=before: served.child(name) not in (before, None))
    wait_for(served.answers)


def test_stopping_ends_all_and_is_no_failure(served: Served) -> None:
    children = [served.child(name) for name in ("listener", "worker")]
    served.process.terminate()
    assert served.process.wait(30) == 0
    assert not any(Path(f"/proc/{child}").exists() for child in children if child)
    assert not served.answers()


def test_killed_supervisor_takes_its_children_along(served: Served) -> None:
    listener = served.child("listener")
    served.process.kill()
    wait_for(lambda: not Path(f"/proc/{listener}").exists(), 10)


def test_second_node_on_a_data_folder_is_refused(served: Served) -> None:
    second = start(served.data_dir, free_port())
    _, message = second.communicate(timeout=60)
    assert second.returncode == 1
    assert message == (
        f"node.data_dir = {served.data_dir} is in use by another `serve` process: stop it, or choose another folder.\n"
    )


def test_taken_port_is_refused(served: Served, tmp_path: Path) -> None:
    second = start(tmp_path / "other", served.port)
    _, message = second.communicate(timeout=60)
    assert second.returncode == 1
    assert message.startswith(
        f"node.host = 127.0.0.1, node.port = {served.port} cannot be listened on (Address already"
    )
    assert message.count("\n") == 1
