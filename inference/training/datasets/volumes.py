"""Files of a study as volumes on one grid: the brain as inference finds it, images, and what the labels say."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import fill_voids
import numpy as np
from highdicom import Volume

from inference.brain import LARGEST_BRAIN_ML, find_brain
from inference.preprocessing import to_model_grid
from inference.training.datasets.files import read_volume
from inference.training.datasets.labels import NOTHING_KNOWN, possible_tissues
from inference.training.datasets.records import StudyRecord
from tracking.geometry import resample_like
from tracking.timepoint import MRSequence

# Samples a volume at the voxels of a grid, as `tracking.geometry.resample_like` and `Registration.warp` do.
Sampler = Callable[..., Volume]

MOST_KEPT = 8
T1_FIRST = (MRSequence.T1C, MRSequence.T1, MRSequence.T2, MRSequence.FLAIR)


def brain_of(study: StudyRecord) -> Volume:
    """Return the brain mask, uint8: that of the data set; all that an image cut to the brain shows; or what is found.

    Raises
    ------
    ValueError
        If a file cannot be read, or no brain is found where there is no mask; the message names the file.
    """
    if study.brain:
        mask = read_volume(study.brain)
        return mask.with_array((mask.array > 0).astype(np.uint8))
    path = next(study.images[sequence] for sequence in T1_FIRST if sequence in study.images)
    image = read_volume(path)
    shown = image.with_array(fill_voids.fill(image.array != 0).astype(np.uint8))
    if float(shown.array.sum()) * image.voxel_volume / 1000 <= LARGEST_BRAIN_ML:
        return shown
    return _found(path)


@lru_cache(maxsize=MOST_KEPT)
def _found(path: Path) -> Volume:
    """Return the brain mask that inference would find, uint8; kept for a patient's next question, as it takes long."""
    try:
        return find_brain(read_volume(path), threads=1).astype(np.uint8)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; or give a brain mask (StudyRecord.brain)") from error


def grid_of(study: StudyRecord, *, spacing_mm: float) -> Volume:
    """Return a volume on the grid that inference would give this study's T1c: the brain's box, cubic voxels."""
    t1c = read_volume(study.images[MRSequence.T1C])
    return to_model_grid(t1c, resample_like(brain_of(study), t1c, interpolation="nearest"), spacing_mm=spacing_mm)[0]


def brain_on(study: StudyRecord, grid: Volume, *, sample: Sampler = resample_like) -> Volume:
    """Return the brain mask on a grid, uint8."""
    return sample(brain_of(study), grid, interpolation="nearest")


def image_on(study: StudyRecord, sequence: MRSequence, grid: Volume, *, sample: Sampler = resample_like) -> Volume:
    """Return an image on a grid, float32.

    Raises
    ------
    ValueError
        If the file cannot be read or has values that are no numbers; the message names it.
    """
    image = read_volume(study.images[sequence])
    if not np.isfinite(image.array).all():
        raise ValueError(f"{study.images[sequence]} has voxels that are no number; write it again without NaN.")
    # Half a voxel of the grid may lie beyond the last voxel centre: extend the image there.
    return sample(image.pad(1, mode="edge"), grid)


def possible_on(study: StudyRecord, grid: Volume, *, sample: Sampler = resample_like) -> Volume:
    """Return which tissues each voxel of a grid may be, see `possible_tissues`; any of them beyond the labels.

    Raises
    ------
    ValueError
        If a label value has no meaning; the message names the file.
    """
    if study.labels is None or study.scheme is None:
        return nothing_known(grid)
    labels = read_volume(study.labels)
    a, b, c = labels.spacing
    possible = possible_tissues(labels.array, study.scheme, spacing_mm=(a, b, c), source=str(study.labels))
    sampled = sample(labels.with_array(possible), grid, interpolation="nearest", fill=NOTHING_KNOWN)
    return sampled.with_array(sampled.array.astype(np.uint8))


def nothing_known(grid: Volume) -> Volume:
    """Return a volume of voxels that may be any tissue."""
    return grid.with_array(np.full(grid.spatial_shape, NOTHING_KNOWN, np.uint8))
