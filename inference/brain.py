"""Where the brain is: deepbet's networks, run on arrays in memory, with a check that what they found can be a brain."""

from typing import Any

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray

from inference.threads import torch_threads

SMALLEST_BRAIN_ML = 500.0
LARGEST_BRAIN_ML = 2500.0
# deepbet was trained on arrays that run towards right, front and head.
DEEPBET_ORIENTATION = "RAH"


class BrainNotFoundError(ValueError):
    """The image shows nothing that can be a whole brain."""


def find_brain(image: Volume, *, threads: int | None = None) -> Volume:
    """Return the brain mask of a T1-weighted head, with or without contrast, with or without skull.

    Parameters
    ----------
    image
        Scalar volume of any orientation and spacing, LPS mm.
    threads
        Processor threads to use; None: one per core.

    Returns
    -------
    Volume
        bool, on the grid of ``image``; one connected region without holes.

    Raises
    ------
    BrainNotFoundError
        If the image is blank or what was found is smaller than 500 ml or larger than 2,500 ml.

    Notes
    -----
    Fisch et al., deepbet: Fast brain extraction of T1-weighted MRI using Convolutional Neural Networks,
    Comput Biol Med 2024.
    """
    array = np.nan_to_num(image.array.astype(np.float32))
    if np.ptp(array) == 0:
        raise BrainNotFoundError("the image is blank: every voxel has the same value; send the series again")
    oriented = image.with_array(array).to_patient_orientation(DEEPBET_ORIENTATION)
    with torch_threads(threads):
        mask = _extract(np.ascontiguousarray(oriented.array))
    _check_volume(float(mask.sum()) * image.voxel_volume / 1000)
    return oriented.with_array(mask.astype(np.uint8)).match_geometry(image).astype(bool)


def _extract(array: NDArray[np.float32]) -> NDArray[np.bool_]:
    from deepbet.bet import BrainExtraction  # late: deepbet loads torch

    extraction = BrainExtraction(no_gpu=True)
    try:
        probability = extraction.run_model(array)
    except (AssertionError, ValueError) as error:  # deepbet's way to say that its first network saw no head
        raise BrainNotFoundError("no brain is visible in the image; is it a head MRI with the whole brain?") from error
    mask: NDArray[Any] = probability > 0.5
    if not mask.any():
        raise BrainNotFoundError("no brain is visible in the image; is it a head MRI with the whole brain?")
    return np.asarray(extraction.postprocess(mask), bool)


def _check_volume(volume_ml: float) -> None:
    if not SMALLEST_BRAIN_ML <= volume_ml <= LARGEST_BRAIN_ML:
        raise BrainNotFoundError(
            f"what looks like brain measures {volume_ml:.0f} ml; a whole brain has "
            f"{SMALLEST_BRAIN_ML:.0f} to {LARGEST_BRAIN_ML:.0f} ml: check field of view and voxel spacing"
        )
