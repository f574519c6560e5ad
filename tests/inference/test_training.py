"""Training end to end on balls in a ball: it learns, it resumes exactly, and what is unknown teaches nothing.

What it learns on heads is measured by `python -m inference.evaluation.froc`.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Generator

from inference.training.checkpoint import load_checkpoint, read_checkpoint
from inference.training.config import TrainingConfig
from inference.training.heads import HeadSource, training_sources, validation_heads, validation_label_maps
from inference.training.losses import lesion_loss
from inference.training.patches import cut, draw_batch
from inference.training.pool import HeadPool, fill, make_head, prepare, start_worker, voxel_weights
from inference.training.train import Run, new_state, rate_factor, start_from, train, wait_for_heads

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not here")
CPU = torch.device("cpu")
CONFIG = TrainingConfig(features=(4, 4, 4, 4, 4, 4), patch=32, steps=6, workers=0, first_heads=3)


@pytest.fixture
def pool(tmp_path: Path, ball_head: HeadSource) -> HeadPool:
    """Three heads that stay."""
    result = HeadPool(folder=tmp_path / "pool", capacity=3)
    fill([[ball_head]], result, seed=5, heads=3)
    return result


def run_in(folder: Path, pool: HeadPool, config: TrainingConfig = CONFIG) -> Run:
    return Run(config=config, pool=pool, checkpoint=folder / "checkpoint.pt", device=CPU)


def test_learns_to_find_balls(tmp_path: Path, pool: HeadPool) -> None:
    config = replace(CONFIG, steps=60, learning_rate=1e-2, ema_decay=0.9)
    run = run_in(tmp_path, pool, config)
    state = new_state(config, CPU)
    batch = draw_batch(pool, batch=4, edge=32, generator=Generator().manual_seed(99))
    before = float(lesion_loss(state.average(batch.image), batch.lesion, batch.weight))
    train(run, state)
    after = float(lesion_loss(state.average(batch.image), batch.lesion, batch.weight))
    assert after < 0.5 * before


def test_resumed_run_repeats_the_uninterrupted_one_exactly(tmp_path: Path, pool: HeadPool) -> None:
    whole = train(run_in(tmp_path / "whole", pool), new_state(CONFIG, CPU))
    run = run_in(tmp_path / "broken", pool)
    interrupted = new_state(CONFIG, CPU)
    with pytest.raises(KeyboardInterrupt):
        train(_stopping_at(run, interrupted, step=3), interrupted)
    resumed = new_state(replace(CONFIG, seed=77), CPU)  # nothing of the fresh state may survive
    load_checkpoint(run.checkpoint, resumed)
    assert resumed.step == 3
    train(run, resumed)
    for ours, theirs in zip(resumed.average.parameters(), whole.average.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_new_run_starts_from_the_averaged_weights_of_another_and_from_step_0(tmp_path: Path, pool: HeadPool) -> None:
    run = run_in(tmp_path, pool)
    taught = train(run, new_state(CONFIG, CPU))
    fresh = new_state(replace(CONFIG, seed=77), CPU)
    start_from(read_checkpoint(run.checkpoint), fresh)
    for network in (fresh.network, fresh.average):
        for ours, theirs in zip(network.parameters(), taught.average.parameters(), strict=True):
            assert torch.equal(ours, theirs)
    assert fresh.step == 0


def _stopping_at(run: Run, state: object, *, step: int) -> Run:
    """A run with a checkpoint after every step, whose pool is interrupted like a process at its next draw."""

    class Interrupted(HeadPool):
        def draw(self, generator: Generator):  # type: ignore[no-untyped-def]  # the type is the parent's
            if state.step == step:  # type: ignore[attr-defined]  # a TrainingState
                raise KeyboardInterrupt
            return super().draw(generator)

    pool = Interrupted(folder=run.pool.folder, capacity=run.pool.capacity)
    return replace(run, pool=pool, config=replace(run.config, checkpoint_s=-1.0))


def test_unknown_voxels_teach_nothing() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 2, 8, 8, 8, requires_grad=True)
    weight = torch.ones(1, 8, 8, 8)
    weight[:, 4:] = 0
    lesion = torch.zeros(1, 8, 8, 8, dtype=torch.bool)
    lesion[:, 2:6, 2:6, 2:6] = True
    lesion_loss(logits, lesion, weight).backward()
    assert logits.grad is not None
    assert not logits.grad[:, :, 4:].any()
    assert logits.grad[:, :, :4].all()


def test_perfect_answer_costs_nothing_and_no_answer_much() -> None:
    lesion = torch.zeros(1, 8, 8, 8, dtype=torch.bool)
    lesion[:, 2:6, 2:6, 2:6] = True
    sure = 20 * torch.stack([~lesion, lesion], 1).float()
    assert float(lesion_loss(sure, lesion, torch.ones(1, 8, 8, 8))) < 1e-3
    assert float(lesion_loss(-sure, lesion, torch.ones(1, 8, 8, 8))) > 5


def test_weights_follow_lesion_volume() -> None:
    lesions = torch.zeros(30, 30, 30, dtype=torch.int16)
    lesions[:2, :5, :25] = 1  # 250 mm³
    lesions[10, 10, 10] = 2
    lesions[15:, 15:, 15:] = 3  # 3375 mm³
    ignore = torch.zeros(30, 30, 30, dtype=torch.bool)
    ignore[12:20, 0:3] = True
    weight = voxel_weights(lesions, ignore).float()
    assert weight[0, 0, 0] == pytest.approx(2, abs=0.01)  # (1000 / 250)^½
    assert weight[10, 10, 10] == 4  # the limit
    assert weight[20, 20, 20] == 1
    assert weight[12, 1, 0] == 0
    assert weight[5, 20, 0] == 1


def test_patches_reach_beyond_the_head_with_blank_voxels() -> None:
    array = torch.arange(27.0).reshape(3, 3, 3) + 1
    patch = cut(array, torch.tensor([-1, 1, 2]), 4)
    assert patch.shape == (4, 4, 4)
    assert torch.equal(patch[1:, :2, :1], array[:, 1:, 2:])
    assert patch.sum() == array[:, 1:, 2:].sum()


def test_every_second_patch_shows_a_lesion(pool: HeadPool) -> None:
    batch = draw_batch(pool, batch=8, edge=48, generator=Generator().manual_seed(1))
    assert batch.image.shape == (8, 1, 48, 48, 48)
    assert all(bool(batch.lesion[n].any()) for n in (0, 2, 4, 6))


def test_a_head_depends_on_its_number_alone(ball_head: HeadSource) -> None:
    first, again, other = (make_head([[ball_head]], seed=3, number=n) for n in (8, 8, 9))
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.lesions, other.lesions)


def test_pool_keeps_the_newest(tmp_path: Path, ball_head: HeadSource) -> None:
    pool = HeadPool(folder=tmp_path, capacity=2)
    fill([[ball_head]], pool, seed=0, heads=4)
    assert [path.name for path in pool.paths()] == ["head_000002.pt", "head_000003.pt"]
    assert pool.next_number() == 4


def test_empty_pool_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="at least one worker"):
        HeadPool(folder=tmp_path, capacity=2).draw(Generator())


def test_a_dead_worker_ends_the_training_with_its_code(tmp_path: Path) -> None:
    worker = start_worker([[]], HeadPool(folder=tmp_path, capacity=1), seed=0, turn=(0, 1), duty=1.0)
    run = replace(run_in(tmp_path, HeadPool(folder=tmp_path, capacity=1)), workers=(worker,))
    with pytest.raises(RuntimeError, match="ended with code 1"):
        wait_for_heads(run)


def test_learning_rate_rises_then_falls() -> None:
    assert rate_factor(0.025) == pytest.approx(0.5)
    assert rate_factor(0.05) == pytest.approx(1)
    assert rate_factor(1.0) == pytest.approx(0.01)


def test_centre_of_a_lesion_lies_in_it(ball_head: HeadSource) -> None:
    prepared = prepare(ball_head.make(Generator().manual_seed(1)))
    assert [int(prepared.lesions[tuple(centre)]) for centre in prepared.centres] == [1, 2]


@needs_data
def test_no_held_out_subject_is_trained_on() -> None:
    real, maps = training_sources(DATA)
    held_out = {head.stem.name for head in validation_heads(DATA)} | {m.path.name for m in validation_label_maps(DATA)}
    trained = {head.stem.name for head in real} | {m.path.name for m in maps}  # type: ignore[attr-defined]
    assert (len(real), len(maps), len(held_out)) == (49, 17, 15)
    assert not trained & held_out
    assert {name.split("_")[1] for name in held_out if name.startswith("TCGA")} == {"FG", "EZ"}
