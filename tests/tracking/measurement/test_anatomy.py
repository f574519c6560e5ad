"""Words for places on a head made of boxes. Whether a template's labels fit a real patient is not covered here."""

import numpy as np
import pytest
from highdicom import Volume

from tests.tracking.phantoms import empty_grid, with_balls
from tracking.measurement import Place, Side, locate, measure_lesions, profile_lesions

GRID = empty_grid((40, 40, 40), (2.0, 2.0, 2.0), turn_deg=(5.0, 0.0, 10.0))


def atlas() -> Volume:
    """From the patient's right (low index along k) to the left; below cerebellum, above cerebrum, air around."""
    labels = np.zeros((40, 40, 40), np.int16)
    labels[5:15, 5:35, 5:20], labels[5:15, 5:35, 20:35] = 47, 8
    labels[15:35, 5:35, 5:20], labels[15:35, 5:35, 20:35] = 41, 2
    labels[5:15, 5:10, 18:22] = 16
    labels[30:35, 5:35, 5:20] = 42
    return GRID.with_array(labels)


def at(*index: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.array([GRID.affine[:3, :3] @ index + GRID.affine[:3, 3]])


@pytest.mark.parametrize(
    ("index", "words", "infratentorial"),
    [
        ((20, 20, 30), "left cerebral white matter", False),
        ((20, 20, 10), "right cerebral white matter", False),
        ((32, 20, 10), "right cerebral cortex", False),
        ((10, 20, 10), "right cerebellar cortex", True),
        ((10, 20, 30), "left cerebellar cortex", True),
        ((10, 7, 20), "brain stem", True),
    ],
)
def test_places_have_their_names(index: tuple[float, ...], words: str, infratentorial: bool) -> None:
    place = locate(at(*index), atlas())
    assert (str(place), place.infratentorial, place.share) == (words, infratentorial, 1.0)


def test_the_majority_of_voxels_decides_and_its_share_is_told() -> None:
    points = np.concatenate([at(20, 20, k) for k in (17, 18, 19, 20)] + [at(0, 0, 0)])
    place = locate(points, atlas())
    assert (place.side, place.share) == (Side.RIGHT, 0.75)  # air has no vote


def test_beside_the_brain_the_nearest_label_within_5_mm_is_named_without_a_share() -> None:
    near, far = locate(at(36, 20, 10), atlas()), locate(at(38.9, 20, 10), atlas())
    assert (str(near), near.share) == ("right cerebral cortex", 0.0)
    assert far == Place()


@pytest.mark.parametrize("labels", [None, GRID.with_array(np.full((40, 40, 40), 507, np.int16))])
def test_without_labels_of_the_brain_nothing_is_known(labels: Volume | None) -> None:
    place = locate(at(20, 20, 20), labels)
    assert (place.side, place.region, place.infratentorial, str(place)) == (None, None, None, "not known")


def test_outside_the_atlas_nothing_is_known() -> None:
    assert locate(at(500, 0, 0), atlas()) == Place()


def test_the_atlas_may_lie_on_another_grid_than_the_lesions() -> None:
    labels = with_balls(empty_grid((60, 60, 60)), [((0.0, 0.0, 20.0), 5.0), ((15.0, 0.0, 20.0), 5.0)])
    profiles = profile_lesions(labels, measure_lesions(labels), atlas=atlas())
    for profile in profiles:
        assert profile.place == locate_by_hand(labels, profile.lesion.number)


def locate_by_hand(labels: Volume, number: int) -> Place:
    index = np.argwhere(labels.array == number)
    return locate(index @ labels.affine[:3, :3].T + labels.affine[:3, 3], atlas())


def test_an_atlas_of_probabilities_is_refused() -> None:
    with pytest.raises(ValueError, match="must hold integer labels"):
        locate(at(20, 20, 20), GRID.with_array(np.zeros((40, 40, 40), np.float32)))
