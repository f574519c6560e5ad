"""Tiny data sets in the layouts of the public ones: an ellipsoid of brain with lesions whose voxels are known."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

SHAPE = (34, 40, 36)
SPACING_MM = 3.0
# Towards right, front and head, as NIfTI counts; the voxel in the middle lies at the origin.
AFFINE = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
AFFINE[:3, 3] = -SPACING_MM * (np.array(SHAPE) - 1) / 2
LESION_MM = (12.0, 9.0, 6.0)  # right, front, head

Labels = NDArray[np.uint8]


def coordinates_mm(shape: Sequence[int] = SHAPE, affine: NDArray[np.float64] = AFFINE) -> NDArray[np.float64]:
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return np.asarray(index @ affine[:3, :3].T + affine[:3, 3])


def ball(centre_mm: Sequence[float], radius_mm: float, **grid: Any) -> NDArray[np.bool_]:
    return np.asarray(np.linalg.norm(coordinates_mm(**grid) - np.asarray(centre_mm), axis=-1) <= radius_mm)


def brain(**grid: Any) -> NDArray[np.bool_]:
    scaled = coordinates_mm(**grid) / np.array([42.0, 50.0, 45.0])
    return np.asarray(np.linalg.norm(scaled, axis=-1) <= 1)


def image(seed: int, *, lesion: float = 150.0, **grid: Any) -> NDArray[np.float32]:
    """A brain of 300 with noise, 0 outside, brighter in the lesion."""
    inside = brain(**grid)
    values = 300 + np.random.default_rng(seed).normal(0, 20, inside.shape) + lesion * ball(LESION_MM, 8, **grid)
    return np.where(inside, values, 0).astype(np.float32)


def tissues(*, edema: int, enhancing: int, necrosis: int, **grid: Any) -> Labels:
    """A lesion: core of 5 mm, rim of 10 mm, edema of 16 mm, with the values of a data set."""
    labels = np.where(ball(LESION_MM, 16, **grid), edema, 0)
    labels = np.where(ball(LESION_MM, 10, **grid), enhancing, labels)
    return np.where(ball(LESION_MM, 5, **grid), necrosis, labels).astype(np.uint8)


def write(path: Path, array: NDArray[Any], affine: NDArray[np.float64] = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def write_study(folder: Path, files: Sequence[str], labels: Mapping[str, Labels] | None = None) -> None:
    for seed, name in enumerate(files):
        write(folder / f"{name}.nii.gz", image(seed))
    for name, array in (labels or {}).items():
        write(folder / f"{name}.nii.gz", array)


def brats_mets(root: Path, *, patients: Mapping[str, int], labels: bool = True) -> Path:
    """Studies -000, -001, … of each patient."""
    for number, studies in patients.items():
        for visit in range(studies):
            name = f"BraTS-MET-{number}-{visit:03d}"
            files = [f"{name}-{kind}" for kind in ("t1c", "t1n", "t2w", "t2f")]
            truth = tissues(necrosis=1, edema=2, enhancing=3)
            truth[ball((-20, 0, 0), 6)] = 4  # a resection cavity
            write_study(root / name, files, {f"{name}-seg": truth} if labels else None)
    return root


def brats_2021(root: Path) -> Path:
    name = "BraTS2021_00000"
    files = [f"{name}_{kind}" for kind in ("t1ce", "t1", "t2", "flair")]
    write_study(root / name, files, {f"{name}_seg": tissues(necrosis=1, edema=2, enhancing=4)})
    return root


def yale_pretreatment(root: Path) -> Path:
    name = "BraTS-MET-00086"
    files = [f"{name}-{kind}" for kind in ("t1c", "t1n", "t2w", "t2f")]
    write_study(
        root / "Pretreat-MetsToBrain-Masks" / name, files, {f"{name}-seg": tissues(necrosis=1, edema=2, enhancing=3)}
    )
    return root


def yale_longitudinal(root: Path) -> Path:
    for patient, times in {
        "YG_AB12": ("2015-03-04_12-30-11", "2015-05-03_08-00-00"),
        "YG_CD34": ("2012-01-01_09-00-00",),
    }.items():
        for time in times:
            kinds = ("PRE", "POST", "T2", "FLAIR") if patient == "YG_AB12" else ("POST", "FLAIR")
            write_study(root / patient / time[:10], [f"{patient}_{time}_{kind}" for kind in kinds])
    return root


NYU_COLUMNS = ("PatientID", "StudyID", "RelativeTimepoint", "ExpertAdjusted", "T1", "CT1", "T2", "FLAIR")


def nyumets(root: Path) -> Path:
    """Patient 11110000 with three studies, told out of order, and 22220000 with one that is not on disk."""
    rows = [
        (11110000, 1000000003, "90.0", 1, 1, 1, 1, 1),
        (11110000, 1000000001, "-30", 0, 0, 1, 0, 1),
        (11110000, 1000000002, "0", 0, 1, 1, 1, 1),
        (22220000, 1000000004, "0", 1, 1, 1, 1, 1),
    ]
    table(root / "imaging.csv", NYU_COLUMNS, rows)
    table(
        root / "timeseries.csv",
        ("patient_identifier", "visit_class", "image_id", "time_from_gk_days"),
        [
            (11110000, 3, 1000000001, -33),
            (11110000, 1, "", 5),
            (11110000, 3, 1000000002, 0),
            (11110000, 3, 1000000003, 87),
        ],
    )
    folder = root / "imaging" / "patientId" / "11110000" / "studyId"
    whole = {"RTSTRUCT_segmentation": ball(LESION_MM, 10).astype(np.uint8)}
    write_study(folder / "1000000001", ["CT1", "FLAIR"])
    write_study(folder / "1000000002", ["T1", "CT1", "T2", "FLAIR", "RTSTRUCT_MRI"], whole)
    write_study(folder / "1000000003", ["T1", "CT1", "T2", "FLAIR"], whole)
    return root


def table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def ucsf(root: Path) -> Path:
    """100101A with both kinds of labels, 100101B with the enhancing rim alone."""
    folder = root / "UCSF_BrainMetastases_TRAIN"
    rim = ball(LESION_MM, 10) & ~ball(LESION_MM, 5)
    for name in ("100101A", "100101B"):
        files = [f"{name}_{kind}" for kind in ("T1post", "T1pre", "FLAIR", "T2Synth", "subtraction")]
        write_study(folder / name, files, {f"{name}_seg": rim.astype(np.uint8)})
    truth = tissues(necrosis=1, edema=2, enhancing=3)
    write(folder / "100101A" / "100101A_BRaTS-seg.nii.gz", truth)  # the case is mixed, as some copies have it
    return root


def stanford(root: Path) -> Path:
    whole = ball(LESION_MM, 10).astype(np.uint8)
    write_study(root / "train" / "Mets_001", ["bravo", "t1_gd", "t1_pre", "flair"], {"seg": whole})
    write_study(root / "test" / "Mets_201", ["bravo", "t1_pre", "flair"])
    return root


def stanford_pictures(root: Path) -> Path:
    """One study as axial pictures from the feet, the patient's right on the left and the front on top."""
    from PIL import Image

    shape, affine = (30, 40, 40), picture_affine((30, 40, 40))
    folder = root / "mets_stanford_releaseMask_train" / "Mets_005"
    whole = 255 * ball((9, 5, 4), 6, shape=shape, affine=affine).astype(np.uint8)
    for name in ("0", "1", "2", "3", "seg"):
        values = whole if name == "seg" else (image(3, shape=shape, affine=affine) / 3).astype(np.uint8)
        (folder / name).mkdir(parents=True)
        for number, picture in enumerate(values, start=1):
            Image.fromarray(picture).save(folder / name / f"{number}.png")
    return root


def picture_affine(shape: Sequence[int]) -> NDArray[np.float64]:
    """From (slice, row, column) to mm towards right, front and head, the first voxel as in LPS 0."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = 1.0, -0.94, -0.94, 1
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return affine


def plain(root: Path, *, studies: Mapping[str, Sequence[str]]) -> Path:
    """Folders ``<patient>/<study>`` with four images and labels of whole lesions."""
    for patient, names in studies.items():
        for seed, name in enumerate(names):
            folder = root / patient / name
            for place, kind in enumerate(("t1c", "t1", "t2", "flair")):
                write(folder / f"{kind}.nii.gz", image(100 * seed + place))
            write(folder / "labels.nii.gz", ball(LESION_MM, 8 + seed).astype(np.uint8))
    return root
