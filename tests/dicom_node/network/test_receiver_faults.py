"""The listener under full disks, lost and silent peers, floods and signals: it stays up and leaves no litter."""

import logging
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pynetdicom import AE, build_context
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at import time

from dicom_node.network.receiver import Listener
from dicom_node.network.sender import PeerError, echo_peer, send_files
from tests.dicom_node.network.instances import data_set_bytes, series
from tests.peers import DCMTK_MISSING, free_port, wait_for_port

Listen = Callable[..., Listener]


def send(files: list[Path], port: int) -> list[int | None]:
    results = send_files(files, "127.0.0.1", port, called_ae_title="METSEG", calling_ae_title="MRSCANNER")
    return [result.status for result in results]


def is_up(listener: Listener) -> bool:
    echo_peer("127.0.0.1", listener.port, "METSEG")
    return True


def wait_until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


class ListenerProcess:
    """`run_listener` as its own process, started through `wrapper`."""

    def __init__(self, incoming: Path, *wrapper: str) -> None:
        self.port = free_port()
        script = (
            "from pathlib import Path; from dicom_node.network.receiver import *; "
            f"run_listener(ListenerSettings(incoming_folder=Path({str(incoming)!r}), port={self.port}, "
            "minimum_free_bytes=0, network_timeout_s=5, drain_timeout_s=1))"
        )
        self.log = incoming.parent.parent / "listener.log"
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                [*wrapper, sys.executable, "-c", script], stderr=stream, cwd=Path(__file__).parents[3]
            )
        wait_for_port(self.port, self.process, timeout_s=30)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(20)


def test_a_process_that_receives_ends_on_sigterm_in_the_middle_of_an_association(incoming: Path) -> None:
    listener = ListenerProcess(incoming)
    ae = AE()
    association = ae.associate("127.0.0.1", listener.port, [build_context(Verification)], ae_title="METSEG")
    assert association.is_established
    started = time.monotonic()
    assert listener.stop() == 0
    assert time.monotonic() - started < 15
    wait_until(lambda: not association.is_established)


def test_a_file_that_cannot_be_written_whole_is_refused_and_leaves_nothing(incoming: Path, tmp_path: Path) -> None:
    small = series(tmp_path / "small", generate_uid(), 2)
    large = series(tmp_path / "large", generate_uid(), 2, side=256)
    listener = ListenerProcess(incoming, "prlimit", f"--fsize={64 * 1024}")
    try:
        assert send([*large, *small], listener.port) == [0xA700, 0xA700, 0, 0]
    finally:
        listener.stop()
    assert {path.name for path in incoming.glob("*/*.dcm")} == {path.name for path in small}
    assert list((incoming / ".partial").iterdir()) == []
    assert "File too large" in listener.log.read_text()


def can_mount() -> bool:
    return shutil.which("unshare") is not None and (
        subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not can_mount(), reason="no small disk can be mounted here (unshare -rm)")
