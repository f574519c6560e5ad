"""A small hand-made patient: an ellipsoid head on an oblique grid, with balls of known volume as lesions."""

from datetime import date

import numpy as np
import pytest
from highdicom import Volume
from numpy.typing import NDArray

from inference.synthesis.patient import SyntheticPatient, SyntheticStudy, TrueLesion
from tracking.timepoint import MRSequence

SHAPES = {
    MRSequence.T1C: (60, 72, 64),
    MRSequence.T1: (30, 72, 64),
    MRSequence.T2: (24, 64, 64),
    MRSequence.FLAIR: (24, 64, 64),
}
SPACINGS = {
    MRSequence.T1C: (1.5, 1.25, 1.3),
    MRSequence.T1: (3.0, 1.25, 1.3),
    MRSequence.T2: (4.1, 1.4, 1.4),
    MRSequence.FLAIR: (4.1, 1.4, 1.4),
}


def oblique_affine(spacing: tuple[float, float, float], shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Axial slices tilted by 17 degrees about x and 5 degrees about z, centred near the isocentre."""
    tilt, turn = np.deg2rad([17.0, 5.0])
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    axes = (about_z @ about_x) @ np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], float)
    affine = np.eye(4)
    affine[:3, :3] = axes * np.asarray(spacing)
    affine[:3, 3] = np.array([3.0, -7.0, 11.0]) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def coordinates(volume: Volume) -> NDArray[np.float64]:
    """LPS mm of every voxel centre, shape (i, j, k, 3)."""
    indices = np.stack(np.indices(volume.spatial_shape), axis=-1)
    return indices @ volume.affine[:3, :3].T + volume.affine[:3, 3]


def ball(volume: Volume, centre_mm: tuple[float, float, float], radius_mm: float) -> NDArray[np.bool_]:
    """Voxels whose centre lies in the ball."""
    return np.linalg.norm(coordinates(volume) - np.asarray(centre_mm), axis=-1) <= radius_mm


def head_image(sequence: MRSequence, balls: list[tuple[tuple[float, float, float], float]]) -> Volume:
    """An ellipsoid of 300 with brighter balls on a background of 0 to 12."""
    shape = SHAPES[sequence]
    affine = oblique_affine(SPACINGS[sequence], shape)
    volume = Volume(np.zeros(shape, np.int16), affine, "PATIENT")
    points = (coordinates(volume) - np.array([3.0, -7.0, 11.0])) / np.array([36.0, 40.0, 38.0])
    array = np.where(np.linalg.norm(points, axis=-1) <= 1, 300, 0)
    array += np.random.default_rng(1).integers(0, 13, shape)
    for centre, radius in balls:
        array[ball(volume, centre, radius)] = 900
    return volume.with_array(array.astype(np.uint16))


def study_with(day: date, lesions: dict[tuple[str, ...], tuple[tuple[float, float, float], float]]) -> SyntheticStudy:
    """A study with ball-shaped lesions: names → (centre in mm, radius in mm)."""
    images = {sequence: head_image(sequence, list(lesions.values())) for sequence in MRSequence}
    t1c = images[MRSequence.T1C]
    labels = np.zeros(t1c.spatial_shape, np.uint16)
    truth = []
    for number, (names, (centre, radius)) in enumerate(lesions.items(), start=1):
        labels[ball(t1c, centre, radius)] = number
        volume_mm3 = float((labels == number).sum() * t1c.voxel_volume)
        truth.append(
            TrueLesion(
                names=names, number=number, volume_mm3=volume_mm3, longest_diameter_mm=2 * radius, centroid_mm=centre
            )
        )
    return SyntheticStudy(study_date=day, images=images, labels=t1c.with_array(labels), lesions=tuple(truth))


@pytest.fixture(scope="session")
def patient() -> SyntheticPatient:
    """Two studies: A grows, B vanishes, C and D merge, E is new."""
    prior = study_with(
        date(2025, 1, 14),
        {
            ("A",): ((-15.0, 0.0, 10.0), 5.0),
            ("B",): ((20.0, 10.0, 20.0), 4.0),
            ("C",): ((10.0, -25.0, 0.0), 4.0),
            ("D",): ((20.0, -25.0, 0.0), 4.0),
        },
    )
    current = study_with(
        date(2025, 4, 17),
        {
            ("A",): ((-15.0, 0.0, 10.0), 7.0),
            ("C", "D"): ((15.0, -25.0, 0.0), 8.0),
            ("E",): ((-10.0, -20.0, 30.0), 3.5),
        },
    )
    return SyntheticPatient(seed=7, studies=(prior, current))
