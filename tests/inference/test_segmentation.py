"""From a timepoint to lesions, with a predictor whose answer is known: geometry, volumes and what is left out.

How well the shipped network finds lesions is measured by `python -m inference.evaluation.froc`, not here.
"""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from highdicom import Volume
from numpy.typing import NDArray

from inference.predictor import Manifest
from inference.segmentation import Segmentation, segment
from tests.inference.test_predictor import MANIFEST
from tracking.timepoint import MRSequence, Timepoint


class BrightVoxels:
    """A predictor: lesion is what is far brighter than the brain's mean."""

    # Interpolation makes many a voxel exactly 0.5, where rounding decides: 0.45 leaves nothing to it.
    manifest: Manifest = replace(MANIFEST, minimum_volume_mm3=10.0, threshold=0.45)

    def predict(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        lesion = (channels[0] > 2.5).astype(np.float32)
        return np.stack([1 - lesion, lesion])


def scan(*, spacing: tuple[float, float, float], tilt_degrees: float = 0.0) -> tuple[Timepoint, dict[str, float]]:
    """A brain ball of 45 mm radius at 100 with balls of 300: two lesions inside, one far outside the brain."""
    shape = tuple(round(130 / s) for s in spacing)
    cos, sin = np.cos(np.radians(tilt_degrees)), np.sin(np.radians(tilt_degrees))
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]) @ np.diag(spacing)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2) + [20, -30, 40]
    points = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1) @ affine[:3, :3].T + affine[:3, 3]
    points -= [20, -30, 40]
    brain = np.linalg.norm(points, axis=-1) <= 45
    image = 100 * brain + np.random.default_rng(0).normal(0, 5, shape)
    for centre, radius in (((20, 5, 10), 6.0), ((-20, 0, -10), 9.0), ((0, 58, 0), 4.0)):
        image[np.linalg.norm(points - centre, axis=-1) <= radius] = 300
    volumes = {"large": 4 / 3 * np.pi * 9**3, "small": 4 / 3 * np.pi * 6**3}
    timepoint = Timepoint(
        study_uid="1.2.3",
        study_date=date(2024, 5, 6),
        images={MRSequence.T1C: Volume(image.astype(np.float32), affine, "PATIENT")},
        brain=Volume(brain, affine, "PATIENT"),
    )
    return timepoint, volumes


def centroid_mm(result: Segmentation, number: int) -> NDArray[np.float64]:
    index = np.argwhere(result.lesions.array == number).mean(0)
    position: NDArray[np.float64] = result.lesions.affine[:3, :3] @ index + result.lesions.affine[:3, 3]
    return position


@pytest.mark.parametrize(
    ("spacing", "tilt_degrees", "tolerance"),
    [((1.0, 1.0, 1.0), 0.0, 0.12), ((3.0, 0.7, 0.7), 0.0, 0.2), ((2.0, 0.9, 0.9), 25.0, 0.2)],
)
def test_lesions_come_back_in_place_and_size_on_the_native_grid(
    spacing: tuple[float, float, float], tilt_degrees: float, tolerance: float
) -> None:
    timepoint, volumes = scan(spacing=spacing, tilt_degrees=tilt_degrees)
    t1c = timepoint.images[MRSequence.T1C]
    result = segment(timepoint, BrightVoxels())
    assert result.lesions.geometry_equal(t1c)
    assert result.probability.geometry_equal(t1c)
    found = np.bincount(result.lesions.array.ravel())[1:] * t1c.voxel_volume
    assert found == pytest.approx([volumes["large"], volumes["small"]], rel=tolerance)
    for number, centre in ((1, (-20, 0, -10)), (2, (20, 5, 10))):
        np.testing.assert_allclose(centroid_mm(result, number), np.add(centre, (20, -30, 40)), atol=0.5)


def test_result_does_not_depend_on_how_slices_are_stored() -> None:
    timepoint, _ = scan(spacing=(2.0, 1.0, 1.0))
    turned = replace(
        timepoint,
        images={MRSequence.T1C: timepoint.images[MRSequence.T1C].to_patient_orientation("FRA")},
        brain=timepoint.brain.to_patient_orientation("FRA") if timepoint.brain else None,
    )
    expected = segment(timepoint, BrightVoxels()).lesions
    np.testing.assert_array_equal(
        segment(turned, BrightVoxels()).lesions.match_geometry(expected).array, expected.array
    )


def test_a_model_that_wants_more_than_t1c_is_refused() -> None:
    class Hungry(BrightVoxels):
        manifest = replace(MANIFEST, channels=("T1c", "FLAIR"))

    timepoint, _ = scan(spacing=(2.0, 2.0, 2.0))
    with pytest.raises(ValueError, match="only T1c"):
        segment(timepoint, Hungry())
