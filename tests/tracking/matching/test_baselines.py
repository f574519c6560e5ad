"""The baselines do what their authors say, on balls."""

import numpy as np
import pytest

from tracking.matching.baselines import (
    BASELINES,
    NYUMETS,
    dilated_overlap,
    hungarian,
    nyumets_greatest,
    registration_only,
)
from tracking.matching.sites import Site, ball_at


def at(x: float, radius_mm: float = 3.0) -> Site:
    return ball_at(np.array((x, 0.0, 0.0)), 4 / 3 * np.pi * radius_mm**3, sigma_mm=0.0)


def test_overlap_needs_touch_within_a_voxel() -> None:
    assert dilated_overlap([at(0)], [at(7)]) == {(0, 0)}
    assert dilated_overlap([at(0)], [at(8)]) == set()
    assert dilated_overlap([at(-5), at(5)], [at(0)]) == {(0, 0), (1, 0)}


def test_hungarian_is_one_to_one_and_least_in_sum() -> None:
    assert hungarian([at(0), at(6)], [at(5), at(11)]) == {(0, 0), (1, 1)}
    assert hungarian([at(0)], [at(30)]) == set()


def test_registration_only_takes_the_warped_label() -> None:
    assert registration_only([at(0, 4), at(7, 2)], [at(2, 4)]) == {(0, 0)}
    assert registration_only([at(0, 2)], [at(5, 2)]) == set()


def test_the_paper_lets_one_earlier_lesion_have_two_partners() -> None:
    links = nyumets_greatest([at(0, 6)], [at(-3, 2.5), at(3, 2.5)], limits=NYUMETS[2])
    assert links == {(0, 0), (0, 1)}


@pytest.mark.parametrize("name", BASELINES)
def test_each_follows_a_lesion_that_stays_and_makes_up_none(name: str) -> None:
    baseline = BASELINES[name]
    assert baseline([at(0)], [at(0)]) == {(0, 0)}
    assert baseline([at(0)], [at(40)]) == set()
    assert baseline([], [at(0)]) == baseline([at(0)], []) == set()
