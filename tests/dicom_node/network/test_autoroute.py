"""orthanc.json and deploy/autoroute.lua in a real Orthanc: studies go to the node once, its results never."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from dicom_node.network.archive import Archive, open_archive
from dicom_node.network.receiver import Listener, ListenerSettings, start_listener
from dicom_node.network.sender import send_files
from dicom_node.results.codes import MANUFACTURER
from tests.dicom_node.network.instances import series
from tests.peers import ORTHANC_MISSING, OrthancPeer, free_port, running, start_orthanc

pytestmark = [pytest.mark.end_to_end, ORTHANC_MISSING]
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def configuration() -> dict[str, object]:
    """Our orthanc.json, without its comments, which stand on lines of their own."""
    text = (REPOSITORY / "orthanc.json").read_text()
    parsed: dict[str, object] = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    return parsed


@pytest.fixture
def node_port() -> int:
    return free_port()


@pytest.fixture
def archive_server(configuration: dict[str, object], node_port: int, tmp_path: Path) -> Iterator[OrthancPeer]:
    ours = {key: configuration[key] for key in ("Plugins", "DicomWeb", "UserMetadata", "OverwriteInstances")}
    with start_orthanc(
        tmp_path / "orthanc",
        **ours,
        StableAge=1,
        LuaScripts=[str(REPOSITORY / "deploy" / "autoroute.lua")],
        DicomModalities={"METSEG": ["METSEG", "127.0.0.1", node_port]},
    ) as peer:
        yield peer


@pytest.fixture
def archive(archive_server: OrthancPeer) -> Archive:
    return open_archive("orthanc", url=archive_server.url, user=archive_server.user, password=archive_server.password)


@pytest.fixture
def start_node(node_port: int, tmp_path: Path) -> Iterator[Callable[[], Listener]]:
    running: list[Listener] = []

    def start() -> Listener:
        running.append(start_listener(ListenerSettings(incoming_folder=tmp_path / "node" / "incoming", port=node_port)))
        return running[-1]

    yield start
    for listener in running:
        listener.stop()


def deliveries(peer: OrthancPeer) -> list[dict[str, object]]:
    jobs = peer.get("/jobs?expand").json()
    return [job for job in jobs if job["Type"] == "DicomModalityStore"]


def wait_for(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.2)


def arrived(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "node" / "incoming").glob("*/*.dcm")}


def test_a_study_goes_to_the_node_once_and_its_results_do_not_go_round(
    archive: Archive, archive_server: OrthancPeer, start_node: Callable[[], Listener], tmp_path: Path
) -> None:
    start_node()
    study = generate_uid()
    images = series(tmp_path / "images", study, 6)
    archive.store(images)
    wait_for(lambda: arrived(tmp_path) == {path.name for path in images})
    wait_for(lambda: [job["State"] for job in deliveries(archive_server)] == ["Success"])

    by_rest = series(tmp_path / "rest", study, 1, Modality="SEG", Manufacturer=MANUFACTURER)
    by_c_store = series(tmp_path / "store", study, 1, Modality="SR", Manufacturer="someone else")
    archive.store(by_rest)
    sent = send_files(
        by_c_store, "127.0.0.1", archive_server.dicom_port, called_ae_title="ORTHANC", calling_ae_title="METSEG"
    )
    assert all(answer.is_stored for answer in sent)
    assert archive.count_instances(study) == 8
    time.sleep(4)  # the study is stable again by now, twice over
    assert len(deliveries(archive_server)) == 1

    late = series(tmp_path / "late", study, 3)
    archive.store(late)
    wait_for(lambda: arrived(tmp_path) == {path.name for path in [*images, *late]})
    wait_for(lambda: [job["State"] for job in deliveries(archive_server)] == ["Success", "Success"])
    time.sleep(4)
    assert len(deliveries(archive_server)) == 2


def test_a_node_that_is_down_gets_the_study_when_the_job_is_resubmitted(
    archive: Archive, archive_server: OrthancPeer, start_node: Callable[[], Listener], tmp_path: Path
) -> None:
    images = series(tmp_path / "images", generate_uid(), 3)
    archive.store(images)
    wait_for(lambda: [job["State"] for job in deliveries(archive_server)] == ["Failure"])
    (job,) = deliveries(archive_server)
    assert f"/jobs/{job['ID']}/resubmit" in archive_server.log.read_text(errors="replace")
    start_node()
    archive_server.post(f"/jobs/{job['ID']}/resubmit", "")
    wait_for(lambda: arrived(tmp_path) == {path.name for path in images})


def test_the_shipped_configuration_starts_and_keeps_to_this_machine(
    configuration: dict[str, object], tmp_path: Path
) -> None:
    assert configuration["RemoteAccessAllowed"] is False
    assert configuration["DicomModalities"] == {"METSEG": ["METSEG", "127.0.0.1", 11112]}
    (tmp_path / "deploy").symlink_to(REPOSITORY / "deploy")
    ports = {"HttpPort", "DicomPort", "StorageDirectory", "IndexDirectory", "AuthenticationEnabled"}
    others = {key: value for key, value in configuration.items() if key not in ports}
    with start_orthanc(tmp_path, **others) as peer:
        assert peer.get("/system").json()["Name"] == "Archive of brainmets-dicom-node"
        assert peer.get("/dicom-web/studies").json() == []


def test_orthanc_reads_the_shipped_file_with_its_comments(tmp_path: Path) -> None:
    text = (REPOSITORY / "orthanc.json").read_text()
    (tmp_path / "deploy").symlink_to(REPOSITORY / "deploy")
    http_port, dicom_port = free_port(), free_port()
    replaced = text.replace(": 8042", f": {http_port}").replace(": 4242", f": {dicom_port}")
    assert replaced.count(str(http_port)) == replaced.count(str(dicom_port)) == 1
    (tmp_path / "orthanc.json").write_text(replaced)
    with running(["Orthanc", tmp_path / "orthanc.json"], http_port, log=tmp_path / "orthanc.log"):
        archive = open_archive("orthanc", url=f"http://127.0.0.1:{http_port}")
        assert "Archive of brainmets-dicom-node" in archive.check()
    log = (tmp_path / "orthanc.log").read_text(errors="replace")
    assert [line for line in log.splitlines() if line.startswith("E")] == []
