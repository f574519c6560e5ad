"""What is kept beside weights: used while everything fits, made again when a byte, a version or the weights change."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from inference.agreement import Agreement
from inference.kept import circumstances, folder_of, processor_flags, processor_name, read_record, write_record
from tests.inference.test_predictor import MANIFEST

MADE_WITH = {"weights": "abc", "torch": "2.13.0"}
AGREEMENTS = {"bf16": Agreement(voxels=1000, dice=0.999, difference=0.01)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_record(tmp_path / "record.json", MADE_WITH, AGREEMENTS)
    return tmp_path / "record.json"


def test_a_record_reads_back(path: Path) -> None:
    record = read_record(path, MADE_WITH)
    assert record is not None
    assert record.agreements == AGREEMENTS
    assert [p.name for p in path.parent.iterdir() if p.suffix == ".part"] == []


def test_no_record_is_no_news(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_record(tmp_path / "record.json", MADE_WITH) is None
    assert not caplog.records


def test_other_circumstances_make_it_anew(path: Path) -> None:
    assert read_record(path, MADE_WITH | {"torch": "2.14.0"}) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"made_with": {}}', b"\xff"])
def test_a_damaged_record_is_made_anew(path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(content)
    assert read_record(path, MADE_WITH) is None
    assert "damaged" in caplog.text


def test_other_weights_have_another_folder(tmp_path: Path) -> None:
    folders = []
    for sha256 in ("a" * 64, "b" * 64):
        with folder_of(tmp_path, replace(MANIFEST, sha256=sha256)) as folder:
            folders.append(folder)
    assert [folder.name for folder in folders] == ["a" * 64, "b" * 64]


def test_one_at_a_time(tmp_path: Path) -> None:
    order = []

    def second() -> None:
        with folder_of(tmp_path, MANIFEST):
            order.append("second")

    with folder_of(tmp_path, MANIFEST):
        other = threading.Thread(target=second)
        other.start()
        other.join(0.3)
        order.append("first")
    other.join()
    assert order == ["first", "second"]


def test_circumstances_name_model_software_and_processor() -> None:
    found = circumstances(replace(MANIFEST, sha256="abc"), "numpy")
    assert found["weights"] == "abc"
    assert found["numpy"]
    assert found["processor"] == processor_name() != ""
    assert circumstances(replace(MANIFEST, window=(32, 32, 32), sha256="abc"), "numpy") != found
    assert "sse2" in processor_flags() or "asimd" in processor_flags() or processor_flags() == frozenset()
