"""From a timepoint to lesions, with a predictor whose answer is known: geometry, volumes and what is left out.

How well the shipped network finds lesions is measured by `python -m inference.evaluation.froc`, not here.
"""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from highdicom import Volume
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit, logit

from inference.confidence import Confidence
from inference.grid_model import GridModel
from inference.manifest import Manifest
from inference.segmentation import Segmentation, lesion_confidence, segment, tissue_probabilities
from tests.inference.test_predictor import MANIFEST
from tracking.geometry import resample_like
from tracking.timepoint import MRSequence, Timepoint, Tissue


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
    result = segment(timepoint, GridModel(predictor=BrightVoxels()))
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
    expected = segment(timepoint, GridModel(predictor=BrightVoxels())).lesions
    np.testing.assert_array_equal(
        segment(turned, GridModel(predictor=BrightVoxels())).lesions.match_geometry(expected).array, expected.array
    )


class BrightChannels:
    """A predictor that shows what it was given: lesion where the prior mask is, necrosis where FLAIR is bright."""

    manifest: Manifest = replace(
        MANIFEST,
        channels=("T1c", "FLAIR", "subtraction", "prior_mask", "position_i"),
        labels=("background", "enhancing", "necrosis", "edema"),
        minimum_volume_mm3=10.0,
        threshold=0.45,
    )

    def __init__(self) -> None:
        self.given: NDArray[np.float32] = np.empty(0, np.float32)

    def predict(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        self.given = channels
        lesion = channels[0] > 2.5
        necrosis = lesion & (channels[1] > 2.5)
        edema = ~lesion & (channels[1] > 2.5)
        enhancing = lesion & ~necrosis
        background = ~lesion & ~edema
        return np.stack([background, enhancing, necrosis, edema]).astype(np.float32)


def test_missing_channels_are_blank_and_tissues_are_told_apart_where_the_model_can() -> None:
    timepoint, _ = scan(spacing=(1.0, 1.0, 1.0))
    model = BrightChannels()
    without = segment(timepoint, GridModel(predictor=model))
    assert not model.given[1:4].any()
    assert model.given[4].min() < -1
    assert without.tissues is not None
    assert set(np.unique(without.tissues.array[without.lesions.array > 0])) == {Tissue.ENHANCING}
    assert not without.tissues.array[without.lesions.array == 0].any()


def test_flair_on_its_own_grid_gives_necrosis_inside_and_edema_around() -> None:
    timepoint, _ = scan(spacing=(1.0, 1.0, 1.0))
    t1c = timepoint.images[MRSequence.T1C]
    flair = t1c.array.copy()
    left = np.arange(flair.shape[2]) < flair.shape[2] // 2
    flair[:, :, ~left & (np.arange(flair.shape[2]) < 0)] = 0
    bright = (flair > 200) & left
    flair[(flair > 200) & ~left] = 100
    flair[bright] = 300
    grown = np.roll(bright, 6, axis=0) & ~bright
    flair[grown] = 300
    shifted = t1c.with_array(flair)[2:, 3:, 1:]  # another grid of the same space
    result = segment(
        replace(timepoint, images={**timepoint.images, MRSequence.FLAIR: shifted}),
        GridModel(predictor=BrightChannels()),
    )
    assert result.tissues is not None
    inside = result.tissues.array[result.lesions.array > 0]
    assert set(np.unique(inside)) == {Tissue.ENHANCING, Tissue.NECROSIS}
    around = (result.tissues.array == Tissue.EDEMA) & (result.lesions.array == 0)
    assert abs(int(around.sum()) / int((grown & (result.lesions.array == 0)).sum()) - 1) < 0.15


def test_the_prior_mask_and_the_subtraction_reach_the_model() -> None:
    timepoint, _ = scan(spacing=(2.0, 1.0, 1.0))
    t1c = timepoint.images[MRSequence.T1C]
    prior = t1c.with_array((t1c.array > 200).astype(np.uint16) * 7)
    t1 = t1c.with_array(np.full(t1c.shape, 40, np.float32))
    model = BrightChannels()
    segment(replace(timepoint, images={**timepoint.images, MRSequence.T1: t1}), GridModel(predictor=model), prior=prior)
    assert set(np.unique(model.given[3])) == {0, 1}
    assert model.given[3].sum() == pytest.approx(2 * (t1c.array > 200).sum(), rel=0.2)
    # a constant T1 changes nothing but the level, which normalising takes out
    np.testing.assert_allclose(model.given[2], model.given[0], atol=1e-3)


def test_a_channel_that_does_not_exist_is_named() -> None:
    timepoint, _ = scan(spacing=(2.0, 2.0, 2.0))
    model = BrightVoxels()
    model.manifest = replace(model.manifest, channels=("T1c", "DWI"))
    with pytest.raises(ValueError, match=r"'DWI'.*each must be one of T1, T1c"):
        segment(timepoint, GridModel(predictor=model))


class Sure:
    """A predictor that is the surer the deeper a voxel lies in what is bright, as networks are."""

    manifest: Manifest = replace(
        MANIFEST,
        labels=("background", "enhancing", "necrosis"),
        confidence=Confidence(intercept=0.0, mean_log_odds=1.0, ln_mm3=0.0, elongation=0.0),
        minimum_volume_mm3=10.0,
    )

    def predict(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        bright = channels[0] > 2.5
        depth = ndimage.distance_transform_edt(bright) - ndimage.distance_transform_edt(~bright)
        lesion = expit(np.clip(1.5 * depth, -12, 12))
        return np.stack([1 - lesion, 0.75 * lesion, 0.25 * lesion]).astype(np.float32)


def seen_on(spacing: tuple[float, float, float], shift_mm: float) -> Segmentation:
    """Return what is found in one head that lies on voxels of some size."""
    timepoint, _ = scan(spacing=(1.0, 1.0, 1.0))
    fine, brain = timepoint.images[MRSequence.T1C], timepoint.brain
    assert brain is not None
    grid = Volume.from_components(
        np.zeros([int(size / step) - 1 for size, step in zip(fine.spatial_shape, spacing, strict=True)], np.float32),
        direction=fine.direction, spacing=spacing,
        position=np.array(fine.position) + fine.direction @ np.full(3, shift_mm),
        coordinate_system="PATIENT",
    )  # fmt: skip
    images = {MRSequence.T1C: resample_like(fine, grid, interpolation="linear")}
    moved = replace(timepoint, images=images, brain=resample_like(brain, grid, interpolation="nearest"))
    return segment(moved, GridModel(predictor=Sure()))


@pytest.mark.parametrize("shift_mm", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.5, 0.5), (5.0, 0.9, 0.9)])
def test_the_model_is_as_sure_of_a_lesion_on_whatever_grid(
    spacing: tuple[float, float, float], shift_mm: float
) -> None:
    expected, found = seen_on((1.0, 1.0, 1.0), 0.0), seen_on(spacing, shift_mm)
    assert found.confidence is not None
    assert found.confidence.keys() == {1, 2}
    assert expected.confidence is not None
    for number, confidence in expected.confidence.items():
        assert logit(found.confidence[number]) == pytest.approx(logit(confidence), abs=0.1)
    assert logit(expected.confidence[1]) > logit(expected.confidence[2]) + 1  # the larger one, by 3 mm of radius
    assert found.tissues is not None
    assert set(np.unique(found.tissues.array)) == {int(Tissue.BACKGROUND), int(Tissue.ENHANCING)}
    assert found.probability.array.min() == 0


