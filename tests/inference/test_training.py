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
from inference.training.losses import LOSSES
from inference.training.patches import Batch, HardPlaces, PatchPlan, Place, cut, draw_batch
from inference.training.pool import HeadPool, Recipe, Visits, fill, lesion_weights, prepare, start_worker
from inference.training.train import Run, new_state, rate_factor, start_from, train, wait_for_heads, widened

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not here")
CPU = torch.device("cpu")
CONFIG = TrainingConfig(
    features=(4, 4, 4, 4, 4, 4), patches=(32,), batch_voxels=2 * 32**3, steps=6, workers=0, first_heads=3
)
PLAN = PatchPlan(channels=CONFIG.channels, labels=CONFIG.labels, edge=32, batch=4)


@pytest.fixture
def pool(tmp_path: Path, ball_head: HeadSource) -> HeadPool:
    """Three heads that stay."""
    result = HeadPool(folder=tmp_path / "pool", capacity=3)
    fill(Recipe(sources=[[ball_head]], seed=5), result, heads=3)
    return result


def loss_of(name: str, logits: torch.Tensor, batch: Batch) -> float:
    return float(LOSSES[name](logits, batch.tissue, batch.lesions, batch.weight))


def run_in(folder: Path, pool: HeadPool, config: TrainingConfig = CONFIG) -> Run:
    return Run(config=config, pool=pool, checkpoint=folder / "checkpoint.pt", device=CPU)


def test_learns_to_find_balls(tmp_path: Path, pool: HeadPool) -> None:
    config = replace(CONFIG, steps=120, learning_rate=1e-2, ema_decay=0.9, labels=("background", "lesion"))
    run = run_in(tmp_path, pool, config)
    state = new_state(config, CPU)
    batch = draw_batch(pool, replace(PLAN, labels=config.labels), generator=Generator().manual_seed(99))
    before = loss_of(config.loss, state.average(batch.image), batch)
    train(run, state)
    after = loss_of(config.loss, state.average(batch.image), batch)
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
        def draw(self, generator: Generator) -> tuple[int, Visits]:
            if state.step == step:  # type: ignore[attr-defined]  # a TrainingState
                raise KeyboardInterrupt
            return super().draw(generator)

    pool = Interrupted(folder=run.pool.folder, capacity=run.pool.capacity)
    return replace(run, pool=pool, config=replace(run.config, checkpoint_s=-1.0))


def test_resumed_run_remembers_where_the_network_erred(tmp_path: Path, pool: HeadPool) -> None:
    run = run_in(tmp_path, pool)
    state = train(run, new_state(CONFIG, CPU))
    assert state.hard.places
    resumed = new_state(CONFIG, CPU)
    load_checkpoint(run.checkpoint, resumed)
    assert list(resumed.hard.places) == list(state.hard.places)


def test_errors_are_noted_where_they_lie_and_drawn_again(pool: HeadPool) -> None:
    batch = draw_batch(pool, PLAN, generator=Generator().manual_seed(3))
    answer = (batch.tissue > 0).float()
    known = (batch.weight > 0).nonzero()
    wrong = [known[known[:, 0] == n][100 + n] for n in range(4)]
    for index in wrong[:3]:
        answer[tuple(index)] = 1 - answer[tuple(index)]
    hard = HardPlaces()
    hard.note(batch, answer)
    assert len(hard.places) == 3  # nothing is wrong in the fourth
    for n, place in enumerate(hard.places):
        visits = pool.get(place.head)
        assert visits is not None
        edge_image = batch.image[n, 0].flip(-1) if batch.flipped[n] else batch.image[n, 0]
        i, j, k = (at - first for at, first in zip(place.voxel, batch.places[n].voxel, strict=True))
        head = visits[-1]
        inside = all(0 <= at < size for at, size in zip(place.voxel, head.brain.shape, strict=True))
        if inside:  # brightness is varied, but blank stays blank
            assert (edge_image[i, j, k] == 0) == (head.images["T1c"][place.voxel] == 0)
        assert torch.equal(torch.tensor([i, j, 31 - k if batch.flipped[n] else k]), wrong[n][1:])
    again = hard.draw(pool, Generator().manual_seed(0))
    assert again is not None
    assert Place(head=again[0], voxel=tuple(again[2].tolist())) in hard.places


def test_errors_in_heads_that_gave_way_are_forgotten(pool: HeadPool) -> None:
    hard = HardPlaces()
    hard.places.append(Place(head=99, voxel=(1, 2, 3)))
    assert hard.draw(pool, Generator()) is None
    assert not hard.places


def test_a_network_with_more_channels_and_classes_starts_with_the_answers_of_the_old_one() -> None:
    old = new_state(replace(CONFIG, channels=("T1c",), labels=("background", "lesion")), CPU)
    new = new_state(replace(CONFIG, seed=77), CPU)
    start_from({"average": old.average.state_dict()}, new)
    image = torch.randn(1, 5, 32, 32, 32)
    before, after = old.average(image[:, :1]), new.average(image)
    torch.testing.assert_close(after[:, :2], before)
    torch.testing.assert_close(after[:, 2], before[:, 1] - 2)


