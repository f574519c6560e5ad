"""Rows and JSON as they are written."""

import json
from pathlib import Path

import pytest

from inference.evaluation.files import brats_rows, lesion_row, scan_rows, write_summary, write_tables
from inference.evaluation.scoring import Results
from tests.inference.evaluation.phantoms import cubes, scan, scored

SCORE = scored(scan(cubes(((2, 2, 2), 4)), cubes(((3, 2, 2), 4)), spacing_mm=(1.0, 1.0, 2.0)))


def test_rows_name_scan_and_rater() -> None:
    (row,) = scan_rows([SCORE])
    assert (row["patient"], row["study_date"], row["rater"]) == ("P1", "2024-01-01", "model")
    assert (row["recall_any_overlap"], row["f1_iou"], row["true_volume_mm3"]) == (1, 1, 128)
    assert row["ndsc_raina"] == pytest.approx(row["dice"])  # one scan has the load of the whole set
    lesion = lesion_row(SCORE.lesions[0])
    assert lesion["diameter_mm"] == pytest.approx((6 * 128 / 3.141592653589793) ** (1 / 3))
    assert (lesion["found_any_overlap"], lesion["identity"]) == (1, None)
    assert [one["region"] for one in brats_rows(SCORE)] == ["TC", "ET", "WT"]


def test_no_number_is_an_empty_cell(tmp_path: Path) -> None:
    empty = scored(scan(cubes(), cubes()))
    write_tables(tmp_path, Results(scans={"model": [empty]}, pairs=[]))
    header, row = (tmp_path / "scans.csv").read_text(encoding="utf-8").splitlines()
    cells = dict(zip(header.split(","), row.split(","), strict=True))
    assert (cells["dice"], cells["ndsc_chuv"], cells["f1_any_overlap"], cells["lesions_any_overlap"]) == (
        "",
        "",
        "",
        "0",
    )
    assert not (tmp_path / "lesions.csv").exists()


def test_only_what_json_knows_is_written(tmp_path: Path) -> None:
    write_summary(tmp_path / "s.json", {"size": "<10 mm³", "none": None})
    assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8")) == {"size": "<10 mm³", "none": None}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_summary(tmp_path / "s.json", {"value": float("nan")})
    with pytest.raises(TypeError, match="set cannot be written"):
        write_summary(tmp_path / "s.json", {"value": {1}})
