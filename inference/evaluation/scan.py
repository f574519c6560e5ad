"""The arrays of one scan of the table, checked: one grid, known labels, numbers where numbers belong.

Scores are taken on whole volumes only: a map of a part of the scan has another grid and is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from highdicom import Volume
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from inference.evaluation.table import MODEL, ManifestError, ScanRow
from inference.label_schemes import LabelScheme

AFFINE_TOLERANCE_MM = 1e-2
SPACING_DIGITS = 5  # NIfTI headers hold single precision: 1.2 mm is read as 1.2000000477


@dataclass(frozen=True, kw_only=True)
class LabelSchemes:
    """The meaning of labels: in the truth and by readers, and by the model."""

    truth: LabelScheme
    prediction: LabelScheme

    def of(self, rater: str) -> LabelScheme:
        """Return the scheme of the model or of a reader."""
        return self.prediction if rater == MODEL else self.truth


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """What is to be compared in one scan; all arrays have one shape (i, j, k) of any orientation.

    Attributes
    ----------
    row
        Its row in the table.
    spacing_mm
        Of the three axes.
    truth
        Label map; 0 outside the brain, if a brain is given.
    raters
        Label maps of the model and of each reader; 0 outside the brain.
    known
        Where the truth is known.
    domain
        Where a voxel could be a lesion: known, and in the brain if one is given.
    identities
        Lesion identities, or none.
    probability
        Of lesion, float32, or none; 0 outside the brain.
    """

    row: ScanRow
    spacing_mm: tuple[float, float, float]
    truth: NDArray[np.int32]
    raters: Mapping[str, NDArray[np.int32]]
    known: NDArray[np.bool_]
    domain: NDArray[np.bool_]
    identities: NDArray[np.int32] | None
    probability: NDArray[np.float32] | None

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel."""
        return float(np.prod(self.spacing_mm))


def load_scan(row: ScanRow, schemes: LabelSchemes) -> Scan:
    """Read all files of a row.

    Raises
    ------
    ManifestError
        If a file cannot be read, lies on another grid than the truth, or has a label without a meaning.
    """
    grid = _volume(row.truth)
    brain = _mask(row.brain, grid) if row.brain else np.ones(grid.shape, bool)
    truth = _labels(row.truth, grid, schemes.truth)
    known = ~np.isin(truth, list(schemes.truth.unknown))
    if row.ignore:
        known &= ~_mask(row.ignore, grid)
    paths = {MODEL: row.prediction, **row.readers}
    raters = {name: _labels(path, grid, schemes.of(name)) * brain for name, path in paths.items()}
    i_mm, j_mm, k_mm = (round(float(edge), SPACING_DIGITS) for edge in grid.spacing)
    return Scan(
        row=row,
        spacing_mm=(i_mm, j_mm, k_mm),
        truth=truth * brain,
        raters=raters,
        known=known,
        domain=known & brain,
        identities=_integers(row.truth_lesions, grid) if row.truth_lesions else None,
        probability=_probability(row.probability, grid) * brain if row.probability else None,
    )


def _volume(path: Path) -> Volume:
    try:
        return Volume.from_nibabel(nib.load(path))
    except (ImageFileError, OSError, EOFError, ValueError) as error:
        raise ManifestError(f"{path} cannot be read as a NIfTI volume ({error}); write it again.") from error


def _on_grid(path: Path, grid: Volume) -> Volume:
    volume = _volume(path)
    if volume.shape != grid.shape:
        ours, theirs = (" × ".join(map(str, one.shape)) for one in (volume, grid))
        raise ManifestError(
            f"{path} has {ours} voxels, the truth {theirs}; bring the whole scan onto the truth's grid."
        )
    distance_mm = float(np.abs(volume.affine - grid.affine).max())
    if distance_mm > AFFINE_TOLERANCE_MM:
        raise ManifestError(
            f"{path} lies elsewhere than the truth: their affines differ by up to {distance_mm:.3g} mm; bring it onto"
            " the truth's grid."
        )
    if not np.isfinite(volume.array).all():
        raise ManifestError(f"{path} has voxels that are no number; write it again without NaN.")
    return volume


def _mask(path: Path, grid: Volume) -> NDArray[np.bool_]:
    return np.asarray(_on_grid(path, grid).array != 0)


def _integers(path: Path, grid: Volume) -> NDArray[np.int32]:
    array = _on_grid(path, grid).array
    whole: NDArray[np.int32] = np.rint(array).astype(np.int32)
    if not np.array_equal(whole, array) or whole.min() < 0:
        raise ManifestError(f"{path} is no label map: it has values that are no whole number from 0 up.")
    return whole


def _labels(path: Path, grid: Volume, scheme: LabelScheme) -> NDArray[np.int32]:
    labels = _integers(path, grid)
    try:
        scheme.check(labels, source=path)
    except ValueError as error:
        raise ManifestError(str(error)) from error
    return labels


def _probability(path: Path, grid: Volume) -> NDArray[np.float32]:
    array = _on_grid(path, grid).array
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 1:
        raise ManifestError(f"{path} has values from {low:.3g} to {high:.3g}; a probability lies from 0 to 1.")
    return array.astype(np.float32)