def test_weights_that_cannot_be_widened_are_refused() -> None:
    with pytest.raises(ValueError, match="only input channels and classes can be added"):
        widened(torch.zeros(4, 4, 3, 3, 3), torch.zeros(4, 4, 5, 5, 5))
    with pytest.raises(ValueError, match="only input channels and classes can be added"):
        widened(torch.zeros(4), torch.zeros(3))


def test_weights_follow_lesion_volume() -> None:
    lesions = torch.zeros(30, 30, 30, dtype=torch.int16)
    lesions[:2, :5, :25] = 1  # 250 mm³
    lesions[10, 10, 10] = 2
    lesions[15:, 15:, 15:] = 3  # 3375 mm³
    assert lesion_weights(lesions).tolist() == pytest.approx([1, 2, 4, 1])  # (1000 / 250)^½; the limit; no less than 1


def test_what_is_unknown_weighs_nothing(pool: HeadPool) -> None:
    batch = draw_batch(pool, replace(PLAN, edge=48, batch=8), generator=Generator().manual_seed(2))
    assert bool((batch.weight == 0).any())
    assert not bool((batch.tissue > 0)[batch.weight == 0].any())


def test_patches_reach_beyond_the_head_with_blank_voxels() -> None:
    array = torch.arange(27.0).reshape(3, 3, 3) + 1
    patch = cut(array, torch.tensor([-1, 1, 2]), 4)
    assert patch.shape == (4, 4, 4)
    assert torch.equal(patch[1:, :2, :1], array[:, 1:, 2:])
    assert patch.sum() == array[:, 1:, 2:].sum()


def test_every_second_patch_shows_a_lesion(pool: HeadPool) -> None:
    batch = draw_batch(pool, replace(PLAN, edge=48, batch=8), generator=Generator().manual_seed(1))
    assert batch.image.shape == (8, 5, 48, 48, 48)
    assert all(bool(batch.tissue[n].any()) for n in (0, 2, 4, 6))


def test_sequences_that_a_head_lacks_are_blank(pool: HeadPool) -> None:
    plan = replace(PLAN, channels=("T1c", "FLAIR"), labels=("background", "lesion"))
    batch = draw_batch(pool, plan, generator=Generator().manual_seed(1))
    assert bool(batch.image[:, 0].any())
    assert not bool(batch.image[:, 1].any())


def test_a_head_depends_on_its_number_alone(ball_head: HeadSource) -> None:
    recipe = Recipe(sources=[[ball_head]], seed=3)
    first, again, other = (recipe.make(n)[0] for n in (8, 8, 9))
    assert torch.equal(first.t1c, again.t1c)
    assert not torch.equal(first.lesions, other.lesions)


def test_pool_keeps_the_newest(tmp_path: Path, ball_head: HeadSource) -> None:
    pool = HeadPool(folder=tmp_path, capacity=2)
    fill(Recipe(sources=[[ball_head]], seed=0), pool, heads=4)
    assert [path.name for path in pool.paths()] == ["head_000002.pt", "head_000003.pt"]
    assert pool.next_number() == 4


def test_empty_pool_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="at least one worker"):
        HeadPool(folder=tmp_path, capacity=2).draw(Generator())


def test_a_dead_worker_ends_the_training_with_its_code(tmp_path: Path) -> None:
    worker = start_worker(Recipe(sources=[[]], seed=0), HeadPool(folder=tmp_path, capacity=1), turn=(0, 1), duty=1.0)
    run = replace(run_in(tmp_path, HeadPool(folder=tmp_path, capacity=1)), workers=(worker,))
    with pytest.raises(RuntimeError, match="ended with code 1"):
        wait_for_heads(run)


def test_learning_rate_rises_then_falls() -> None:
    assert rate_factor(0.025) == pytest.approx(0.5)
    assert rate_factor(0.05) == pytest.approx(1)
    assert rate_factor(1.0) == pytest.approx(0.01)


def test_centre_of_a_lesion_lies_in_it(ball_head: HeadSource) -> None:
    (prepared,) = prepare(ball_head.make(Generator().manual_seed(1)))
    assert [int(prepared.lesions[tuple(centre)]) for centre in prepared.centres] == [1, 2]


@needs_data
def test_no_held_out_subject_is_trained_on() -> None:
    real, maps = training_sources(DATA)
    held_out = {head.stem.name for head in validation_heads(DATA)} | {m.path.name for m in validation_label_maps(DATA)}
    trained = {head.stem.name for head in real} | {m.path.name for m in maps}  # type: ignore[attr-defined]
    assert (len(real), len(maps), len(held_out)) == (49, 17, 15)
    assert not trained & held_out
    assert {name.split("_")[1] for name in held_out if name.startswith("TCGA")} == {"FG", "EZ"}
