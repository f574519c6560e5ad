"""The SCU against dcmtk's storescp and our own listener."""

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import UID, MRImageStorage, generate_uid
from pynetdicom import AE, AllStoragePresentationContexts, build_context

from dicom_node.network.receiver import TRANSFER_SYNTAXES, Listener
from dicom_node.network.sender import PeerError, echo_peer, send_files
from tests.dicom_node.network.instances import data_set_bytes, mr_instance, save, series
from tests.peers import DCMTK_MISSING, free_port, start_storescp

Listen = Callable[..., Listener]


@pytest.mark.end_to_end
@DCMTK_MISSING
def test_storescp_gets_the_bytes_as_they_are(tmp_path: Path) -> None:
    files = series(tmp_path / "source", generate_uid(), 10)
    files.append(Path(str(get_testdata_file("MR_small_jp2klossless.dcm", download=False))))
    with start_storescp(tmp_path / "received", "+B", "+xa", "-uf") as port:
        answers = send_files(files, "127.0.0.1", port, called_ae_title="STORESCP")
    assert [answer.status for answer in answers] == [0] * 11
    received = sorted(data_set_bytes(path) for path in (tmp_path / "received").iterdir())
    assert received == sorted(data_set_bytes(path) for path in files)


@pytest.mark.end_to_end
@DCMTK_MISSING
def test_a_transfer_syntax_that_the_peer_does_not_take_is_told_for_the_instance_alone(tmp_path: Path) -> None:
    plain = series(tmp_path / "source", generate_uid(), 1)
    compressed = Path(str(get_testdata_file("MR_small_jp2klossless.dcm", download=False)))
    with start_storescp(tmp_path / "received") as port:
        answers = {a.path: a for a in send_files([*plain, compressed], "127.0.0.1", port, called_ae_title="STORESCP")}
    assert answers[plain[0]].is_stored
    assert "JPEG 2000" in answers[compressed].problem


def test_more_than_128_kinds_take_more_than_one_association(listen: Listen, incoming: Path, tmp_path: Path) -> None:
    classes = [str(context.abstract_syntax) for context in AllStoragePresentationContexts][:140]
    study = generate_uid()
    files = []
    for number, sop_class in enumerate(classes):
        instance = mr_instance(study, generate_uid(), number, side=2, SOPClassUID=UID(sop_class))
        files.append(save(instance, tmp_path / "source"))
    answers = send_files(files, "127.0.0.1", listen().port, called_ae_title="METSEG")
    assert [answer.status for answer in answers] == [0] * 140
    assert {path.name for path in (incoming / study).iterdir()} == {path.name for path in files}


def test_every_storage_class_and_syntax_is_offered_by_the_listener(listen: Listen) -> None:
    port = listen().port
    classes = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    proposals = [build_context(sop_class, TRANSFER_SYNTAXES[-1]) for sop_class in classes]
    proposals += [build_context(MRImageStorage, syntax) for syntax in TRANSFER_SYNTAXES]
    assert len(classes) > 128
    for first in range(0, len(proposals), 128):
        batch = proposals[first : first + 128]
        association = AE().associate("127.0.0.1", port, batch, ae_title="METSEG")
        assert association.is_established
        assert len(association.accepted_contexts) == len(batch)
        association.release()


def test_a_file_that_is_none_stops_no_other(listen: Listen, tmp_path: Path) -> None:
    good = series(tmp_path / "source", generate_uid(), 1)
    bad = tmp_path / "source" / "notes.txt"
    bad.write_text("no DICOM here")
    missing = tmp_path / "source" / "missing.dcm"
    answers = send_files([bad, missing, *good], "127.0.0.1", listen().port, called_ae_title="METSEG")
    assert {answer.path: answer.is_stored for answer in answers} == {bad: False, missing: False, good[0]: True}
    assert all(str(answer.path) in answer.problem for answer in answers if not answer.is_stored)


@pytest.mark.end_to_end
@DCMTK_MISSING
@pytest.mark.parametrize("moment", ["--abort-during", "--abort-after"])
def test_a_peer_that_aborts_is_reported_for_every_instance(moment: str, tmp_path: Path) -> None:
    files = series(tmp_path / "source", generate_uid(), 4)
    started = time.monotonic()
    with start_storescp(tmp_path / "received", moment) as port:
        answers = send_files(files, "127.0.0.1", port, called_ae_title="STORESCP")
    assert [answer.path for answer in answers] == files
    assert all(answer.problem and answer.status is None for answer in answers)
    assert time.monotonic() - started < 20


def test_nobody_there_is_told_with_the_address() -> None:
    port = free_port()
    with pytest.raises(PeerError, match=f"127.0.0.1:{port}"):
        echo_peer("127.0.0.1", port, "ANYONE")


def test_a_peer_that_speaks_no_dicom_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def hang_up() -> None:
            connection, _address = server.accept()
            connection.recv(100)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(PeerError, match=f"127.0.0.1:{port}"):
            echo_peer("127.0.0.1", port, "ANYONE")
        thread.join()


def test_echo_and_send_nothing(listen: Listen) -> None:
    port = listen().port
    echo_peer("127.0.0.1", port, "METSEG", "SOMEONE")
    assert send_files([], "127.0.0.1", port, called_ae_title="METSEG") == ()
