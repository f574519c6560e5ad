"""What a node must survive: each bad study ends in a named reason, nothing is lost, and the next one is taken."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import CTImageStorage

from tests.end_to_end.foreign_patient import Visit, write_series
from tests.end_to_end.node import Node, serving
from tests.peers import DCMTK_MISSING

pytestmark = [
    pytest.mark.end_to_end,
    DCMTK_MISSING,
]

T1C = {
    "0008|0008": "ORIGINAL\\PRIMARY",
    "0008|103e": "T1 +C",
    "0018|0010": "GADOVIST",
    "0018|0020": "SE",
    "0018|0080": "550",
    "0018|0081": "12",
}
ROOT = "1.2.826.0.1.3680043.8.498.666"
SLICES = 40


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with serving(tmp_path_factory.mktemp("node")) as running:
        yield running


def visit_of(number: int) -> Visit:
    return Visit(
        index=0,
        study_uid=f"{ROOT}.{number}",
        frame_uid=f"{ROOT}.{number}.9",
        study_date="20240105",
        rotation_deg=(0, 0, 0),
        shift_mm=(0, 0, 0),
        slice_spacing_mm=4.0,
    )


def write_t1c(folder: Path, number: int) -> list[Path]:
    """Write a T1c whose header is in order; its pixels are a ball in noise."""
    z, y, x = np.indices((SLICES, 64, 64))
    ball = np.hypot(np.hypot((z - 20) * 4, (y - 32) * 3.5), (x - 32) * 3.5) < 70
    image = sitk.GetImageFromArray(
        (ball * 600 + np.random.default_rng(number).normal(40, 5, ball.shape)).astype(np.uint16)
    )
    image.SetSpacing((3.5, 3.5, 4.0))
    write_series(image, folder, visit_of(number), 4, T1C)
    return sorted(folder.iterdir())


def edit(paths: list[Path], change: Callable[[pydicom.Dataset], None]) -> None:
    for path in paths:
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path)


def make_ct(dataset: pydicom.Dataset) -> None:
    dataset.Modality, dataset.SOPClassUID = "CT", CTImageStorage
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage


def make_t2(dataset: pydicom.Dataset) -> None:
    dataset.RepetitionTime, dataset.EchoTime, dataset.SeriesDescription = "4500", "100", "T2 TSE"
    del dataset.ContrastBolusAgent


def shear(dataset: pydicom.Dataset) -> None:
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, float(y) + 0.3 * float(z), z]


def other_frame(dataset: pydicom.Dataset) -> None:
    dataset.FrameOfReferenceUID = f"{ROOT}.999"


CASES: dict[int, tuple[str, Callable[[list[Path]], None], tuple[str, ...]]] = {
    1: ("CT", lambda paths: edit(paths, make_ct), ("CT",)),
    2: ("no T1c", lambda paths: edit(paths, make_t2), ("T1c", "T2")),
    3: ("missing slices", lambda paths: [path.unlink() for path in paths[15:18]], ("3", "missing")),
    4: ("two frames of reference", lambda paths: edit(paths[:20], other_frame), ("frame", "reference")),
    5: ("sheared", lambda paths: edit(paths, shear), ("orthogonal",)),
}


@pytest.mark.parametrize("number", CASES, ids=[name for name, _, _ in CASES.values()])
def test_bad_study_gets_its_reason_and_is_kept(node: Node, tmp_path: Path, number: int) -> None:
    _, spoil, words = CASES[number]
    spoil(write_t1c(tmp_path / "series", number))
    sent = len(list((tmp_path / "series").iterdir()))
    answer = node.send(tmp_path / "series")
    assert answer.returncode == 0, answer.stderr
    job = node.finished(visit_of(number).study_uid, timeout_s=90)
    assert job["state"] == "attention"
    for word in words:
        assert word in job["reason"], job["reason"]
    assert len(list((node.data / "incoming" / visit_of(number).study_uid).glob("*.dcm"))) == sent
    assert job["reason"] in node.log.read_text()


def test_truncated_file_on_disk_is_named(node: Node, tmp_path: Path) -> None:
    """A sender cannot deliver half a file over C-STORE without an error; half a pixel matrix it can."""
    paths = write_t1c(tmp_path / "series", 6)

    def halve(dataset: pydicom.Dataset) -> None:
        dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]

    edit(paths[10:11], halve)
    node.send(tmp_path / "series")
    job = node.finished(visit_of(6).study_uid, timeout_s=90)
    assert job["state"] == "attention"
    assert "truncated" in job["reason"]
    assert f"{visit_of(6).study_uid}.4.11" in job["reason"]


def notices_about(node: Node, words: str) -> list[dict[str, Any]]:
    """What `dicom-node jobs` tells that is no job, from the listener's notices."""
    return [entry for entry in node.jobs() if entry["kind"] == "notice" and words in entry["reason"]]


def test_wrong_called_ae_title_is_refused_and_named(node: Node, tmp_path: Path) -> None:
    write_t1c(tmp_path / "series", 7)
    answer = node.send(tmp_path / "series", called="SOMEONEELSE")
    assert answer.returncode != 0
    assert "It called 'SOMEONEELSE', but this node is 'METSEG'" in node.log.read_text()
    assert not (node.data / "incoming" / visit_of(7).study_uid).exists()
    (told,) = notices_about(node, "'SOMEONEELSE'")
    assert told["count"] == 1
    assert "'HOSPITALPACS' at 127.0.0.1 was refused once." in told["reason"]
    assert "'METSEG': correct the called AE title at the sender." in told["reason"]


def test_node_takes_the_next_study_after_all_that(node: Node, tmp_path: Path) -> None:
    """That a good study gets its results is test_real_head's; here it is enough that the node judges this one."""
    edit(write_t1c(tmp_path / "series", 8), make_t2)
    assert node.send(tmp_path / "series").returncode == 0
    assert "T2" in node.finished(visit_of(8).study_uid, timeout_s=180)["reason"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], check=True)
    try:
        with serving(disk, node_options="minimum_free_disk_gib = 0") as node:
            edit(write_t1c(tmp_path / "series", 9), make_t2)
            ballast = disk / "ballast"
            ballast.write_bytes(bytes(shutil.disk_usage(disk).free - 100_000))
            assert node.send(tmp_path / "series").returncode != 0
            assert "the disk is full" in node.log.read_text()
            (told,) = notices_about(node, "the disk is full")  # while the disk is full
            assert "from 'HOSPITALPACS' w" in told["reason"]
            assert told["count"] >= 1
            assert "make room" in told["reason"]
            ballast.unlink()
            assert node.send(tmp_path / "series").returncode == 0
            incoming = node.data / "incoming" / visit_of(9).study_uid
            assert len(list(incoming.glob("*.dcm"))) == SLICES
            assert "T2" in node.finished(visit_of(9).study_uid, timeout_s=180)["reason"]
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
