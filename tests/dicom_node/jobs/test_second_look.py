"""The prior study's knowledge is used on today's probability map, and by models that see the prior."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from highdicom import Volume
from numpy.typing import NDArray

from dicom_node.jobs import second_look
from dicom_node.jobs.artefacts import load_volume, save_volume
from dicom_node.jobs.job import StudyJob
from dicom_node.jobs.second_look import look_again
from dicom_node.jobs.segmented import SegmentedStudy
from dicom_node.studies.physics import SeriesPhysics
from inference.grid_model import GridModel
from tests.inference.test_adapters_nnunet import SOURCES, results_folder, thresholding, write_manifest
from tests.inference.test_predictor import MANIFEST
from tests.tracking.matching.test_matching import registration
from tests.tracking.phantoms import CURRENT_UID, PRIOR_UID, empty_grid, timepoint, with_balls
from tracking.measurement import measure_lesions
from tracking.registration import RegistrationKind
from tracking.timepoint import Tissue

GRID = empty_grid((40, 60, 60))
LEFT, RIGHT, FAR = (-6.0, 0.0, 0.0), (6.0, 0.0, 0.0), (0.0, 20.0, 0.0)
BEFORE = timepoint(with_balls(GRID, [(LEFT, 5.0), (RIGHT, 5.0), (FAR, 4.0)]), PRIOR_UID)


@pytest.fixture
def job(tmp_path: Path) -> StudyJob:
    return StudyJob(job_id="1.2:now", study_uid="1.2", instance_paths=(), work_folder=tmp_path, configuration_path=None)


@pytest.fixture
def blind_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The configured model makes no use of a prior."""
    manifest = replace(MANIFEST, threshold=0.4, least_confidence=0.99, minimum_volume_mm3=8.0)
    monkeypatch.setattr(second_look, "description_of", lambda _: manifest)


def study(job: StudyJob, seen: Volume, probability: Volume) -> SegmentedStudy:
    brain = GRID.with_array(np.ones(GRID.spatial_shape, np.uint8))
    return SegmentedStudy(
        study_uid=CURRENT_UID,
        study_date=BEFORE.study_date,
        physics=SeriesPhysics(modality="MR"),
        t1c_paths=(),
        t1c=save_volume(job.work_folder / "t1c.npz", GRID),
        brain=save_volume(job.work_folder / "brain.npz", brain),
        lesions=save_volume(job.work_folder / "lesions.npz", seen),
        measured=measure_lesions(seen),
        probability=save_volume(job.work_folder / "probability.npz", probability),
    )


def today(job: StudyJob, balls: Sequence[tuple[Sequence[float], float]], *, faint: bool = False) -> SegmentedStudy:
    """Lesions that the network is sure of; the far one only if it is not faint."""
    shown = with_balls(GRID, balls).array > 0
    certain = with_balls(GRID, balls[:1] if faint else balls).array > 0
    probability = np.where(certain, 1.0, np.where(shown, 0.6, 0.0)).astype(np.float32)
    seen = GRID.with_array(certain.astype(np.uint16))
    return study(job, seen, GRID.with_array(probability))


@pytest.mark.usefixtures("blind_model")
def test_two_known_lesions_that_touch_stay_two(job: StudyJob) -> None:
    again, remarks = look_again(job, today(job, [(LEFT, 6.3), (RIGHT, 6.3)]), BEFORE, registration())
    assert len(again.measured) == 2
    assert sorted(round(lesion.centroid_mm[0]) for lesion in again.measured) == [-6, 6]
    assert remarks == ("Lesions that touch a neighbour and were told apart as in the prior study: 1.",)
    assert set(np.unique(load_volume(again.lesions).array)) == {0, 1, 2}


@pytest.mark.usefixtures("blind_model")
def test_what_is_left_of_a_known_lesion_is_kept_though_it_is_faint(job: StudyJob) -> None:
    faint = today(job, [(LEFT, 5.0), (FAR, 3.0)], faint=True)
    assert len(faint.measured) == 1
    again, remarks = look_again(job, faint, BEFORE, registration())
    assert len(again.measured) == 2
    assert remarks == ("Lesions kept only because the prior study has one at their place: 1; verify them.",)


@pytest.mark.usefixtures("blind_model")
def test_without_registration_nothing_is_known(job: StudyJob) -> None:
    faint = today(job, [(LEFT, 5.0), (FAR, 3.0)], faint=True)
    assert look_again(job, faint, BEFORE, replace(registration(), kind=RegistrationKind.NONE)) == (faint, ())


def test_a_users_nnunet_that_sees_the_prior_segments_known_lesions_again(
    job: StudyJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = results_folder(tmp_path, monkeypatch, channels=SOURCES, folds={0: thresholding((200, 25, 0.5))})
    # Its third output, which stands for edema in its own words, is the prior mask: here it means necrosis.
    lines = f'channels = {list(SOURCES)}\noptional_channels = ["subtraction"]\nmirroring = false'
    manifest = write_manifest(folder, lines, 'enhancing = "enhancing"\nnecrosis = "edema"\nedema = "necrosis"\n')
    monkeypatch.setenv("DICOM_NODE_MODEL__MANIFEST", str(manifest))
    monkeypatch.setenv("DICOM_NODE_NODE__DATA_DIR", str(tmp_path / "data"))
    nothing_seen = study(job, GRID, GRID.with_array(np.zeros(GRID.spatial_shape, np.float32)))
    again, remarks = look_again(job, nothing_seen, BEFORE, registration())
    known = measure_lesions(BEFORE.lesions) if BEFORE.lesions else ()
    assert len(again.measured) == len(known) == 3
    for now, before in zip(again.measured, sorted(known, key=lambda one: -one.total_volume_mm3), strict=True):
        assert now.total_volume_mm3 == pytest.approx(before.total_volume_mm3, rel=0.1)  # as the voxels fall
        assert now.volume_mm3[Tissue.NECROSIS] == now.total_volume_mm3
    assert remarks == ("Lesions kept only because the prior study has one at their place: 3; verify them.",)


class Recalling:
    """A model with memory that answers what the study before showed."""

    manifest = replace(MANIFEST, network="stt", window=(32, 32, 32))

    def predict(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        earlier, _ = channels
        return np.stack([earlier <= 1, earlier > 1]).astype(np.float32)


def test_a_model_with_memory_is_shown_the_image_of_the_study_before(
    job: StudyJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_look, "model_of", lambda _: GridModel(predictor=Recalling()))
    monkeypatch.setattr(second_look, "description_of", lambda _: Recalling.manifest)
    nothing_seen = study(job, GRID, GRID.with_array(np.zeros(GRID.spatial_shape, np.float32)))
    again, _ = look_again(job, nothing_seen, BEFORE, registration())
    assert BEFORE.lesions is not None
    np.testing.assert_array_equal(load_volume(again.lesions).array > 0, BEFORE.lesions.array > 0)
