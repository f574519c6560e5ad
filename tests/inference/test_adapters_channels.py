"""What plug-ins are given: the scene that all their tests share, and its way to a model and back."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from highdicom import Volume
from numpy.typing import NDArray

from inference.adapters.channels import model_images, to_study_grid
from inference.adapters.manifest import NnUNetManifest, PluginError
from tracking.timepoint import Tissue

SHAPE = (8, 24, 20)  # towards head, back and left
SOURCES: Final = ("T1c", "subtraction", "prior_mask")
MANIFEST = NnUNetManifest(
    name="test",
    version="1",
    folder=Path(),
    channels=SOURCES,
    labels={"lesion": (Tissue.ENHANCING,)},
    training_data="none",
    licence="none",
)


def on_grid(array: NDArray[Any], *, stored: str = "HPL", tilt_degrees: float = 20.0) -> Volume:
    """A volume of 3 × 0.8 × 1 mm, given towards head, back and left, tilted and stored in any order."""
    cos, sin = np.cos(np.radians(tilt_degrees)), np.sin(np.radians(tilt_degrees))
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]) @ np.diag([3.0, 0.8, 1.0])
    affine[:3, 3] = [-10, 20, 33]
    return Volume(array, affine, "PATIENT").to_patient_orientation(stored)


def block(*where: slice) -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, bool)
    mask[where] = True
    return mask


SITES = {
    "T1c": block(slice(1, 4), slice(3, 9), slice(2, 7)),
    "subtraction": block(slice(2, 4), slice(12, 17), slice(3, 6)),
    "prior_mask": block(slice(5, 7), slice(2, 22), slice(9, 15)),
}


def study(*, stored: str = "HPL") -> tuple[dict[str, Volume], Volume]:
    """T1c around 100 with a site of 300, subtraction with a site of 50, and a prior mask; and the brain mask."""
    rng = np.random.default_rng(0)
    arrays = {
        "T1c": np.where(SITES["T1c"], 300, 100) + rng.normal(0, 5, SHAPE),
        "subtraction": 50.0 * SITES["subtraction"],
        "prior_mask": SITES["prior_mask"],
    }
    channels = {name: on_grid(array.astype(np.float32), stored=stored) for name, array in arrays.items()}
    return channels, on_grid(np.ones(SHAPE, bool), stored=stored)


def test_channels_come_in_the_models_order_and_orientation() -> None:
    channels, brain = study(stored="FAR")
    manifest = replace(MANIFEST, channels=("prior_mask", "T1c"))
    found = model_images(channels, brain, manifest, orientation="HPL")
    assert found.images.dtype == np.float32
    np.testing.assert_array_equal(found.images[0], SITES["prior_mask"])
    np.testing.assert_array_equal(found.images[1] > 200, SITES["T1c"])
    np.testing.assert_allclose(found.grid.affine, on_grid(SITES["T1c"]).affine, atol=1e-9)


def test_the_manifests_orientation_comes_first() -> None:
    channels, brain = study()
    found = model_images(channels, brain, replace(MANIFEST, orientation="RAF"), orientation="HPL")
    assert (
        found.grid.get_closest_patient_orientation()
        == on_grid(SITES["T1c"], stored="RAF").get_closest_patient_orientation()
    )
    np.testing.assert_array_equal(found.images[2], on_grid(SITES["prior_mask"], stored="RAF").array)


def test_a_mask_stays_a_mask_on_other_voxels() -> None:
    channels, brain = study()
    found = model_images(channels, brain, replace(MANIFEST, spacing_mm=1.0), orientation="HPL")
    np.testing.assert_allclose(found.grid.spacing, 1, atol=1e-9)
    assert found.images.shape == (3, 24, 20, 20)  # 8 × 3 mm, 24 × 0.8 mm and 20 × 1 mm
    assert set(np.unique(found.images[2])) == {0, 1}
    assert found.images[2].sum() == pytest.approx(SITES["prior_mask"].sum() * 3 * 0.8, rel=0.1)
    assert len(np.unique(found.images[1])) > 2  # an image is interpolated


def test_images_of_a_skull_stripped_model_are_dark_outside_the_brain_and_the_mask_is_whole() -> None:
    channels, brain = study()
    brain.array[:, :12] = False
    found = model_images(channels, brain, replace(MANIFEST, skull_stripped=True), orientation="HPL")
    assert not found.images[:2, :, :12].any()
    assert found.images[0, :, 12:].all()
    np.testing.assert_array_equal(found.images[2], SITES["prior_mask"])


def test_a_missing_channel_is_zeros_if_optional_and_named_if_not() -> None:
    channels, brain = study()
    del channels["prior_mask"]
    with pytest.raises(PluginError, match="test needs prior_mask, which this study has not; it has T1c, subtraction"):
        model_images(channels, brain, MANIFEST, orientation="HPL")
    found = model_images(channels, brain, replace(MANIFEST, optional_channels=("prior_mask",)), orientation="HPL")
    assert not found.images[2].any()


@pytest.mark.parametrize("source", SOURCES)
def test_a_channel_on_another_grid_is_named(source: str) -> None:
    channels, brain = study()
    for other in (on_grid(SITES[source], tilt_degrees=10), channels[source].pad(1)):
        with pytest.raises(PluginError, match=f"{source} lies on another grid"):
            model_images(channels | {source: other}, brain, MANIFEST, orientation="HPL")


@pytest.mark.parametrize("stored", ["HPL", "FAR", "LPH"])
def test_the_way_back_ends_on_the_studys_grid(stored: str) -> None:
    channels, brain = study(stored=stored)
    given = model_images(channels, brain, MANIFEST, orientation="RAH")
    found = to_study_grid({Tissue.EDEMA: given.images[2]}, given.grid, brain)[Tissue.EDEMA]
    assert found.geometry_equal(brain)
    assert found.array.dtype == np.float32
    np.testing.assert_allclose(found.array, channels["prior_mask"].array, atol=1e-6)
