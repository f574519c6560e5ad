"""Registration of real heads with motion that is known at every point. Real follow-up pairs are not available."""

from datetime import date
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from highdicom import Volume
from scipy.ndimage import map_coordinates

from tests.tracking.phantoms import CURRENT_UID, PRIOR_UID, PointMap, bulge, empty_grid, rigid, voxel_centres_mm
from tracking.registration import RegistrationKind, register
from tracking.timepoint import MRSequence, Timepoint

HEADS = Path(__file__).parents[3] / "shared" / "data" / "heads"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HEADS.exists(), reason="the research heads (../shared/data/heads) are not here"),
]


def read(name: str) -> Volume:
    """A head on its native grid: index order (slice, row, column), LPS."""
    image = nib.load(HEADS / name)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine @ np.eye(4)[:, [2, 1, 0, 3]]
    return Volume(np.ascontiguousarray(np.asarray(image.dataobj).transpose(2, 1, 0)), affine, "PATIENT")


def head(name: str, study_uid: str) -> Timepoint:
    image, brain = read(f"{name}_t1c.nii.gz"), read(f"{name}_brain.nii.gz")
    return Timepoint(
        study_uid=study_uid,
        study_date=date(2024, 1, 1),
        images={MRSequence.T1C: image.with_array(image.array.astype(np.float32))},
        brain=brain.with_array(brain.array > 0),
    )


def scanned_again(study: Timepoint, to_study: PointMap, centre_mm: tuple[float, float, float]) -> Timepoint:
    """The same head on an oblique grid of 4 mm slices, with other noise; ``to_study`` tells where each point was."""
    grid = empty_grid((50, 210, 190), (4.0, 1.0, 1.0), turn_deg=(7, -3, 2), centre_mm=centre_mm)
    points = to_study(voxel_centres_mm(grid))
    assert study.brain is not None
    image, brain = (sampled(volume, points) for volume in (study.images[MRSequence.T1C], study.brain))
    noise = np.random.default_rng(1).normal(0, 3, image.shape)
    return Timepoint(
        study_uid=PRIOR_UID,
        study_date=date(2023, 10, 1),
        images={MRSequence.T1C: grid.with_array((image + noise).astype(np.float32))},
        brain=grid.with_array(brain > 0.5),
    )


def sampled(volume: Volume, points_mm: np.ndarray) -> np.ndarray:
    indices = points_mm @ volume.inverse_affine[:3, :3].T + volume.inverse_affine[:3, 3]
    return map_coordinates(volume.array.astype(np.float32), np.moveaxis(indices, -1, 0), order=1)


@pytest.mark.parametrize("name", ["TCGA_DU_6404_19850629", "TCGA_CS_6668_20011025"])
def test_known_motion_of_a_real_head_is_found(name: str) -> None:
    fixed = head(name, CURRENT_UID)
    centre = tuple(voxel_centres_mm(fixed.brain)[fixed.brain.array].mean(axis=0))
    _, backward = rigid((6.0, -5.0, 8.0), (7.0, -9.0, 5.0))
    deform = bulge(np.add(centre, (15.0, 10.0, 5.0)).tolist(), (4.0, -3.0, 2.0), 25.0)

    def to_fixed(points: np.ndarray) -> np.ndarray:
        return deform(backward(points - centre) + centre)

    moving = scanned_again(fixed, to_fixed, centre)
    result = register(fixed, moving, threads=2)
    points = voxel_centres_mm(moving.brain)[moving.brain.array][::101]
    error = np.linalg.norm(result.map_points(points) - to_fixed(points), axis=1)
    print(f"{name}: {result.kind}, mean {error.mean():.2f}, p95 {np.percentile(error, 95):.2f}, {result}")  # noqa: T201
    assert result.kind == RegistrationKind.DEFORMABLE
    assert error.mean() < 1.0
    assert np.percentile(error, 95) < 2.5
    assert np.percentile(error, 68) < result.sigma_mm


def test_two_patients_are_not_taken_for_one() -> None:
    result = register(head("TCGA_DU_6404_19850629", CURRENT_UID), head("TCGA_DU_7014_19860618", PRIOR_UID), threads=2)
    print(result.before, result.after, result.remarks)  # noqa: T201
    assert result.kind == RegistrationKind.NONE
