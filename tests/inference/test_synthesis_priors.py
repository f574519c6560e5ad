"""Fictitious priors: most lesions were there, differently large, and some places have nothing any more."""

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Generator

from inference.synthesis.priors import fictitious_prior


def ball(radius: float, centre: int = 24) -> NDArray[np.int16]:
    axes = np.ogrid[:48, :48, :48]
    return np.asarray(sum((axis - centre) ** 2 for axis in axes) <= radius**2).astype(np.int16)


def priors(lesions: NDArray[np.int16], brain: NDArray[np.bool_], count: int = 200) -> list[NDArray[np.bool_]]:
    generator = Generator().manual_seed(1)
    return [fictitious_prior(lesions, brain, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("radius", [1.5, 6.0])
def test_three_quarters_of_the_lesions_were_there_smaller_or_larger(radius: float) -> None:
    lesion = ball(radius)
    found = priors(lesion, np.zeros(lesion.shape, bool))
    there = [prior for prior in found if prior.any()]
    assert 0.65 < len(there) / len(found) < 0.85
    changes = np.log([prior.sum() / lesion.sum() for prior in there])
    assert 0.5 < changes.std() < 1.6
    assert (changes > 0.2).any()
    assert (changes < -0.2).any()


def test_a_prior_lies_within_six_millimetres_along_each_axis() -> None:
    lesion = ball(6.0)
    there = [prior for prior in priors(lesion, np.zeros(lesion.shape, bool)) if prior.any()]
    aside = np.array([np.argwhere(prior).mean(0) - 24 for prior in there])
    assert np.abs(aside).max() <= 6.5
    assert 0.8 < np.abs(aside).mean() < 2.5


def test_without_lesions_some_places_had_one_inside_the_brain() -> None:
    brain = ball(12.0) > 0
    found = priors(np.zeros((48, 48, 48), np.int16), brain)
    gone = [prior for prior in found if prior.any()]
    assert 0.2 < len(gone) / len(found) < 0.4
    assert all((prior & brain).any() for prior in gone)
    assert not fictitious_prior(
        np.zeros((8, 8, 8), np.int16), np.zeros((8, 8, 8), bool), generator=Generator().manual_seed(0)
    ).any()


def test_the_same_seed_gives_the_same_prior() -> None:
    lesion = ball(5.0)
    one, two = (fictitious_prior(lesion, lesion == 0, generator=Generator().manual_seed(3)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
