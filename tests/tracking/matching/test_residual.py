"""What neighbouring lesions tell of registration's remaining error, on fields that are known."""

import numpy as np
import pytest

from tests.tracking.phantoms import FloatArray
from tracking.matching.kriging import Offsets, correct
from tracking.matching.residual import settle
from tracking.matching.sites import Site, ball_at

RNG = np.random.default_rng(5)
PLACES_MM = RNG.uniform(-55, 55, (30, 3))


def offsets(vectors_mm: FloatArray, places_mm: FloatArray = PLACES_MM) -> Offsets:
    return Offsets(places_mm=places_mm, vectors_mm=vectors_mm, noise_mm=np.full(len(places_mm), 0.3))


def smooth_mm(points: FloatArray) -> FloatArray:
    x, y, z = points.T
    return np.stack((4 * np.cos(x / 60), 2 * np.sin(y / 50), -3 * np.cos((z + x) / 70)), axis=-1)


def balls(centres_mm: FloatArray, *, sigma_mm: float = 0.0) -> list[Site]:
    return [ball_at(centre, 60.0, sigma_mm=sigma_mm) for centre in np.asarray(centres_mm, float)]


def test_a_common_shift_is_found_everywhere() -> None:
    elsewhere = np.array([[0.0, 0.0, 0.0], [60.0, 60.0, 60.0]])
    places = np.concatenate((PLACES_MM, elsewhere))
    found = correct(places, np.arange(30), offsets(np.tile((3.0, -2.0, 1.0), (30, 1))), 4.0)
    assert found.shifts_mm == pytest.approx(np.tile((3.0, -2.0, 1.0), (32, 1)), abs=0.5)
    assert found.sigmas_mm.max() < 1.5


def test_a_smooth_field_is_followed() -> None:
    elsewhere = RNG.uniform(-45, 45, (20, 3))
    places = np.concatenate((PLACES_MM, elsewhere))
    found = correct(places, np.arange(30), offsets(smooth_mm(PLACES_MM)), 4.0)
    left_mm = np.linalg.norm(found.shifts_mm[30:] - smooth_mm(elsewhere), axis=1)
    assert np.sqrt((left_mm**2).mean()) < 0.4 * np.sqrt((smooth_mm(elsewhere) ** 2).sum(axis=1).mean())
    assert (left_mm < 3 * found.sigmas_mm[30:]).mean() > 0.9


def test_errors_that_have_nothing_in_common_are_left_alone() -> None:
    scattered = RNG.normal(0, 4 / np.sqrt(3), (30, 3))
    found = correct(PLACES_MM, np.arange(30), offsets(scattered), 4.0)
    assert np.linalg.norm(found.shifts_mm, axis=1).mean() < 1.5
    assert found.sigmas_mm.mean() == pytest.approx(4.0, abs=1.2)


def test_no_lesion_speaks_for_itself() -> None:
    """One of the offsets is wrong; leaving it out, its neighbours say where it belongs."""
    vectors = np.tile((2.0, 0.0, 0.0), (30, 1))
    vectors[7] = (2.0, 6.0, 0.0)
    found = correct(PLACES_MM, np.arange(30), offsets(vectors), 3.0)
    assert found.shifts_mm[7] == pytest.approx((2.0, 0.0, 0.0), abs=0.8)


def test_sites_are_moved_with_those_that_have_no_partner() -> None:
    shift = np.array([0.0, 4.0, 0.0])
    priors, others = balls(PLACES_MM[:10], sigma_mm=4.0), balls([[0, 0, 0]], sigma_mm=4.0)
    moved, (empty,) = settle(priors, balls(PLACES_MM[:10] + shift), others)
    assert np.array([site.centroid_mm for site in moved]) == pytest.approx(PLACES_MM[:10] + shift, abs=0.6)
    assert empty.centroid_mm == pytest.approx(shift, abs=0.8)
    assert empty.points.mean(axis=0) == pytest.approx(empty.centroid_mm, abs=0.3)
    assert max(site.sigma_mm for site in moved) < 2.0


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pairs_move_nothing(count: int) -> None:
    priors = balls(PLACES_MM[:count], sigma_mm=3.0)
    moved, others = settle(priors, balls(PLACES_MM[:count] + 2.0))
    assert [site.centroid_mm for site in moved] == [site.centroid_mm for site in priors]
    assert others == ()


def test_an_alignment_that_claims_to_be_exact_is_no_trouble() -> None:
    moved, _ = settle(balls(PLACES_MM[:5]), balls(PLACES_MM[:5]))
    assert np.array([site.centroid_mm for site in moved]) == pytest.approx(PLACES_MM[:5], abs=0.2)


def test_an_error_that_was_said_to_be_small_is_learnt() -> None:
    scattered = np.random.default_rng(6).normal(0, 4 / np.sqrt(3), (30, 3))
    found = correct(PLACES_MM, np.arange(30), offsets(scattered), 1.0)
    assert 2.5 < found.sigmas_mm.mean() < 5.0
