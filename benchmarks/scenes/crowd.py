"""Very many lesions in a full-size volume, to time matching against one pass over its voxels."""

import time
from dataclasses import dataclass
from datetime import date

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from tracking.alignment import GivenAlignment
from tracking.matching import baseline_tracks, match
from tracking.measurement import measure_lesions
from tracking.timepoint import Timepoint, labels_of
from tracking.track import known_after

SHAPE = (192, 256, 256)  # slices, rows, columns of 1 mm
LESIONS = 200
APART_MM = 16


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Processor seconds of matching, and of finding every label's box, the least that reads each voxel once."""

    lesions: int
    shape: tuple[int, int, int]
    matching_s: float
    pass_s: float


def time_matching(seed: int = 0) -> Pace:
    """Match 200 lesions with 200 that have grown, shrunk and moved a little; measuring them is not timed."""
    rng = np.random.default_rng(seed)
    axes = [np.arange(12, size - 12, APART_MM) for size in SHAPE]
    sites = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    centres = rng.permutation(sites)[:LESIONS] + rng.uniform(-2, 2, (LESIONS, 3))
    radii = rng.uniform(1.5, 6.0, LESIONS)
    prior = _study("1", centres, radii)
    current = _study("2", centres + rng.normal(0, 0.6, centres.shape), radii * rng.uniform(0.7, 1.2, LESIONS))
    before, today = measure_lesions(labels_of(prior)), measure_lesions(labels_of(current))
    known = [one for track in baseline_tracks("1", before) for one in known_after(track)]
    began = time.process_time()
    match(current, today, prior, known, GivenAlignment(fixed_study_uid="2", moving_study_uid="1"))
    matched = time.process_time()
    find_objects(labels_of(current).array.astype(np.int32))
    return Pace(lesions=LESIONS, shape=SHAPE, matching_s=matched - began, pass_s=time.process_time() - matched)


def _study(study_uid: str, centres: NDArray[np.float64], radii: NDArray[np.float64]) -> Timepoint:
    labels = np.zeros(SHAPE, np.uint16)
    for number, (centre, radius) in enumerate(zip(centres, radii, strict=True), start=1):
        low = np.maximum(np.floor(centre - radius), 0).astype(int)
        high = np.minimum(np.ceil(centre + radius) + 1, SHAPE).astype(int)
        points = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1)
        box = tuple(slice(first, last) for first, last in zip(low, high, strict=True))
        labels[box][np.linalg.norm(points - centre, axis=-1) <= radius] = number
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.eye(3))
    return Timepoint(
        study_uid=study_uid, study_date=date(2024, 1, 1), images={}, lesions=Volume(labels, affine, "PATIENT")
    )