def test_a_full_disk_is_answered_as_out_of_resources_until_there_is_room_again(incoming: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    files = series(tmp_path / "source", generate_uid(), 12, side=256)  # 131 kB each, on a disk of 1 MB
    mount = f'mount -t tmpfs -o size=1m none {disk} && exec "$@"'
    (tmp_path / "node").mkdir()
    listener = ListenerProcess(disk / "incoming", "unshare", "-rm", "sh", "-c", mount, "sh")
    seen = Path(f"/proc/{listener.process.pid}/root") / disk.relative_to("/")
    try:
        statuses = send(files, listener.port)
        stored = statuses.count(0)
        assert 4 <= stored <= 8
        assert statuses == [0] * stored + [0xA700] * (12 - stored)
        assert len(list(seen.glob("incoming/*/*.dcm"))) == stored
        assert list((seen / "incoming" / ".partial").iterdir()) == []
        for file in files[:stored]:
            (path,) = seen.glob(f"incoming/*/{file.name}")
            assert data_set_bytes(path) == data_set_bytes(file)
            path.unlink()
        assert send(files[stored : stored + 3], listener.port) == [0, 0, 0]
    finally:
        listener.stop()
    assert "the disk is full" in listener.log.read_text()


def half_an_instance(port: int) -> socket.socket:
    """A connection on which an association is open and half of a C-STORE request has been sent."""
    ae = AE(ae_title="MRSCANNER")
    ae.acse_timeout = 5
    context = build_context(MRImageStorage, ExplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", port, [context], ae_title="METSEG")
    assert association.is_established
    assert association.dul.socket is not None
    raw = association.dul.socket.socket
    assert raw is not None
    command = pydicom.Dataset()
    command.AffectedSOPClassUID = MRImageStorage
    command.AffectedSOPInstanceUID = generate_uid()
    command.CommandField, command.MessageID, command.Priority, command.CommandDataSetType = 1, 1, 0, 0
    body = encode(command, is_implicit_vr=True, is_little_endian=True)
    assert body is not None
    body = struct.pack("<HHLL", 0, 0, 4, len(body)) + body
    raw.sendall(p_data(body, 0x03) + p_data(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100" * 50, 0x00))
    raw.sendall(p_data(b"x" * 4000, 0x00)[:1000])  # and half of a PDU
    return raw


def p_data(fragment: bytes, control: int) -> bytes:
    item = struct.pack(">LBB", len(fragment) + 2, 1, control) + fragment
    return struct.pack(">BBL", 4, 0, len(item)) + item


def test_a_connection_lost_in_mid_transfer_leaves_nothing(listen: Listen, incoming: Path) -> None:
    listener = listen(network_timeout_s=2.0)
    raw = half_an_instance(listener.port)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: is_up(listener))
    assert {entry.name for entry in incoming.iterdir()} == {".partial"}
    assert list((incoming / ".partial").iterdir()) == []


def test_a_peer_that_falls_silent_in_the_middle_of_a_pdu_is_dropped(listen: Listen, incoming: Path) -> None:
    listener = listen(network_timeout_s=1.0, max_associations=1)
    half_an_instance(listener.port)
    with pytest.raises(PeerError, match="limit"):
        is_up(listener)

    def takes_again() -> bool:
        try:
            return is_up(listener)
        except PeerError:
            return False

    wait_until(takes_again)
    assert {entry.name for entry in incoming.iterdir()} == {".partial"}


def test_connections_that_never_ask_for_anything_are_dropped(listen: Listen) -> None:
    listener = listen(acse_timeout_s=0.5, network_timeout_s=0.5, max_associations=4)
    silent = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(20)]
    for connection in silent:
        connection.settimeout(10)
        assert connection.recv(1) == b"", "the listener closes the connection"
        connection.close()
    wait_until(lambda: is_up(listener))


@pytest.mark.parametrize(
    "noise",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x01\x00\xff\xff\xff\xff", b"\x04\x00\x00\x00\x00\x04abcd", b"\x16\x03\x01\x02\x00"],
)
def test_what_is_no_dicom_does_no_harm(noise: bytes, listen: Listen) -> None:
    listener = listen(acse_timeout_s=1.0, network_timeout_s=1.0)
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", listener.port)) as connection:
            connection.sendall(noise)
    assert is_up(listener)


def test_a_flood_of_associations_is_limited_and_survived(
    listen: Listen, incoming: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="dicom_node")
    listener = listen(max_associations=3)
    batches = [series(tmp_path / str(number), generate_uid(), 4) for number in range(12)]
    outcomes: list[list[int | None] | str] = []

    def flood(batch: list[Path]) -> None:
        try:
            outcomes.append(send(batch, listener.port))
        except PeerError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=flood, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    served = [outcome for outcome in outcomes if outcome == [0, 0, 0, 0]]
    refused = [outcome for outcome in outcomes if "limit exceeded" in outcome]
    assert served, "a flood stops no one for long"
    assert len(served) + len(refused) == 12
    assert len(list(incoming.glob("*/*.dcm"))) == 4 * len(served)
    assert is_up(listener)


def test_many_associations_at_once_store_everything(listen: Listen, incoming: Path, tmp_path: Path) -> None:
    study = generate_uid()
    batches = [series(tmp_path / str(number), study, 10) for number in range(8)]
    port = listen().port
    threads = [threading.Thread(target=send, args=(batch, port)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for file in (file for batch in batches for file in batch):
        assert data_set_bytes(incoming / study / file.name) == data_set_bytes(file)


@pytest.mark.end_to_end
@DCMTK_MISSING
def test_a_storescu_killed_while_sending_loses_nothing_that_was_acknowledged(
    listen: Listen, incoming: Path, tmp_path: Path
) -> None:
    listener = listen()
    files = series(tmp_path / "source", generate_uid(), 60, side=256)
    command = ["storescu", "-v", "-aec", "METSEG", "+sd", "127.0.0.1", str(listener.port), str(tmp_path / "source")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    acknowledged = 0
    for line in process.stdout:
        acknowledged += "Received Store Response (Success)" in line
        if acknowledged == 10:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    wait_until(lambda: is_up(listener))
    stored = list(incoming.glob("*/*.dcm"))
    assert len(stored) >= 10
    by_name = {file.name: file for file in files}
    for path in stored:
        assert data_set_bytes(path) == data_set_bytes(by_name[path.name])
    assert list((incoming / ".partial").iterdir()) == []
