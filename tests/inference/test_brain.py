"""The brain mask on real heads: against the masks that come with them, in every disguise a scanner may send.

Not covered: heads with large resections or ventricular collapse; no such case with a reviewed mask is at hand.
"""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from highdicom import Volume
from numpy.typing import NDArray

from inference.brain import BrainNotFoundError, find_brain

HEADS = Path(__file__).parents[3] / "shared" / "data" / "heads"
needs_heads = pytest.mark.skipif(not HEADS.exists(), reason="../shared/data/heads is not here")


def read(kind: str) -> Volume:
    return Volume.from_nibabel(nib.load(HEADS / f"TCGA_FG_6688_20020215_{kind}.nii.gz"))


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


@needs_heads
def test_finds_the_reviewed_brain_of_a_sagittal_stack_of_thick_slices() -> None:
    image, truth = read("t1c"), read("brain")
    found = find_brain(image.to_patient_orientation("RFP"), threads=1)
    assert found.array.dtype == bool
    assert dice(found.match_geometry(image).array, truth.array > 0) > 0.99


@pytest.mark.slow
@needs_heads
def test_accepts_a_head_without_skull() -> None:
    image, truth = read("t1c"), read("brain")
    stripped = image.with_array(image.array * (truth.array > 0))
    found = find_brain(stripped, threads=1)
    assert found.geometry_equal(image)
    assert dice(found.array, truth.array > 0) > 0.96


@pytest.mark.slow
@needs_heads
def test_refuses_a_brain_of_impossible_size() -> None:
    image = read("t1c")
    affine = image.affine.copy()
    affine[:3, :3] *= 0.5
    with pytest.raises(BrainNotFoundError, match=r"measures 1\d\d ml; a whole brain has 500 to 2500 ml"):
        find_brain(Volume(image.array, affine, "PATIENT"), threads=1)


def test_refuses_a_blank_image() -> None:
    with pytest.raises(BrainNotFoundError, match="blank"):
        find_brain(Volume(np.full((8, 8, 8), 3, np.int16), np.eye(4), "PATIENT"))


def test_refuses_an_image_without_a_head() -> None:
    noise = np.random.default_rng(0).normal(size=(40, 60, 60))
    with pytest.raises(BrainNotFoundError, match="brain"):
        find_brain(Volume(noise, np.eye(4), "PATIENT"), threads=1)
