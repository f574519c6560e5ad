"""The listener over real sockets: what is stored, what is refused, and what the log says.

Faults are in test_receiver_faults.py, the order of flushing in test_inbox.py. Not covered: TLS, and a real power cut.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from pynetdicom import AE, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at import time

from dicom_node.errors import ConfigurationError
from dicom_node.network.inbox import list_quarantined
from dicom_node.network.receiver import Listener, ListenerSettings, start_listener
from dicom_node.network.sender import PeerError, echo_peer, send_files
from dicom_node.notices import read_notices
from tests.dicom_node.network.instances import data_set_bytes, mr_instance, save, series
from tests.peers import DCMTK_MISSING, REAL_SERIES_MISSING, dcmtk

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


def test_an_instance_is_stored_under_its_study_byte_for_byte_with_the_sender_in_its_file_meta(
    listen: Listen, incoming: Path, tmp_path: Path
) -> None:
    study = generate_uid()
    files = series(tmp_path / "source", study, 3)
    assert send(files, listen().port) == [0, 0, 0]
    for file in files:
        stored = incoming / study / file.name
        assert data_set_bytes(stored) == data_set_bytes(file)
        meta = pydicom.dcmread(stored).file_meta
        assert meta.SourceApplicationEntityTitle == "MRSCANNER"
        assert meta.MediaStorageSOPInstanceUID == file.stem
    assert sorted(path.name for path in (incoming / study).iterdir()) == sorted(file.name for file in files)


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_implicit.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "image_dfl.dcm",
        "JPEG-lossy.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
    ],
)
def test_every_transfer_syntax_is_stored_as_it_came(name: str, listen: Listen, incoming: Path) -> None:
    path = Path(get_testdata_file(name, download=False))  # type: ignore[arg-type]
    assert send([path], listen().port) == [0]
    (stored,) = incoming.glob("*/*.dcm")
    meta = pydicom.dcmread(path).file_meta
    assert pydicom.dcmread(stored).file_meta.TransferSyntaxUID == meta.TransferSyntaxUID
    assert data_set_bytes(stored) == data_set_bytes(path)


def test_a_wrong_called_ae_title_is_rejected_and_the_log_names_both(
    listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen()
    with pytest.raises(PeerError, match="Called AE title not recognised"):
        echo_peer("127.0.0.1", listener.port, "METSGE", "MRSCANNER")
    wait_until(lambda: "METSGE" in caplog.text)
    assert "It called 'METSGE', but this node is 'METSEG'" in caplog.text
    assert is_up(listener)


def told(incoming: Path) -> list[tuple[str, str, int]]:
    """What `dicom-node jobs` is told of refusals: who, why, how often."""
    return [(one.source, one.reason, one.count) for one in read_notices(incoming.parent / "notices")]


def test_refused_senders_are_noted_for_people(listen: Listen, incoming: Path) -> None:
    listener = listen(max_associations=1)
    for called in ("METSGE", "METSGE", "OTHER"):
        with pytest.raises(PeerError, match="Called AE title not recognised"):
            echo_peer("127.0.0.1", listener.port, called, "MRSCANNER")
    ae = AE(ae_title="FIRST")
    holding = ae.associate("127.0.0.1", listener.port, [build_context(Verification)], ae_title="METSEG")
    with pytest.raises(PeerError, match="limit"):
        echo_peer("127.0.0.1", listener.port, "METSEG", "SECOND")
    holding.release()
    wait_until(lambda: len(told(incoming)) == 3)
    peer, remedy = "'MRSCANNER' at 127.0.0.1", "correct the called AE title at the sender."
    assert told(incoming) == [
        (peer, f"It called 'METSGE', but this node is 'METSEG': {remedy}", 2),
        (peer, f"It called 'OTHER', but this node is 'METSEG': {remedy}", 1),
        (
            "'SECOND' at 127.0.0.1",
            "No more than node.maximum_associations = 1 may be open: let it open fewer at a time, or raise the limit.",
            1,
        ),
    ]


def test_sender_that_proposes_nothing_to_take_is_noted(listen: Listen, incoming: Path) -> None:
    ae = AE(ae_title="WORKLIST")
    ae.associate("127.0.0.1", listen().port, [build_context("1.2.840.10008.5.1.4.31")], ae_title="METSEG")
    wait_until(lambda: len(told(incoming)) == 1)
    ((source, reason, _),) = told(incoming)
    assert source == "'WORKLIST' at 127.0.0.1"
    assert "no SOP class and transfer syntax that this node takes" in reason


def test_the_same_instance_again_changes_nothing(listen: Listen, incoming: Path, tmp_path: Path) -> None:
    study = generate_uid()
    files = series(tmp_path / "source", study, 2)
    port = listen().port
    send(files, port)
    before = {path: path.stat() for path in [incoming / study, *(incoming / study).iterdir()]}
    assert send(files, port) == [0, 0]
    after = {path: path.stat() for path in [incoming / study, *(incoming / study).iterdir()]}
    assert {path: (s.st_ino, s.st_mtime_ns) for path, s in before.items()} == {
        path: (s.st_ino, s.st_mtime_ns) for path, s in after.items()
    }


def test_other_content_under_the_same_uid_replaces_and_the_old_one_is_kept(
    listen: Listen, incoming: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study, series_uid = generate_uid(), generate_uid()
    first = save(mr_instance(study, series_uid, 1), tmp_path / "first")
    second = save(mr_instance(study, series_uid, 1, SeriesDescription="corrected"), tmp_path / "second")
    port = listen().port
    assert send([first], port) + send([second], port) == [0, 0]
    assert data_set_bytes(incoming / study / first.name) == data_set_bytes(second)
    (kept,) = (incoming.parent / "quarantine" / "superseded").glob("*.dcm")
    assert data_set_bytes(kept) == data_set_bytes(first)
    assert json.loads(kept.with_suffix(".json").read_text())["sop_instance_uid"] == first.stem
    assert list_quarantined(incoming.parent / "quarantine") == ()
    assert "Secret" not in caplog.text


def test_a_cut_off_data_set_is_refused_and_kept_with_the_reason(
    listen: Listen, incoming: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study = generate_uid()
    (path,) = series(tmp_path / "source", study, 1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    listener = listen()
    assert send([path], listener.port) == [0xC000]
    assert list(incoming.glob("*/*.dcm")) == []
    (kept,) = list_quarantined(incoming.parent / "quarantine")
    assert "cut off" in kept.reason
    assert (kept.study_uid, kept.calling_ae_title, kept.status) == (study, "MRSCANNER", 0xC000)
    assert data_set_bytes(incoming.parent / "quarantine" / kept.file_name) == data_set_bytes(path)
    assert "cut off" in caplog.text
    assert "Secret" not in caplog.text
    path.write_bytes(whole)
    assert send([path], listener.port) == [0], "the whole instance is taken afterwards"


@pytest.mark.parametrize(
    ("study_uid", "reason"), [("", "missing"), ("../../etc", "no valid UID"), ("1..2", "no valid UID")]
)
def test_a_study_uid_that_is_none_never_becomes_a_path(
    study_uid: str, reason: str, listen: Listen, incoming: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = save(mr_instance(study_uid, generate_uid(), 1), tmp_path / "source")
    assert send([path], listen().port) == [0xC000]
    (kept,) = list_quarantined(incoming.parent / "quarantine")
    assert reason in kept.reason
    assert "Study Instance UID" in kept.reason
    assert kept.study_uid == ""
    assert {entry.name for entry in incoming.iterdir()} == {".partial"}


def test_a_data_set_that_is_another_instance_than_the_command_says_is_refused(
    listen: Listen, incoming: Path, tmp_path: Path
) -> None:
    instance = mr_instance(generate_uid(), generate_uid(), 1)
    path = save(instance, tmp_path / "source")
    renamed = pydicom.dcmread(path)
    renamed.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    renamed.save_as(path, enforce_file_format=False)
    assert send([path], listen().port) == [0xA900]
    (kept,) = list_quarantined(incoming.parent / "quarantine")
    assert "differ" in kept.reason


def test_noise_is_refused_and_kept(listen: Listen, incoming: Path, tmp_path: Path) -> None:
    path = save(mr_instance(generate_uid(), generate_uid(), 1), tmp_path)
    start = len(path.read_bytes()) - len(data_set_bytes(path))
    noise = os.urandom(5000)
    path.write_bytes(path.read_bytes()[:start] + noise)
    listener = listen()
    assert send([path], listener.port) == [0xC000]
    (kept,) = list_quarantined(incoming.parent / "quarantine")
    assert data_set_bytes(incoming.parent / "quarantine" / kept.file_name) == noise
    assert is_up(listener)


def test_what_an_interrupted_run_left_is_swept_and_received_files_stay(listen: Listen, incoming: Path) -> None:
    (incoming / ".partial").mkdir(parents=True)
    (incoming / ".partial" / "0123").write_bytes(b"half an instance")
    (incoming / "1.2.3").mkdir()
    (incoming / "1.2.3" / "4.5.dcm").write_bytes(b"received earlier")
    listen()
    assert list((incoming / ".partial").iterdir()) == []
    assert (incoming / "1.2.3" / "4.5.dcm").read_bytes() == b"received earlier"


def test_too_little_free_space_is_answered_as_out_of_resources(
    listen: Listen, incoming: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = series(tmp_path / "source", generate_uid(), 1)
    listener = listen(minimum_free_bytes=2**60)
    assert send(files, listener.port) == [0xA700]
    assert list(incoming.glob("*/*.dcm")) == []
    assert "the disk is full" in caplog.text
    ((source, reason, count),) = told(incoming)
    assert (source, count) == ("'MRSCANNER'", 1)
    assert "the disk is full" in reason
    assert "make room" in reason


def test_a_port_in_use_is_named(listen: Listen, tmp_path: Path) -> None:
    port = listen().port
    with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}"):
        start_listener(ListenerSettings(incoming_folder=tmp_path / "other", port=port))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match="file/incoming"):
        start_listener(ListenerSettings(incoming_folder=tmp_path / "file" / "incoming", port=0))


def test_an_impossible_ae_title_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="ae_title"):
        start_listener(ListenerSettings(incoming_folder=tmp_path / "in", port=0, ae_title="A_TITLE_THAT_IS_TOO_LONG"))


def test_the_listener_loads_neither_torch_nor_the_analysis() -> None:
    script = (
        "import sys, dicom_node.network.receiver; "
        "sys.exit(', '.join({'torch', 'monai', 'inference', 'tracking', 'ants'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.end_to_end
@DCMTK_MISSING
def test_dcmtk_echo_and_a_wrong_title(listen: Listen) -> None:
    port = str(listen().port)
    assert dcmtk("echoscu", "-aec", "METSEG", "127.0.0.1", port)[0] == 0
    status, said = dcmtk("echoscu", "-aec", "ANYNODE", "127.0.0.1", port)
    assert status != 0
    assert "Called AE Title Not Recognized" in said


@pytest.mark.end_to_end
@DCMTK_MISSING
@REAL_SERIES_MISSING
@pytest.mark.parametrize(("name", "count"), [("SAG-anon", 192), ("studyforrest-anat", 384)])
def test_real_scanner_series_sent_with_storescu_are_stored_bit_for_bit(
    name: str, count: int, listen: Listen, incoming: Path, real_series: dict[str, Path]
) -> None:
    command = ["-aet", "MRSCANNER", "-aec", "METSEG", "+sd", "+r", "127.0.0.1", str(listen().port)]
    status, said = dcmtk("storescu", *command, real_series[name], env={**os.environ, "TCP_NODELAY": "1"})
    assert status == 0, said
    sources = [path for path in real_series[name].rglob("*") if path.is_file()]
    assert len(sources) == count
    for source in sources:
        header = pydicom.dcmread(source, stop_before_pixels=True)
        stored = incoming / header.StudyInstanceUID / f"{header.SOPInstanceUID}.dcm"
        assert data_set_bytes(stored) == data_set_bytes(source)
    dump_status, dump = dcmtk("dcmdump", "+P", "0002,0016", stored)
    assert dump_status == 0
    assert "MRSCANNER" in dump
