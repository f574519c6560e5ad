"""The known motion of real heads that are scanned again, and the whole chain on one; figures: benchmarks/full_chain.py.

The forms of the lesions' histories are tested in test_scenes.py, registration alone in test_register_heads.py.
"""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from benchmarks.full_chain import OURS, judge_all, register_all
from benchmarks.scenes.heads import MASS_RADII_MM, Motion, Patient, centres_mm, make_patient
from benchmarks.scenes.score import Score, true_edges
from tests.tracking.phantoms import empty_grid
from tracking.timepoint import MRSequence

HEADS = Path(__file__).parents[3] / "shared" / "data" / "heads"
SITE_MM = np.array([10.0, -20.0, 30.0])

with_heads = pytest.mark.skipif(not HEADS.exists(), reason="the research heads (../shared/data/heads) are not here")


def motion(*, radius_mm: float, bend_mm: float) -> Motion:
    rng = np.random.default_rng(0)
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", (6, -5, 8), degrees=True).as_matrix()
    pose[:3, 3] = (7, -9, 5)
    return Motion(
        grid=empty_grid((4, 4, 4), (4.0, 1.0, 1.0)),
        pose=pose,
        site_mm=SITE_MM,
        radius_mm=radius_mm,
        bend_mm=bend_mm,
        waves=rng.normal(size=(3, 3)),
        phases=rng.uniform(0, 2 * np.pi, 3),
    )


@pytest.mark.parametrize("radius_mm", MASS_RADII_MM)
def test_tissue_is_found_again_where_it_went(radius_mm: float) -> None:
    points = SITE_MM + np.random.default_rng(1).uniform(-60, 60, (500, 3))
    moved = motion(radius_mm=radius_mm, bend_mm=1.5)
    assert moved.to_head(moved.from_head(points)) == pytest.approx(points, abs=1e-6)


@pytest.mark.parametrize("radius_mm", MASS_RADII_MM)
def test_the_mass_has_its_radius_and_the_tissue_around_it_keeps_its_volume(radius_mm: float) -> None:
    directions = np.random.default_rng(2).normal(size=(200, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    moved = motion(radius_mm=radius_mm, bend_mm=0.0)
    middle = moved.from_head(SITE_MM[None])
    edge = moved.from_head(SITE_MM + MASS_RADII_MM[0] * directions)
    assert np.linalg.norm(edge - middle, axis=1) == pytest.approx(radius_mm, abs=1e-6)
    around = middle + directions * np.linspace(radius_mm + 1, 50, 200)[:, None]
    columns = [(moved.to_head(around + step) - moved.to_head(around - step)) / 0.02 for step in np.eye(3) * 0.01]
    assert np.linalg.det(np.stack(columns, axis=-1)) == pytest.approx(1.0, abs=1e-3)


@pytest.fixture(scope="module")
def patient() -> Patient:
    return make_patient(HEADS / "TCGA_DU_7299_19910417", seed=6)


@pytest.mark.slow
@with_heads
def test_every_study_shows_its_lesions_where_their_tissue_is(patient: Patient) -> None:
    studies, atoms = patient.scene.studies, patient.scene.atoms
    middles = []
    for place, (study, parts) in enumerate(zip(studies, atoms, strict=True)):
        labels, image = study.lesions.array, study.images[MRSequence.T1C].array
        assert set(np.unique(labels)) == {0, *parts}
        assert np.median(image[labels > 0]) > 1.5 * np.median(image[study.brain.array])
        points = centres_mm(study.lesions)
        middles.append({n: patient.motions[place].to_head(points[labels == n]).mean(axis=0) for n in parts})
    moved = []
    for place in (1, 2):
        was, is_now = atoms[place - 1 : place + 1]
        same = [(p, c) for p, c in true_edges(was, is_now) if was[p] == is_now[c]]
        moved += [float(np.linalg.norm(middles[place - 1][p] - middles[place][c])) for p, c in same]
    assert np.median(moved) < 1.0


@pytest.mark.slow
@with_heads
def test_the_chain_follows_lesions_through_a_deformed_head(patient: Patient) -> None:
    registrations, carried = register_all(patient, "head", "greedy")
    scores: dict[str, Score] = {}
    judge_all(patient, registrations, scores, {})
    errors_mm, sigmas_mm = (
        np.concatenate([getattr(one, name) for one in carried]) for name in ("errors_mm", "sigmas_mm")
    )
    assert errors_mm.mean() < 0.6
    assert np.mean(errors_mm < sigmas_mm) >= 0.68
    assert scores[OURS].f1("edge") >= 0.95
    assert scores[OURS].right["recurrent"] == 1
    assert scores[OURS].right["split"] == 1
    assert all(scores[OURS].f1("edge") >= score.f1("edge") for score in scores.values())
