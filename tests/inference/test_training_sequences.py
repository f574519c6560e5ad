"""Sequences of patches: one patient, one place, all visits, and priors that come from the visit before."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Generator

from inference.training.heads import HeadSource
from inference.training.patches import PatchPlan
from inference.training.pool import HeadPool, Recipe, fill
from inference.training.sequences import draw_sequences

PLAN = PatchPlan(
    channels=("T1c", "prior_mask", "position_i"), labels=("background", "lesion"), size=(32, 32, 32), batch=6
)


@pytest.fixture
def pool(tmp_path: Path, ball_head: HeadSource) -> HeadPool:
    """Two patients with three visits each."""
    result = HeadPool(folder=tmp_path / "pool", capacity=2)
    fill(Recipe(sources=[[ball_head]], seed=5, visits=3), result, heads=2)
    return result


def test_every_visit_shows_the_same_place_of_the_same_patient(pool: HeadPool) -> None:
    batch = draw_sequences(pool, PLAN, generator=Generator().manual_seed(1))
    assert batch.images.shape == (6, 3, 3, 32, 32, 32)
    first, second, last = batch.visits
    assert first.places == second.places == last.places
    assert first.flipped == second.flipped == last.flipped
    for visit, one in enumerate(batch.visits):
        for n, place in enumerate(one.places):
            visits = pool.get(place.head)
            assert visits is not None
            truth = (visits[visit].lesions > 0).long()
            low = [max(0, at) for at in place.voxel]
            high = [min(size, at + 32) for at, size in zip(place.voxel, truth.shape, strict=True)]
            expected = truth[low[0] : high[0], low[1] : high[1], low[2] : high[2]].sum()
            assert int(one.tissue[n].sum()) == int(expected)


def test_the_prior_of_a_visit_is_the_truth_of_the_one_before_or_blank(pool: HeadPool) -> None:
    blank = kept = 0
    for seed in range(6):
        batch = draw_sequences(pool, PLAN, generator=Generator().manual_seed(seed))
        assert not bool(batch.visits[0].image[:, 1].any())
        for before, now in zip(batch.visits, batch.visits[1:], strict=False):
            for n in range(PLAN.batch):
                prior = now.image[n, 1]
                truth = (before.tissue[n] > 0).float()
                if bool(truth.any()):
                    blank += not bool(prior.any())
                    kept += bool(torch.equal(prior, truth))
    assert 0.1 < blank / (blank + kept) < 0.6
    assert kept > 10


def test_the_same_seed_gives_the_same_batch(pool: HeadPool) -> None:
    one, two = (draw_sequences(pool, replace(PLAN, batch=2), generator=Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(one.images, two.images)