def test_a_model_that_was_not_calibrated_tells_no_confidence() -> None:
    timepoint, _ = scan(spacing=(1.0, 1.0, 1.0))
    assert segment(timepoint, GridModel(predictor=BrightVoxels())).confidence is None


def test_what_is_a_lesion_for_another_reason_than_the_model_has_no_confidence() -> None:
    found = seen_on((1.0, 1.0, 1.0), 0.0)
    assert found.confidence is not None
    least = (found.confidence[1] + found.confidence[2]) / 2
    strict = replace(Sure.manifest, least_confidence=least)
    assert lesion_confidence(found.lesions, found.probability, strict) == {1: found.confidence[1]}


class Edema:
    """A predictor that tells edema alone."""

    manifest: Manifest = replace(MANIFEST, labels=("background", "edema"))

    def predict(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        edema = (channels[0] > 2.5).astype(np.float32)
        return np.stack([1 - edema, edema])


def test_a_model_may_tell_edema_alone() -> None:
    timepoint, _ = scan(spacing=(1.0, 1.0, 1.0))
    assert timepoint.brain is not None
    found = tissue_probabilities(timepoint, timepoint.brain, GridModel(predictor=Edema()))
    assert set(found) == {Tissue.EDEMA}
    assert found[Tissue.EDEMA].array.max() == 1
