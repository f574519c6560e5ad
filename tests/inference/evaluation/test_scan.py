"""Files onto one grid: what is read, dropped outside the brain, and refused."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from inference.evaluation.labels import SCHEMES, label_scheme
from inference.evaluation.scan import LabelSchemes, load_scan
from inference.evaluation.table import ManifestError, ScanRow
from tests.inference.evaluation.phantoms import NODE, cubes, save

SPACING_MM = (0.9, 1.2, 3.0)


@pytest.fixture
def row(tmp_path: Path) -> ScanRow:
    save(tmp_path / "truth.nii.gz", cubes(((2, 2, 2), 4), ((12, 12, 12), 3)), SPACING_MM)
    save(tmp_path / "prediction.nii.gz", cubes(((3, 2, 2), 4)), SPACING_MM)
    files = {name: tmp_path / f"{name}.nii.gz" for name in ("truth", "prediction")}
    return ScanRow(patient="P1", study_date=date(2024, 1, 1), **files)


def test_spacing_is_in_mm_and_free_of_single_precision(row: ScanRow) -> None:
    scan = load_scan(row, NODE)
    assert scan.spacing_mm == SPACING_MM
    assert scan.voxel_mm3 == pytest.approx(0.9 * 1.2 * 3)
    assert scan.known.all()
    assert (scan.identities, scan.probability) == (None, None)


def test_everything_outside_the_brain_is_dropped(row: ScanRow, tmp_path: Path) -> None:
    brain = cubes(((0, 0, 0), 10))
    save(tmp_path / "brain.nii.gz", brain, SPACING_MM)
    save(tmp_path / "probability.nii.gz", np.full((24, 24, 24), 0.5), SPACING_MM)
    files = {name: tmp_path / f"{name}.nii.gz" for name in ("brain", "probability")}
    scan = load_scan(replace(row, **files), NODE)
    assert (scan.truth > 0).sum() == 64
    assert scan.probability is not None
    assert (scan.probability > 0).sum() == 1000
    assert scan.domain.sum() == 1000
    assert scan.known.all()  # what lies outside the brain is known to be none


def test_what_is_ignored_or_labelled_unknown_is_unknown(row: ScanRow, tmp_path: Path) -> None:
    save(tmp_path / "ignore.nii.gz", cubes(((20, 20, 20), 2)), SPACING_MM)
    save(tmp_path / "truth.nii.gz", cubes(((2, 2, 2), 4), label=9), SPACING_MM)
    schemes = LabelSchemes(truth=label_scheme("1=ENHANCING,9=UNKNOWN"), prediction=SCHEMES["node"])
    scan = load_scan(replace(row, ignore=tmp_path / "ignore.nii.gz"), schemes)
    assert (~scan.known).sum() == 64 + 8


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("prediction", cubes(shape=(24, 24, 12)), "24 × 24 × 12 voxels, the truth 24 × 24 × 24"),
        ("prediction", cubes(((2, 2, 2), 3), label=7), "has the label 7, which means nothing in node"),
        ("prediction", np.full((24, 24, 24), 0.5), "no label map"),
        ("prediction", np.full((24, 24, 24), -1), "no label map"),
        ("prediction", np.full((24, 24, 24), np.nan), "voxels that are no number"),
        ("probability", np.full((24, 24, 24), 1.5), r"values from 1\.5 to 1\.5; a probability lies from 0 to 1"),
        ("probability", np.full((24, 24, 24), -0.5), "a probability lies from 0 to 1"),
        ("truth_lesions", np.full((24, 24, 24), 2.5), "no label map"),
        ("brain", cubes(shape=(9, 9, 9)), "9 × 9 × 9 voxels"),
    ],
)
def test_a_wrong_file_is_named(row: ScanRow, tmp_path: Path, name: str, array: np.ndarray, message: str) -> None:
    save(tmp_path / f"{name}.nii.gz", array, SPACING_MM)
    with pytest.raises(ManifestError, match=rf"{name}\.nii\.gz .*{message}"):
        load_scan(replace(row, **{name: tmp_path / f"{name}.nii.gz"}), NODE)


def test_defect_5_a_crop_of_the_scan_is_refused(row: ScanRow, tmp_path: Path) -> None:
    """Published code scored random crops; a score is of a whole scan or of none."""
    save(tmp_path / "prediction.nii.gz", cubes(((1, 0, 0), 4))[:10, :10, :10], SPACING_MM)
    with pytest.raises(ManifestError, match="bring the whole scan onto the truth's grid"):
        load_scan(row, NODE)


def test_another_place_is_another_grid(row: ScanRow, tmp_path: Path) -> None:
    affine = np.diag([*SPACING_MM, 1.0])
    affine[0, 3] = 0.5
    nib.save(nib.Nifti1Image(cubes().astype(np.int16), affine), tmp_path / "prediction.nii.gz")
    with pytest.raises(ManifestError, match=r"lies elsewhere than the truth: their affines differ by up to 0\.5 mm"):
        load_scan(row, NODE)


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_a_broken_file(row: ScanRow, content: bytes) -> None:
    row.prediction.write_bytes(content)
    with pytest.raises(ManifestError, match=r"prediction\.nii\.gz cannot be read as a NIfTI volume"):
        load_scan(row, NODE)


def test_readers_use_the_labels_of_the_truth(row: ScanRow, tmp_path: Path) -> None:
    save(tmp_path / "a.nii.gz", cubes(((2, 2, 2), 4), label=3), SPACING_MM)
    readers: Mapping[str, Path] = {"A": tmp_path / "a.nii.gz"}
    schemes = LabelSchemes(truth=SCHEMES["yale"], prediction=SCHEMES["node"])
    scan = load_scan(replace(row, readers=readers), schemes)
    assert schemes.of("A") is SCHEMES["yale"]
    assert schemes.of("model") is SCHEMES["node"]
    assert list(scan.raters) == ["model", "A"]
