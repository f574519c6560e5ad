"""Files of data sets: found by name whatever its case, and read into patient space (LPS, mm)."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
from highdicom import Volume
from PIL import Image

from tracking.timepoint import MRSequence

NIFTI = (".nii.gz", ".nii")
PICTURES = (".png", ".jpg", ".jpeg")
# What the pictures of BrainMetShare do not say themselves; see `inference.training.datasets.stanford`.
PICTURE_SPACING_MM = (1.0, 0.94, 0.94)

Names = Mapping[MRSequence, Iterable[str]]


def nifti(folder: Path, *names: str) -> Path | None:
    """Return the first NIfTI file of these names (without ending) in a folder; None where there is none."""
    present = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    wanted = (f"{name}{ending}".lower() for name in names for ending in NIFTI)
    return next((present[name] for name in wanted if name in present), None)


def images(folder: Path, names: Names, *, stem: str = "") -> dict[MRSequence, Path]:
    """Return the images of a study that are there; of several names of one sequence, the first counts."""
    found = {sequence: nifti(folder, *(f"{stem}{name}" for name in parts)) for sequence, parts in names.items()}
    return {sequence: path for sequence, path in found.items() if path is not None}


def folders(root: Path, pattern: str) -> Iterator[Path]:
    """Return all folders of this name pattern below a folder, in the order of their names.

    Raises
    ------
    FileNotFoundError
        There are none.
    """
    found = sorted((path for path in root.rglob(pattern) if path.is_dir()), key=lambda path: (path.name, str(path)))
    if not found:
        raise FileNotFoundError(f"{root} has no folder {pattern}; give the folder that the data set was unpacked to.")
    return iter(found)


def read_volume(path: Path) -> Volume:
    """Read a NIfTI file, or a folder of numbered pictures, one a slice.

    Pictures say nothing of their place: they are taken for axial slices, numbered from the feet, of
    `PICTURE_SPACING_MM`, with the patient's right on the left and the front on top.

    Raises
    ------
    ValueError
        The file cannot be read or holds no single volume; the message names it.
    """
    try:
        if path.is_dir():
            return _read_pictures(path)
        return Volume.from_nibabel(nib.load(path))
    except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise ValueError(f"{path} cannot be read as a volume: {error}") from error


def _read_pictures(folder: Path) -> Volume:
    pictures = {int(p.stem): p for p in folder.iterdir() if p.suffix.lower() in PICTURES and p.stem.isdigit()}
    numbers = sorted(pictures)
    if not numbers or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise ValueError(f"its slices are numbered {numbers or 'not at all'}, not one after the other")
    slices = [np.asarray(Image.open(pictures[number]).convert("L")) for number in numbers]
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = (*PICTURE_SPACING_MM, 1)
    return Volume(np.stack(slices), affine, "PATIENT")
