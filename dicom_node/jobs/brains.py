"""Brain masks that were found before: the same image has the same brain, and every study is a prior one day.

The folder may be emptied at any time; a mask is then found again.
"""

import hashlib
from importlib.metadata import version
from pathlib import Path

from highdicom import Volume

from dicom_node.errors import InvalidStudyError
from dicom_node.jobs.artefacts import load_volume, save_volume
from inference.brain import BrainNotFoundError, find_brain

MOST_KEPT = 1000  # a mask takes about 100 kB


def brain_of(t1c: Volume, *, cache_folder: Path, threads: int) -> Volume:
    """Return the brain mask of an image, found now or before.

    Raises
    ------
    InvalidStudyError
        The image shows no brain.
    """
    path = cache_folder / f"brain_{_fingerprint(t1c)}.npz"
    if path.exists():
        path.touch()
        return load_volume(path)
    try:
        brain = find_brain(t1c, threads=threads)
    except BrainNotFoundError as error:
        raise InvalidStudyError(f"The T1c cannot be analysed: {error}.") from error
    cache_folder.mkdir(parents=True, exist_ok=True)
    save_volume(path, brain)
    _forget_oldest(cache_folder)
    return brain


def _fingerprint(t1c: Volume) -> str:
    """Hash voxels, grid, frame of reference and the program that finds the brain."""
    digest = hashlib.sha256(t1c.array.tobytes())
    for part in (t1c.array.shape, t1c.affine.tolist(), t1c.frame_of_reference_uid, version("deepbet")):
        digest.update(repr(part).encode())
    return digest.hexdigest()[:32]


def _forget_oldest(folder: Path) -> None:
    masks = sorted(folder.glob("brain_*.npz"), key=lambda path: path.stat().st_mtime)
    for path in masks[:-MOST_KEPT]:
        path.unlink(missing_ok=True)
