"""Sequences of one study that the patient has moved between, by motions that are known."""

import numpy as np
import pytest
from highdicom import Volume
from scipy.spatial.transform import Rotation

from tests.tracking.phantoms import CURRENT_UID, FloatArray, Head, brain_points, empty_grid, voxel_centres_mm
from tracking.registration import align_sequence
from tracking.timepoint import MRSequence, Timepoint

MOTION = np.eye(4)
MOTION[:3, :3] = Rotation.from_euler("xyz", (3.0, -2.0, 4.0), degrees=True).as_matrix()
MOTION[:3, 3] = (2.5, -4.0, 3.0)


@pytest.fixture(scope="module")
def study() -> Timepoint:
    return Head(1).study(empty_grid((70, 90, 76), (1.5, 1.4, 1.4)), lambda points: points, CURRENT_UID)


def other_sequence(motion: FloatArray, *, inverted: bool) -> Volume:
    """The same head in 4 mm slices after the motion; dark where the T1c is bright if ``inverted``."""
    grid = empty_grid((28, 110, 92), (4.0, 1.2, 1.2), turn_deg=(4, 2, -3))
    there = np.linalg.inv(motion)
    points = voxel_centres_mm(grid)
    intensity = Head(1).intensity(points @ there[:3, :3].T + there[:3, 3])
    if inverted:
        intensity = np.where(intensity > 20, 260 - intensity, intensity)
    return grid.with_array((intensity + np.random.default_rng(3).normal(0, 3, intensity.shape)).astype(np.float32))


@pytest.mark.parametrize(
    ("sequence", "inverted"), [(MRSequence.T1, False), (MRSequence.T2, True), (MRSequence.FLAIR, True)]
)
def test_motion_within_the_study_is_found(study: Timepoint, sequence: MRSequence, inverted: bool) -> None:
    assert study.brain is not None
    found = align_sequence(
        study.images[MRSequence.T1C], other_sequence(MOTION, inverted=inverted), study.brain, sequence=sequence
    )
    points = brain_points(study)
    error_mm = np.linalg.norm(found.transform.to_moving(points) - (points @ MOTION[:3, :3].T + MOTION[:3, 3]), axis=1)
    assert error_mm.mean() < 0.3
    assert found.information_after > found.information_before
    assert found.motion_mm == pytest.approx(5.6, abs=0.6)
    assert found.remarks == ()


def test_a_still_patient_stays_where_he_is(study: Timepoint) -> None:
    assert study.brain is not None
    image = other_sequence(np.eye(4), inverted=True)
    found = align_sequence(study.images[MRSequence.T1C], image, study.brain, sequence=MRSequence.T2)
    points = brain_points(study)
    assert np.linalg.norm(found.transform.to_moving(points) - points, axis=1).mean() < 0.3


def test_a_sequence_of_another_place_is_left_where_it_stands_and_told(study: Timepoint) -> None:
    assert study.brain is not None
    away = np.eye(4)
    away[:3, 3] = (0.0, 0.0, 90.0)
    image = other_sequence(np.eye(4), inverted=True)
    elsewhere = Volume(image.array, away @ image.affine, "PATIENT")
    found = align_sequence(study.images[MRSequence.T1C], elsewhere, study.brain, sequence=MRSequence.T2)
    assert np.array_equal(found.transform.matrix, np.eye(4))
    assert found.information_before == 1
    assert "registration would move T2 by" in found.remarks[0]


def test_an_empty_mask_is_refused(study: Timepoint) -> None:
    assert study.brain is not None
    empty = study.brain.with_array(np.zeros_like(study.brain.array))
    t1c = study.images[MRSequence.T1C]
    with pytest.raises(ValueError, match="brain mask is empty"):
        align_sequence(t1c, t1c, empty, sequence=MRSequence.T2)
