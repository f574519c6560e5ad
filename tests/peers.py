"""Real programs that talk DICOM with the node in tests: dcmtk and Orthanc, on free loopback ports, in given folders."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest


def installed(program: str) -> str | None:
    """Where the program is; Debian's Orthanc lies in a folder that an ordinary user's PATH does not have."""
    return shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))


DCMTK_MISSING = pytest.mark.skipif(installed("storescu") is None, reason="dcmtk (storescu) is not installed")
ORTHANC_MISSING = pytest.mark.skipif(installed("Orthanc") is None, reason="Orthanc is not installed")
REAL_SERIES = Path(__file__).parents[1] / "../shared/data/dicom"
REAL_SERIES_MISSING = pytest.mark.skipif(not REAL_SERIES.exists(), reason="../shared/data/dicom is not there")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], *, timeout_s: float = 20) -> None:
    """Return when something listens on `port`; raise when `process` ends or nothing does in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}.")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"Nothing listens on port {port} after {timeout_s} s.")


@contextmanager
def running(command: list[str | Path], port: int, *, log: Path, env: Mapping[str, str] | None = None) -> Iterator[None]:
    """Run a server while the block runs; it is up when the block begins and gone when it ends."""
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=env)
        try:
            wait_for_port(port, process)
            yield
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass(frozen=True, kw_only=True)
class OrthancPeer:
    """A running Orthanc: REST at `url` with `user` and `password`, DICOM at `dicom_port` as ``ORTHANC``."""

    url: str
    user: str
    password: str
    dicom_port: int
    log: Path

    def get(self, route: str) -> httpx.Response:
        """GET from the REST API."""
        return httpx.get(self.url + route, auth=(self.user, self.password), timeout=30)

    def post(self, route: str, content: bytes | str) -> httpx.Response:
        """POST to the REST API."""
        return httpx.post(self.url + route, content=content, auth=(self.user, self.password), timeout=60)

    def delete(self, route: str) -> httpx.Response:
        """DELETE in the REST API."""
        return httpx.delete(self.url + route, auth=(self.user, self.password), timeout=30)


@contextmanager
def start_orthanc(folder: Path, **overrides: object) -> Iterator[OrthancPeer]:
    """Run an empty Orthanc with its data in `folder`; `overrides` are options of its configuration file."""
    http_port, dicom_port, password = free_port(), free_port(), secrets.token_hex(8)
    configuration: dict[str, object] = {
        "Name": "Test archive",
        "StorageDirectory": str(folder / "orthanc-db"),
        "IndexDirectory": str(folder / "orthanc-db"),
        "HttpPort": http_port,
        "DicomPort": dicom_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {"node": password},
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": True,
        "OverwriteInstances": True,
        "StableAge": 2,
        **overrides,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "orthanc.json"
    path.write_text(json.dumps(configuration, indent=2))
    log = folder / "orthanc.log"
    with running([installed("Orthanc") or "Orthanc", path], http_port, log=log):
        yield OrthancPeer(
            url=f"http://127.0.0.1:{http_port}", user="node", password=password, dicom_port=dicom_port, log=log
        )


@contextmanager
def start_storescp(folder: Path, *options: str, ae_title: str = "STORESCP") -> Iterator[int]:
    """Run dcmtk's storescp, which writes what it gets to `folder`; yields its port."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command: list[str | Path] = ["storescp", "-aet", ae_title, "-od", folder, *options, str(port)]
    with running(command, port, log=folder.parent / f"storescp-{port}.log"):
        yield port


def dcmtk(program: str, *arguments: str | Path, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run one of dcmtk's programs; its exit status and what it said."""
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, errors="replace", timeout=300, check=False, env=env
    )
    return done.returncode, done.stdout + done.stderr
