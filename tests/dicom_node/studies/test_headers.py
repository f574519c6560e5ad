"""Whole and truncated files, told apart without reading pixels; encodings that pydicom cannot read are not covered."""

from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.studies.headers import UnreadableHeaderError, number, read_header, text, texts
from tests.dicom_node.studies.scanners import SIEMENS_MPRAGE, grid, save, series


def one_file(folder: Path) -> Path:
    return save(series(grid((1, 32, 32)), SIEMENS_MPRAGE), folder)[0]


def cut(path: Path, size: int) -> Path:
    path.write_bytes(path.read_bytes()[:size])
    return path


def test_a_whole_file_has_no_defect(tmp_path: Path) -> None:
    header = read_header(one_file(tmp_path))
    assert header.defect == ""
    assert "PixelData" not in header.dataset


@pytest.mark.parametrize("missing", [1, 100, 2047])
def test_missing_pixel_bytes_are_counted(tmp_path: Path, missing: int) -> None:
    path = one_file(tmp_path)
    header = read_header(cut(path, path.stat().st_size - missing))
    assert f"{2048 - missing} of 2048 bytes" in header.defect


def test_missing_pixel_bytes_are_counted_in_implicit_encoding(tmp_path: Path) -> None:
    dataset = series(grid((1, 32, 32)), SIEMENS_MPRAGE)[0]
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    path = tmp_path / "implicit.dcm"
    dataset.save_as(path, enforce_file_format=True)
    assert read_header(path).defect == ""
    assert "2047 of 2048" in read_header(cut(path, path.stat().st_size - 1)).defect


def test_a_deflated_file_is_not_mistaken_for_a_truncated_one(tmp_path: Path) -> None:
    dataset = series(grid((1, 32, 32)), SIEMENS_MPRAGE)[0]
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = tmp_path / "deflated.dcm"
    dataset.save_as(path, enforce_file_format=True)
    assert read_header(path).defect == ""


def test_a_file_that_ends_in_its_header_is_truncated(tmp_path: Path) -> None:
    header = read_header(cut(one_file(tmp_path), 700))
    assert "ends at byte 700, before its pixel data" in header.defect


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 128 + b"DIC", b"PK\3\4" * 100])
def test_what_is_no_dicom_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(UnreadableHeaderError, match=r"notes\.txt"):
        read_header(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableHeaderError, match="cannot be read"):
        read_header(tmp_path / "gone.dcm")


def test_values_are_read_as_plain_texts_and_numbers() -> None:
    dataset = Dataset()
    dataset.ScanningSequence = ["gr", "IR"]
    dataset.EchoTime = None
    dataset.PixelSpacing = [0.5, 0.7]
    assert texts(dataset, "ScanningSequence") == ("GR", "IR")
    assert texts(dataset, "ImageType") == ()
    assert number(dataset, "EchoTime") is None
    assert number(dataset, "PixelSpacing") == 0.5
    assert text(dataset, "SeriesDescription") == ""
