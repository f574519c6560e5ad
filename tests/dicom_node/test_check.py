"""Each check on the real thing: a taken port, a missing folder, a peer that answers, a foreign package."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.check import (
    check_archive,
    check_data_folder,
    check_database,
    check_free_disk,
    check_peer,
    check_port,
    check_weights,
    run_checks,
)
from dicom_node.config import Configuration, Peer, load_configuration
from dicom_node.jobs.lock import lock_folder
from dicom_node.jobs.table import JobTable
from dicom_node.network.receiver import Listener, ListenerSettings, start_listener
from dicom_node.network.sender import PeerError


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    monkeypatch.setenv("DICOM_NODE_NODE__DATA_DIR", str(tmp_path / "data"))
    return load_configuration()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    with start_listener(ListenerSettings(incoming_folder=tmp_path / "incoming", port=0, ae_title="PEER")) as running:
        yield running


def with_node(configuration: Configuration, **options: object) -> Configuration:
    return configuration.model_copy(update={"node": configuration.node.model_copy(update=options)})


def test_data_folder_that_does_not_exist_yet_is_fine(configuration: Configuration) -> None:
    assert check_data_folder(configuration).verdict == "ok"


def test_data_folder_below_a_file_is_a_problem(configuration: Configuration, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finding = check_data_folder(with_node(configuration, data_dir=tmp_path / "file" / "data"))
    assert finding.verdict == "problem"
    assert "node.data_dir" in finding.message


def test_little_free_disk_is_a_problem(configuration: Configuration) -> None:
    assert check_free_disk(configuration).verdict == "ok"
    finding = check_free_disk(with_node(configuration, minimum_free_disk_gib=1e9))
    assert finding.verdict == "problem"
    assert "node.minimum_free_disk_gib" in finding.message


def test_taken_port_is_a_problem(configuration: Configuration) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        finding = check_port(with_node(configuration, port=port))
    assert finding.verdict == "problem"
    assert "Address already in use" in finding.message
    assert check_port(with_node(configuration, port=port)).verdict == "ok"


def test_own_node_on_the_port_is_fine(configuration: Configuration, listener: Listener) -> None:
    running = with_node(configuration, port=listener.port, ae_title="PEER")
    with lock_folder(running.node.data_dir, "serve"):
        assert "answers C-ECHO" in check_port(running).message
        assert check_port(with_node(running, ae_title="OTHER")).verdict == "problem"


def test_peer_is_greeted(configuration: Configuration, listener: Listener) -> None:
    peer = Peer(name="PACS", ae_title="PEER", host="127.0.0.1", port=listener.port)
    assert check_peer(peer, configuration).verdict == "ok"
    with pytest.raises(PeerError):
        check_peer(peer.model_copy(update={"ae_title": "WRONG"}), configuration)


def test_damaged_database_is_a_problem(configuration: Configuration) -> None:
    table = JobTable(configuration.jobs_folder / "jobs.sqlite")
    table.close()
    assert check_database(configuration).verdict == "ok"
    (configuration.jobs_folder / "jobs.sqlite").write_bytes(b"damaged" * 1000)
    assert check_database(configuration).verdict == "problem"


def test_archive_is_asked(configuration: Configuration) -> None:
    assert check_archive(configuration).verdict == "ok"
    configuration.archive_folder.mkdir(parents=True)
    assert check_archive(configuration).verdict == "ok"


def test_missing_weights_are_a_problem(configuration: Configuration, tmp_path: Path) -> None:
    model = configuration.model.model_copy(update={"manifest": tmp_path / "none.toml"})
    finding = check_weights(configuration.model_copy(update={"model": model}))
    assert finding.verdict == "problem"
    assert "none.toml" in finding.message


def test_part_that_cannot_be_loaded_is_a_problem(configuration: Configuration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    (gpu,) = [finding for finding in run_checks(configuration) if finding.subject == "GPU"]
    assert gpu.verdict == "problem"
    assert "torch" in gpu.message


def test_failing_check_does_not_keep_the_others_from_running(configuration: Configuration) -> None:
    peer = Peer(name="nobody", ae_title="NOBODY", host="127.0.0.1", port=1)
    findings = list(run_checks(configuration.model_copy(update={"peers": (peer,)})))
    assert [finding.subject for finding in findings[:4]] == ["packages", "data folder", "free disk", "port"]
    assert (findings[-1].subject, findings[-1].verdict) == ("peer nobody", "problem")
    assert "127.0.0.1:1" in findings[-1].message
