"""The label map carried to heads whose labels are known, and what may be said of a place.

The fast tests scan the shipped map itself, bent, turned, shifted, stretched and with other contrast: they prove
geometry and sides. How well the map fits other people is in a slow test, for one, and in `benchmarks.places`.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from highdicom import Volume
from numpy.typing import NDArray
from scipy.ndimage import binary_closing
from scipy.spatial.transform import Rotation

from inference import anatomy
from inference.anatomy import CarriedAtlas, atlas_for, place_in_words
from inference.synthesis.tissues import load_label_map
from inference.threads import torch_threads
from tests.tracking.phantoms import empty_grid
from tracking.measurement import Place, Side, locate
from tracking.measurement.anatomy import PLACES
from tracking.registration.engine import RegistrationError
from tracking.registration.transform import DisplacementField, Transform
from tracking.timepoint import MRSequence, Timepoint

LABEL_MAPS = Path(__file__).parents[3] / "shared" / "data" / "label_maps"
needs_label_maps = pytest.mark.skipif(not LABEL_MAPS.exists(), reason="../shared/data/label_maps is not here")

GREY = (3, 42, 8, 47, 10, 49, 11, 50, 12, 51, 17, 53, 18, 54, 26, 58)
FLUID = (4, 43, 5, 44, 14, 15, 24)
MIDDLE_MM = np.array([81.0, 140.0, 130.0])
STRUCTURES = (4, 43, 8, 47, 10, 49, 12, 51, 16, 17, 53)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Keep to one processor thread: on a busy machine two that wait for each other take many times as long."""
    with torch_threads(1):
        yield


