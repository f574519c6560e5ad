"""The table: what it may hold, and a sentence for all that it may not."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from inference.evaluation.table import ManifestError, of_quality, read_manifest
from tests.inference.evaluation.phantoms import write_table

ROW = {"patient": "P1", "study_date": "2024-03-01", "truth": "t.nii", "prediction": "p.nii"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("t.nii", "p.nii", "a.nii"):
        (tmp_path / name).touch()
    return tmp_path


def test_rows_come_in_order_with_paths_beside_the_table(folder: Path) -> None:
    rows = [
        ROW | {"study_date": "2024-05-01", "reader_A": "a.nii", "brain": "a.nii"},
        ROW | {"reader_A": "", "brain": ""},
    ]
    first, second = read_manifest(write_table(folder / "m.csv", rows))
    assert (first.study_date, second.study_date) == (date(2024, 3, 1), date(2024, 5, 1))
    assert (first.readers, first.brain, first.quality) == ({}, None, "gold")
    assert (second.readers, second.brain) == ({"A": folder / "a.nii"}, folder / "a.nii")
    assert second.truth == folder / "t.nii"
    assert second.name == "P1 of 2024-05-01"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"study_date": "1.3.2024"}, r"Row 2 has the study_date '1\.3\.2024'; write it as 2024-03-31"),
        ({"truth": "gone.nii"}, r"Row 2: the truth .*gone\.nii is not there"),
        ({"reader_A": "gone.nii"}, r"Row 2: the reader_A .*gone\.nii is not there"),
        ({"prediction": ""}, "Row 2 has no prediction"),
        ({"quality": ""}, "Row 2 has no quality"),
        ({"quality": "good"}, "quality 'good'; it must be one of gold, silver, synthetic"),
        ({"ignor": "a.nii"}, "column 'ignor', which means nothing here"),
        ({"reader_model": "a.nii"}, "a reader cannot be called 'model'"),
        ({"reader_": "a.nii"}, "a reader cannot be called ''"),
    ],
)
def test_a_wrong_row_is_named(folder: Path, change: Mapping[str, str], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(write_table(folder / "m.csv", [ROW | change]))


def test_defect_12_a_name_is_refused_and_not_repeated(folder: Path) -> None:
    with pytest.raises(ManifestError, match="Row 2: the patient is not named by a pseudonym") as caught:
        read_manifest(write_table(folder / "m.csv", [ROW | {"patient": "DOE^JANE"}]))
    assert "DOE" not in str(caught.value)


def test_a_scan_comes_once(folder: Path) -> None:
    with pytest.raises(ManifestError, match="has the scan P1 of 2024-03-01 twice"):
        read_manifest(write_table(folder / "m.csv", [ROW, ROW]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient,study_date\nP1,2024-01-01\n", "has no column truth, prediction"),
        ("patient,study_date,truth,prediction\n", "lists no scan"),
        ("", "has no column patient"),
        ("patient,patient,study_date,truth,prediction\n", "has the column patient twice"),
        ("patient,study_date,truth,prediction\nP1,2024-01-01,t.nii,p.nii,more\n", "Row 2 has more values"),
        ("patient,study_date,truth,prediction\nP1,2024-01-01\n", "Row 2 has no truth"),
    ],
)
def test_a_wrong_table(folder: Path, text: str, message: str) -> None:
    (folder / "m.csv").write_text(text)
    with pytest.raises(ManifestError, match=message):
        read_manifest(folder / "m.csv")


def test_a_table_that_is_none(folder: Path) -> None:
    (folder / "m.csv").write_bytes(b"\xff\xfe\x00\x01")
    for path in (folder / "m.csv", folder / "gone.csv", folder):
        with pytest.raises(ManifestError, match="cannot be read as a CSV table"):
            read_manifest(path)


def test_only_gold_unless_asked(folder: Path) -> None:
    rows = [ROW | {"quality": "gold"}, ROW | {"patient": "P2", "quality": "silver"}]
    table = read_manifest(write_table(folder / "m.csv", rows))
    assert [row.patient for row in of_quality(table, ["gold"])] == ["P1"]
    assert len(of_quality(table, ["gold", "silver"])) == 2
    with pytest.raises(ManifestError, match=r"No scan has a truth of quality gold \(there are 1 silver\)"):
        of_quality(table[1:], ["gold"])
    with pytest.raises(ManifestError, match="quality 'bronze' is unknown"):
        of_quality(table, ["bronze"])
