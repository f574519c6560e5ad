"""Scans that can be counted by hand: cubes and balls in small arrays, written as NIfTI with a table beside them."""

import csv
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from inference.evaluation.labels import SCHEMES
from inference.evaluation.scan import LabelSchemes, Scan
from inference.evaluation.scoring import ScanScore, Truth, score_scan, true_lesions
from inference.evaluation.table import MODEL, ScanRow

SHAPE = (24, 24, 24)
NODE = LabelSchemes(truth=SCHEMES["node"], prediction=SCHEMES["node"])
Corner = tuple[int, int, int]


def cubes(*places: tuple[Corner, int], label: int = 1, shape: Corner = SHAPE) -> NDArray[np.int32]:
    """A label map with cubes, each by its lowest corner and edge."""
    array = np.zeros(shape, np.int32)
    for (i, j, k), edge in places:
        array[i : i + edge, j : j + edge, k : k + edge] = label
    return array


def box(array: NDArray[np.int32], corner: Corner, size: Corner, label: int = 1) -> NDArray[np.int32]:
    array[tuple(slice(low, low + extent) for low, extent in zip(corner, size, strict=True))] = label
    return array


def scan(
    truth: NDArray[np.int32],
    prediction: NDArray[np.int32],
    *,
    patient: str = "P1",
    day: date = date(2024, 1, 1),
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    known: NDArray[np.bool_] | None = None,
    identities: NDArray[np.int32] | None = None,
    readers: Mapping[str, NDArray[np.int32]] | None = None,
) -> Scan:
    """A scan without files."""
    everywhere = np.ones(truth.shape, bool) if known is None else known
    row = ScanRow(patient=patient, study_date=day, truth=Path("truth"), prediction=Path("prediction"))
    return Scan(
        row=row,
        spacing_mm=spacing_mm,
        truth=truth,
        raters={MODEL: prediction, **(readers or {})},
        known=everywhere,
        domain=everywhere,
        identities=identities,
        probability=None,
    )


def scored(one: Scan, *, rater: str = MODEL, schemes: LabelSchemes = NODE) -> ScanScore:
    return score_scan(one, true_lesions(one, schemes), schemes, rater=rater)


def truth_of(one: Scan) -> Truth:
    return true_lesions(one, NODE)


def save(path: Path, array: NDArray[np.generic], spacing_mm: Sequence[float] = (1.0, 1.0, 1.0)) -> str:
    """Write a NIfTI file and return its name."""
    data = array.astype(np.float32 if np.issubdtype(array.dtype, np.floating) else np.int16)
    nib.save(nib.Nifti1Image(data, np.diag([*spacing_mm, 1.0])), path)
    return path.name


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def small_study(folder: Path) -> Path:
    """Three patients, two studies each, two readers: lesion 1 grows from 64 to 125 mm³, a second one comes."""
    rows = []
    for patient in range(3):
        for visit in range(2):
            name = f"p{patient}v{visit}"
            edge = 4 + visit
            truth, identities = cubes(((3, 3, 3), edge)), cubes(((3, 3, 3), edge), label=5)
            prediction = cubes(((3, 3, 4), edge), ((18, 18, 18 - patient), 2))
            probability = np.where(prediction > 0, 0.9 - 0.1 * patient, 0.05)
            reader_a, reader_b = cubes(((3, 3, 3), edge)), cubes(((4, 3, 3), edge))
            if visit:
                box(truth, (12, 12, 12), (2, 2, 2))
                box(identities, (12, 12, 12), (2, 2, 2), label=9)
                box(reader_a, (12, 12, 12), (2, 2, 2))
            files = {
                "truth": truth,
                "prediction": prediction,
                "probability": probability,
                "truth_lesions": identities,
                "reader_A": reader_a,
                "reader_B": reader_b,
            }
            names = {column: save(folder / f"{name}_{column}.nii.gz", array) for column, array in files.items()}
            rows.append({"patient": f"P{patient}", "study_date": f"2024-0{1 + visit}-10", "quality": "gold"} | names)
    return write_table(folder / "scans.csv", rows)