def posed(turn_deg: tuple[float, float, float]) -> Transform:
    """From the patient to the map: bent, turned about the middle of the head, shifted by centimetres, of another size.

    Bent by waves of 4 mm, which no linear map follows.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag([1.08, 0.95, 1.04]) @ Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix()
    matrix[:3, 3] = MIDDLE_MM  # of the brain in the map; in the patient it is the origin
    affine = np.diag([10.0, 10.0, 10.0, 1.0])
    affine[:3, 3] = -120.0
    knots_mm = np.moveaxis(np.indices((25, 25, 25)), 0, -1) * 10.0 - 120.0
    waves_mm = 4.0 * np.sin(knots_mm[..., [1, 2, 0]] * (2 * np.pi / 90.0))
    return Transform(
        matrix=matrix, displacement=DisplacementField(vectors_mm=waves_mm.astype(np.float32), affine=affine)
    )


def scanned(to_map: Transform, path: Path | None = None) -> tuple[Timepoint, Volume]:
    """Return a study of a head made from a label map, axial slices of 4 mm, and its true labels."""
    array = load_label_map(path).numpy()
    upright = np.array([(0.0, 0, 1, 0), (0, 1, 0, 0), (1, 0, 0, 0), (0, 0, 0, 1)])
    if path is not None:
        upright[:3, 3] = MIDDLE_MM - upright[:3, :3] @ np.argwhere(np.isin(array, GREY)).mean(axis=0)
    grid = empty_grid((46, 72, 60), (4.0, 3.0, 3.0), turn_deg=(5.0, -4.0, 6.0))
    labels = to_map.warp(Volume(array, upright, "PATIENT"), grid, interpolation="nearest")
    image = np.where(labels.array > 0, 600.0, 20.0)
    image[np.isin(labels.array, GREY)] = 470.0
    image[np.isin(labels.array, FLUID)] = 150.0
    image += np.random.default_rng(0).normal(0, 20, image.shape)
    study = Timepoint(
        study_uid="1.2.3",
        study_date=date(2024, 1, 1),
        images={MRSequence.T1C: grid.with_array(image.astype(np.float32))},
        brain=grid.with_array(binary_closing(np.isin(labels.array, tuple(PLACES)), iterations=2)),
    )
    return study, labels


def middles_mm(labels: Volume) -> NDArray[np.float64]:
    """Return the centre of each of `STRUCTURES`, (n, 3)."""
    found = [np.argwhere(labels.array == label).mean(axis=0) for label in STRUCTURES]
    return np.asarray(np.array(found) @ labels.affine[:3, :3].T + labels.affine[:3, 3])


@pytest.fixture(scope="module")
def head() -> tuple[Timepoint, Volume]:
    return scanned(posed((12.0, -9.0, 14.0)))


@pytest.fixture(scope="module")
def carried(head: tuple[Timepoint, Volume]) -> CarriedAtlas:
    return atlas_for(head[0])


def labels_of(carried: CarriedAtlas) -> Volume:
    assert carried.labels is not None, carried.remark
    return carried.labels


def test_structures_lie_where_they_are_in_the_patient(head: tuple[Timepoint, Volume], carried: CarriedAtlas) -> None:
    apart_mm = np.linalg.norm(middles_mm(labels_of(carried)) - middles_mm(head[1]), axis=1)
    assert apart_mm.max() < 3.0, dict(zip(STRUCTURES, apart_mm.round(1), strict=True))


def test_nearly_every_voxel_has_its_own_place(head: tuple[Timepoint, Volume], carried: CarriedAtlas) -> None:
    found, truth = labels_of(carried).array, head[1].array
    both = np.isin(truth, tuple(PLACES)) & np.isin(found, tuple(PLACES))
    assert both.sum() > 0.9 * np.isin(truth, tuple(PLACES)).sum()
    assert (found[both] == truth[both]).mean() > 0.8
    sides = [np.array([PLACES[label].side == Side.LEFT for label in values[both]]) for values in (found, truth)]
    assert (sides[0] == sides[1]).mean() > 0.99


def test_the_labels_are_on_the_grid_of_the_t1c(head: tuple[Timepoint, Volume], carried: CarriedAtlas) -> None:
    labels = labels_of(carried)
    assert labels.geometry_equal(head[0].images[MRSequence.T1C])
    assert labels.array.dtype == np.int16
    assert carried.remark == ""
    assert carried.quality is not None
    assert carried.quality.brain_dice > 0.95


def test_a_head_that_lies_the_wrong_way_round_gets_no_places() -> None:
    study, _ = scanned(posed((0.0, 0.0, 180.0)))
    found = atlas_for(study)
    assert found.labels is None
    assert found.quality is not None
    assert found.remark.startswith("Where in the brain lesions lie is not said: the atlas does not fit the T1c (")


def test_an_engine_that_gives_up_is_told_of(head: tuple[Timepoint, Volume], monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def rigid(self, *_: object, **__: object) -> NDArray[np.float64]:
            raise RegistrationError("no overlap")

    monkeypatch.setattr(anatomy, "ENGINE", Broken())
    found = atlas_for(head[0])
    assert (found.labels, found.quality) == (None, None)
    assert "(no overlap)" in found.remark


def test_a_study_without_brain_mask_is_refused(head: tuple[Timepoint, Volume]) -> None:
    with pytest.raises(ValueError, match="no brain mask"):
        atlas_for(replace(head[0], brain=None))


def boxes() -> Volume:
    """Right and left hemisphere side by side, above a cerebellum; a thalamus inside, and a brain stem."""
    grid = empty_grid((40, 40, 60))
    labels = np.zeros((40, 40, 60), np.int16)
    labels[20:, :, :30], labels[20:, :, 30:] = 41, 2
    labels[30:, :, :30], labels[30:, :, 30:] = 42, 3
    labels[:20, :, :30], labels[:20, :, 30:] = 47, 8
    labels[22:28, 10:20, 44:52] = 10
    labels[:8, :8, 20:40] = 16
    return grid.with_array(labels)


@pytest.mark.parametrize(
    ("index", "share", "words", "infratentorial"),
    [
        ((25, 30, 10), 1.0, "right cerebral hemisphere", False),
        ((35, 30, 50), 1.0, "left cerebral hemisphere", False),
        ((10, 30, 50), 1.0, "left cerebellum", True),
        ((25, 15, 48), 0.7, "left thalamus", False),
        ((25, 15, 48), 0.6, "left cerebral hemisphere", False),
        ((25, 30, 34), 1.0, "cerebral hemisphere near the midline", False),
        ((25, 30, 36), 1.0, "left cerebral hemisphere", False),
        ((10, 30, 28), 1.0, "cerebellum near the midline", True),
        ((4, 4, 30), 0.5, "brain stem", True),
    ],
)
def test_only_what_the_atlas_can_tell_is_said(
    index: tuple[int, ...], share: float, words: str, infratentorial: bool
) -> None:
    labels = boxes()
    centre_mm = labels.affine[:3, :3] @ index + labels.affine[:3, 3]
    place = place_in_words(replace(locate(centre_mm[None], labels), share=share), centre_mm, labels)
    assert (str(place), place.infratentorial, place.share) == (words, infratentorial, share)


def test_what_is_not_known_stays_unknown() -> None:
    assert place_in_words(Place(), (0.0, 0.0, 0.0), boxes()) == Place()


@pytest.mark.slow
def test_a_bend_that_folds_is_dropped(head: tuple[Timepoint, Volume], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anatomy, "JACOBIAN_LIMITS", (0.99, 1.01))
    found = atlas_for(head[0])
    assert found.quality is not None
    assert found.quality.jacobian == (1.0, 1.0)
    apart_mm = np.linalg.norm(middles_mm(labels_of(found)) - middles_mm(head[1]), axis=1)
    assert 3.0 < apart_mm.max() < 10.0


@pytest.mark.slow
@needs_label_maps
def test_structures_of_another_person_are_found() -> None:
    study, truth = scanned(posed((-8.0, 5.0, 10.0)), LABEL_MAPS / "training_seg_20.nii.gz")
    labels = labels_of(atlas_for(study))
    apart_mm = np.linalg.norm(middles_mm(labels) - middles_mm(truth), axis=1)
    assert apart_mm.max() < 6.0, dict(zip(STRUCTURES, apart_mm.round(1), strict=True))
