"""A whole evaluation from files to files."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from inference.evaluation.report import EvaluationOptions, evaluate
from inference.evaluation.table import ManifestError
from tests.inference.evaluation.phantoms import cubes, save, small_study, write_table

OPTIONS = EvaluationOptions(resamples=200)
PICTURES = ("bland_altman", "changes", "froc", "sensitivity_by_size", "volumes")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def out(study: Path) -> Path:
    folder = study.parent / "out" / "deep"
    evaluate(study, folder, OPTIONS)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_all_files_are_written(out: Path) -> None:
    tables = {"brats.csv", "changes.csv", "lesions.csv", "raters.csv", "scans.csv"}
    assert {path.name for path in out.iterdir()} == {*tables, "summary.json", "figures"}
    names = {path.name for path in (out / "figures").iterdir()}
    assert names == {f"{name}.{kind}" for name in PICTURES for kind in ("png", "svg")}


@pytest.mark.slow
def test_tables_hold_every_scan_lesion_and_rater(out: Path) -> None:
    assert len(rows(out / "scans.csv")) == 6 * 3
    assert len(rows(out / "lesions.csv")) == (1 + 2) * 3 * 3
    assert len(rows(out / "raters.csv")) == 6 * 3
    assert len(rows(out / "brats.csv")) == 6 * 3 * 3
    assert len(rows(out / "changes.csv")) == 3 * 3 * (1 + 1 + 2)
    first = rows(out / "scans.csv")[0]
    assert (first["patient"], first["study_date"], first["rater"]) == ("P0", "2024-01-10", "model")
    assert float(first["dice"]) == pytest.approx(2 * 48 / (64 + 72))
    assert (first["false_positives_any_overlap"], first["dice_edema"]) == ("1", "")


@pytest.mark.slow
def test_lesions_are_followed_by_their_identity(out: Path) -> None:
    model = [row for row in rows(out / "changes.csv") if row["rater"] == "model" and row["patient"] == "P0"]
    lesions = {row["identity"]: row for row in model if row["quantity"] == "lesion_volume_mm3"}
    assert (lesions["5"]["true_change"], lesions["5"]["predicted_change"]) == ("61", "61")
    assert (lesions["9"]["true_change"], lesions["9"]["predicted_change"]) == ("8", "0")


@pytest.mark.slow
def test_summary_has_every_figure_with_interval_and_number(out: Path) -> None:
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert (summary["scans"], summary["patients"]) == (6, 3)
    assert summary["bootstrap"]["resamples"] == 200
    model = summary["raters"]["model"]
    recall = model["detection"]["any_overlap"]["recall"]
    assert recall == {"value": pytest.approx(6 / 9), "low": None, "high": None, "n": 9}  # alike in every patient
    assert set(model["overlap"]["dice"]) == {"value", "low", "high", "n"}
    assert summary["raters"]["A"]["detection"]["any_overlap"]["recall"]["value"] == 1
    assert summary["readers"]["model_minus_reader"]["A"]["recall"]["difference"]["value"] == pytest.approx(-1 / 3)
    assert summary["readers"]["dice_of_two"]["A and B"]["n"] == 6
    assert summary["froc"]["lesions"]["all"] == 9
    assert summary["froc"]["sensitivity_at"]["all"]["1"]["value"] == pytest.approx(6 / 9)


@pytest.mark.slow
def test_the_same_table_gives_the_same_files(study: Path, out: Path, tmp_path: Path) -> None:
    evaluate(study, tmp_path, OPTIONS)
    for path in sorted(out.rglob("*.*")):
        assert (tmp_path / path.relative_to(out)).read_bytes() == path.read_bytes(), path.name


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """One scan with a truth in other labels, and nothing else."""
    save(tmp_path / "t.nii.gz", cubes(((2, 2, 2), 4), label=3))
    save(tmp_path / "p.nii.gz", cubes(((2, 2, 2), 4), label=1))
    row = {"patient": "P1", "study_date": "2024-01-01", "truth": "t.nii.gz", "prediction": "p.nii.gz"}
    return write_table(tmp_path / "m.csv", [row])


@pytest.mark.slow
def test_one_bare_scan_in_other_labels(bare: Path, tmp_path: Path) -> None:
    summary = evaluate(bare, tmp_path / "out", EvaluationOptions(labels="yale", resamples=100))
    assert summary["raters"]["model"]["overlap"]["dice"].value == 1
    assert (summary["froc"], summary["readers"]) == (None, None)
    assert not (tmp_path / "out" / "raters.csv").exists()
    assert not (tmp_path / "out" / "figures" / "changes.png").exists()


@pytest.mark.slow
def test_what_an_earlier_evaluation_left_is_removed(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "figures").mkdir(parents=True)
    for name in ("raters.csv", "figures/froc.png", "figures/froc.svg"):
        (tmp_path / "out" / name).touch()
    evaluate(bare, tmp_path / "out", EvaluationOptions(labels="yale", resamples=100))
    left = {path.name for path in (tmp_path / "out").rglob("*")}
    assert not left & {"raters.csv", "froc.png", "froc.svg"}


def test_wrong_labels_are_refused(bare: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"t\.nii\.gz has the label 3, which means nothing in ucsf"):
        evaluate(bare, tmp_path / "out", EvaluationOptions(labels="ucsf"))
    with pytest.raises(ManifestError, match="neither node"):
        evaluate(bare, tmp_path / "out", EvaluationOptions(prediction_labels="nodes"))


@pytest.mark.slow
def test_only_gold_is_used_unless_asked_otherwise(study: Path, tmp_path: Path) -> None:
    table = rows(study)
    for row in table[2:]:
        row["quality"] = "synthetic"
    mixed = write_table(study.parent / "mixed.csv", table)
    summary = evaluate(mixed, tmp_path, OPTIONS)
    assert (summary["scans"], summary["left_out"]) == (2, {"synthetic": 4})


def test_no_truth_of_the_quality_that_was_asked_for(bare: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="No scan has a truth of quality silver"):
        evaluate(bare, tmp_path / "out", EvaluationOptions(qualities=("silver",)))
    assert not (tmp_path / "out").exists()


def test_a_file_where_the_folder_should_be(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ManifestError, match=r"The folder .*file cannot be made"):
        evaluate(bare, tmp_path / "file", EvaluationOptions(labels="yale"))


@pytest.mark.slow
def test_no_lesion_anywhere_is_an_answer_too(tmp_path: Path) -> None:
    save(tmp_path / "t.nii.gz", cubes())
    save(tmp_path / "p.nii.gz", cubes())
    save(tmp_path / "f.nii.gz", np.full((24, 24, 24), 0.1))
    row = {"patient": "P1", "truth": "t.nii.gz", "prediction": "p.nii.gz", "probability": "f.nii.gz"}
    table = write_table(tmp_path / "m.csv", [row | {"study_date": f"2024-01-0{day}"} for day in (1, 2)])
    summary = evaluate(table, tmp_path / "out", OPTIONS)
    assert summary["raters"]["model"]["detection"]["any_overlap"]["recall"].value is None
    json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
