"""``dicom-node serve`` as processes: what dies comes back, what is taken is refused, and receiving loads no torch.

Not here: what becomes of a study (`tests/end_to_end`).
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dicom_node.network.sender import PeerError, echo_peer

pytestmark = pytest.mark.slow


class Served:
    """A node that is being served."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.process = start(data_dir, self.port)

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


def start(data_dir: Path, port: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "dicom_node.cli", "serve", "--data-dir", str(data_dir), "--port", str(port)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


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
