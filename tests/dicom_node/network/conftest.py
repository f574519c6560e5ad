"""A listener, an Orthanc and real scanner series for the network's tests."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dicom_node.network.receiver import Listener, ListenerSettings, start_listener
from tests.peers import REAL_SERIES, OrthancPeer, start_orthanc


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    """The incoming folder of `listen`."""
    return tmp_path / "node" / "incoming"


@pytest.fixture
def listen(incoming: Path) -> Iterator[Callable[..., Listener]]:
    """Start a listener with the given settings on a free port; it stops when the test ends."""
    running: list[Listener] = []

    def start(**settings: object) -> Listener:
        given = {"port": 0, "minimum_free_bytes": 0, "drain_timeout_s": 1.0, **settings}
        running.append(start_listener(ListenerSettings(incoming_folder=incoming, **given)))  # type: ignore[arg-type]
        return running[-1]

    yield start
    for listener in running:
        listener.stop()


@pytest.fixture(scope="session")
def real_series(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The two series as they came from scanners, unpacked; the key is the archive's name."""
    folders = {}
    for archive in sorted(REAL_SERIES.glob("*.tar.xz")):
        folder = tmp_path_factory.mktemp(archive.name.split(".")[0])
        shutil.unpack_archive(archive, folder)
        folders[archive.name.split(".")[0]] = folder
    return folders


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancPeer]:
    """One Orthanc for the whole session: tests use their own patients and studies."""
    with start_orthanc(tmp_path_factory.mktemp("orthanc")) as peer:
        yield peer
