"""Confidence: what it is made of, and that it keeps its word on regions that it was not fitted to."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, logit

from inference.confidence import SUREST, Confidence, confidence_of, traits_of
from inference.evaluation.calibration import fit_confidence, reliability

HOW = Confidence(intercept=-2.0, mean_log_odds=0.5, ln_mm3=0.25, elongation=-1.0)


def two_regions() -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """A cube of 27 voxels, half of them at .9 and half at .6 or so, and a bar; number 2 is not there."""
    components = np.zeros((8, 16, 16), np.uint16)
    components[1:4, 1:4, 1:4] = 1
    components[6, 10, 2:12] = 3
    probability = np.full(components.shape, 0.1, np.float32)
    probability[components == 1] = np.linspace(0.6, 0.9, 27)
    probability[components == 3] = 1
    return components, probability


def test_traits_are_mean_log_odds_volume_and_elongation() -> None:
    components, probability = two_regions()
    traits = traits_of(components, probability, spacing_mm=(2.0, 1.0, 1.0))
    assert traits.shape == (4, 3)
    assert traits[1, 0] == pytest.approx(logit(np.linspace(0.6, 0.9, 27)).mean(), rel=1e-5)
    assert traits[3, 0] == pytest.approx(logit(1 - SUREST))
    assert np.exp(traits[[1, 3], 1]) == pytest.approx([54, 20])
    assert traits[3, 2] > traits[1, 2] >= 1


def test_confidence_is_the_logistic_of_the_traits() -> None:
    components, probability = two_regions()
    found = confidence_of(components, probability, spacing_mm=(1.0, 1.0, 1.0), how=HOW)
    traits = traits_of(components, probability, spacing_mm=(1.0, 1.0, 1.0))
    assert found[1] == pytest.approx(expit(-2 + 0.5 * traits[1, 0] + 0.25 * np.log(27) - traits[1, 2]))
    assert found[0] == found[2] == 0  # background, and a number without a voxel


@pytest.mark.parametrize("inside", [1e-6, 1e-3, 0.4])
def test_a_ring_counts_by_its_wall(inside: float) -> None:
    axes = np.meshgrid(*(np.arange(24),) * 3, indexing="ij")
    distance = np.sqrt(sum((axis - 12.0) ** 2 for axis in axes))
    ball = (distance <= 10).astype(np.uint16)  # its hole is filled
    probability = np.where(distance > 8, 0.99, inside).astype(np.float32)
    found = traits_of(ball, probability, spacing_mm=(1.0, 1.0, 1.0))
    assert found[1, 0] == pytest.approx(logit(0.99), rel=1e-4)


def test_log_odds_for_a_confidence_are_those_that_give_it() -> None:
    traits = np.array([[0, 0, 0], [3.0, 4.0, 1.2], [9.0, 7.0, 2.0]])
    wanted = np.array([0.5, 0.2, 0.97])
    traits[:, 0] = HOW.log_odds_for(wanted, traits)
    assert HOW.of(traits) == pytest.approx(wanted)


def test_without_calibration_it_is_the_highest_probability() -> None:
    components, probability = two_regions()
    found = confidence_of(components, probability, spacing_mm=(1.0, 1.0, 1.0), how=None)
    assert found == pytest.approx([0, 0.9, 0, 1])


def test_nothing_is_sure_of_nothing() -> None:
    nothing = np.zeros((4, 4, 4), np.uint16)
    for how in (HOW, None):
        assert confidence_of(nothing, nothing.astype(np.float32), spacing_mm=(1.0, 1.0, 1.0), how=how).tolist() == [0]


def test_what_was_fitted_keeps_its_word_on_other_regions() -> None:
    generator = np.random.default_rng(0)

    def regions(count: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        traits = np.stack(
            [generator.normal(5, 3, count), generator.normal(4, 1.5, count), generator.uniform(1, 2.2, count)], axis=1
        )
        chance = expit(-5 + 0.7 * traits[:, 0] + 0.8 * traits[:, 1] - 1.2 * traits[:, 2])
        return traits, generator.random(count) < chance

    fitted = fit_confidence(*regions(4000))
    assert (fitted.mean_log_odds, fitted.ln_mm3, fitted.elongation) == pytest.approx((0.7, 0.8, -1.2), abs=0.25)
    traits, true = regions(4000)
    rows = reliability(fitted.of(traits), true)
    assert sum(row["regions"] for row in rows) == 4000
    for row in rows:
        assert row["true"] == pytest.approx(row["mean"], abs=0.06)


def test_regions_of_one_kind_cannot_be_told_apart() -> None:
    with pytest.raises(ValueError, match="3 of 3 regions are lesions: confidence needs both"):
        fit_confidence(np.ones((3, 3)), np.ones(3, bool))
