"""Training end to end on balls in a ball: it learns, it resumes exactly, and what is unknown teaches nothing.

What it learns on heads is measured by `python -m inference.evaluation.froc`. A process that is killed is resumed in
`test_training_command`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from inference.training.checkpoint import TrainingState, load_checkpoint
from inference.training.config import TrainingConfig
from inference.training.heads import HeadSource, training_sources, validation_heads, validation_label_maps
from inference.training.losses import LOSSES, near
from inference.training.members import Pools
from inference.training.objectives import SupervisedObjective
from inference.training.patches import Batch, HardPlaces, PatchPlan, Place, cut, draw_batch
from inference.training.pool import HeadPool, Recipe, Visits, fill, lesion_weights, prepare
from inference.training.train import DivergedError, Run, new_state, train, train_step
from tests.inference.training_pools import CPU, TINY, ball_pools, begin, same

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not here")
PLAN = PatchPlan(channels=TINY.channels, labels=TINY.labels, size=(32, 32, 32), batch=4)


@pytest.fixture
def pools(tmp_path: Path, ball_head: HeadSource) -> Pools:
    return ball_pools(tmp_path, ball_head)


@pytest.fixture
def pool(pools: Pools) -> HeadPool:
    """Three heads that stay."""
    return pools.training


def loss_of(name: str, logits: torch.Tensor, batch: Batch) -> float:
    return float(LOSSES[name](logits, batch.tissue, batch.lesions, batch.weight, lesion=[1, 2]))


@pytest.mark.slow
def test_learns_to_find_balls(tmp_path: Path, pools: Pools) -> None:
    config = replace(TINY, steps=120, learning_rate=1e-2, ema_decay=0.9, labels=("background", "lesion"))
    run, state = begin(tmp_path, pools, config)
    plan = replace(PLAN, labels=config.labels)
    batch = draw_batch(pools.training, plan, generator=Generator().manual_seed(99))
    before = loss_of(config.loss, state.average(batch.image), batch)
    train(run, state)
    after = loss_of(config.loss, state.average(batch.image), batch)
    assert after < 0.5 * before


@pytest.mark.parametrize(
    "config",
    [
        replace(TINY, accumulation=2),
        pytest.param(replace(TINY, precision="float16"), marks=pytest.mark.slow),
        replace(TINY, normalisation="batch", optimiser="sgd", learning_rate=1e-2, schedule="poly"),
        replace(TINY, objective="ssl", validate_every=1),
    ],
    ids=["accumulation", "float16", "batch norm and sgd", "ssl"],
)
def test_resumed_run_repeats_the_uninterrupted_one_exactly(
    tmp_path: Path, pools: Pools, config: TrainingConfig
) -> None:
    whole = train(*begin(tmp_path / "whole", pools, config))
    broken = tmp_path / "broken"
    _interrupt(broken, pools, config, step=2)
    run, resumed = begin(broken, pools, replace(config, seed=77))  # nothing of the fresh state may survive
    load_checkpoint(run.checkpoint, resumed)
    assert resumed.step == 2
    torch.rand(3)
    train(run, resumed)
    assert same(resumed.network, whole.network)
    assert same(resumed.average, whole.average)
    assert resumed.scaler.state_dict() == whole.scaler.state_dict()
    assert resumed.objective.state_dict() == whole.objective.state_dict()
    assert torch.equal(resumed.generator.get_state(), whole.generator.get_state())


def _interrupt(folder: Path, pools: Pools, config: TrainingConfig, *, step: int) -> None:
    """Train with a checkpoint after every step, until the pool is interrupted like a process at its next draw."""

    class Interrupted(HeadPool):
        def draw(self, generator: Generator) -> tuple[int, Visits]:
            if state.step == step:
                raise KeyboardInterrupt
            return super().draw(generator)

    pool = Interrupted(folder=pools.training.folder, capacity=pools.training.capacity)
    run, state = begin(folder, replace(pools, training=pool), replace(config, checkpoint_s=-1.0))
    with pytest.raises(KeyboardInterrupt):
        train(run, state)


def test_resumed_run_has_the_random_state_of_torch(tmp_path: Path, pools: Pools) -> None:
    run, state = begin(tmp_path, pools)
    torch.rand(7)
    train(run, state)
    expected = torch.rand(5)
    load_checkpoint(run.checkpoint, begin(tmp_path, pools)[1])
    assert torch.equal(torch.rand(5), expected)


def test_resumed_run_remembers_where_the_network_erred(tmp_path: Path, pools: Pools) -> None:
    run, state = begin(tmp_path, pools)
    train(run, state)
    places = state.objective.state_dict()["hard"]
    assert places
    resumed = begin(tmp_path, pools)[1]
    load_checkpoint(run.checkpoint, resumed)
    assert resumed.objective.state_dict()["hard"] == places


@dataclass(frozen=True)
class Numbers:
    """A batch of two columns: input and wanted output."""

    values: Tensor

    def to(self, device: torch.device) -> "Numbers":
        return Numbers(self.values.to(device))


@dataclass
class Line:
    """An objective with a known gradient: fit a line through numbers, in the order given."""

    batches: list[Tensor]
    drawn: int = 0
    norm: bool = False
    finished: bool = False

    def build_network(self) -> nn.Module:
        line = nn.Linear(1, 1)
        return nn.Sequential(nn.BatchNorm1d(1), line) if self.norm else line

    def draw(self, generator: Generator) -> Numbers:
        del generator
        self.drawn += 1
        return Numbers(self.batches[(self.drawn - 1) % len(self.batches)])

    def loss(self, network: nn.Module, batch: Numbers) -> tuple[Tensor, dict[str, float]]:
        error = (network(batch.values[:, :1]) - batch.values[:, 1:]).square().mean()
        return error, {"error": float(error.detach())}

    def validate(self, network: nn.Module) -> dict[str, float]:
        del network
        self.finished = True
        return {}

    def picture(self, network: nn.Module) -> Tensor | None:
        del network
        return None

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        del saved


def fit(folder: Path, objective: Line, config: TrainingConfig) -> tuple[Run, TrainingState]:
    return Run(config=config, folder=folder, device=CPU), new_state(config, objective, CPU)


def test_accumulated_batches_make_the_step_of_one_large_batch(tmp_path: Path) -> None:
    first, second = torch.tensor([[1.0, 2.0], [2.0, 1.0]]), torch.tensor([[3.0, 9.0], [0.5, 4.0]])
    config = replace(TINY, optimiser="sgd", learning_rate=1e-2, weight_decay=0.0, largest_gradient=1e9)
    run, parts = fit(tmp_path, Line([first, second]), replace(config, accumulation=2))
    figures = train_step(run, parts)
    run, whole = fit(tmp_path, Line([torch.cat([first, second])]), config)
    expected = train_step(run, whole)
    for ours, theirs in zip(parts.network.parameters(), whole.network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert figures == pytest.approx(expected)
    assert parts.objective.drawn == 2  # type: ignore[attr-defined]  # a Line


def test_gradients_are_cut_to_the_largest(tmp_path: Path) -> None:
    config = replace(TINY, optimiser="sgd", momentum=0.5, learning_rate=1.0, weight_decay=0.0, schedule="constant")
    run, state = fit(tmp_path, Line([torch.tensor([[1.0, 1e3]])]), replace(config, largest_gradient=0.25))
    before = torch.cat([value.detach().flatten() for value in state.network.parameters()])
    figures = train_step(run, state)
    after = torch.cat([value.detach().flatten() for value in state.network.parameters()])
    assert figures["gradient_norm"] > 1e3
    # Nesterov's first step: (1 + momentum) × rate × gradient
    assert float((after - before).norm()) == pytest.approx(1.5 * 0.25, rel=1e-4)


def test_average_follows_slowly_and_without_decay_is_the_network_itself(tmp_path: Path) -> None:
    batches = [torch.tensor([[1.0, 2.0], [2.0, 5.0]])]
    run, state = fit(tmp_path, Line(batches, norm=True), replace(TINY, ema_decay=0.0, steps=4))
    train(run, state)
    assert same(state.average, state.network)
    run, state = fit(tmp_path, Line(batches, norm=True), replace(TINY, ema_decay=0.9, steps=4, learning_rate=0.1))
    start = state.average[1].weight.clone()  # type: ignore[index]  # a Sequential
    train_step(run, state)
    moved = state.network[1].weight - start  # type: ignore[index]
    followed = state.average[1].weight - start  # type: ignore[index]
    torch.testing.assert_close(followed, moved * (1 - 2 / 11))  # at step 1: (1 + step) / (10 + step) is kept
    assert torch.equal(state.average[0].running_mean, state.network[0].running_mean)  # type: ignore[index]


def test_ends_when_the_objective_is_reached(tmp_path: Path) -> None:
    run, state = fit(tmp_path, Line([torch.ones(2, 2)]), replace(TINY, steps=50, validate_every=4))
    assert train(run, state).step == 4


def test_a_budget_in_minutes_is_of_computing(tmp_path: Path) -> None:
    run, state = fit(tmp_path, Line([torch.ones(2, 2)]), replace(TINY, steps=None, minutes=1.0))
    state.elapsed_s = 59.999
    assert train(run, state).step >= 1
    assert state.elapsed_s >= 60


def test_a_loss_that_is_no_number_ends_the_training_and_spares_the_checkpoint(tmp_path: Path) -> None:
    run, state = fit(tmp_path, Line([torch.ones(2, 2)]), replace(TINY, steps=2))
    train(run, state)
    kept = run.checkpoint.read_bytes()
    run, state = fit(tmp_path, Line([torch.full((2, 2), float("nan"))]), replace(TINY, steps=2))
    with pytest.raises(DivergedError, match=r"the loss is nan at step 0: lower learning_rate"):
        train(run, state)
    assert run.checkpoint.read_bytes() == kept


@pytest.mark.parametrize("batch", [2, 4])
@pytest.mark.parametrize("mining", [True, False])
def test_half_of_the_odd_patches_show_an_error_where_that_is_wanted(pool: HeadPool, batch: int, mining: bool) -> None:
    objective = SupervisedObjective(config=replace(TINY, batch=batch, hard_mining=mining), pool=pool)
    objective.hard.places.append(Place(head=1, voxel=(3, 52, 3)))
    shown: list[list[bool]] = [[] for _ in range(batch)]
    for seed in range(40):
        for turn, place in enumerate(objective.draw(Generator().manual_seed(seed)).places):
            away = max(abs(at + 16 - wanted) for at, wanted in zip(place.voxel, (3, 52, 3), strict=True))
            shown[turn].append(place.head == 1 and away <= 11)
    for turn, errors in enumerate(shown):
        assert 10 <= sum(errors) <= 30 if mining and turn % 2 else not any(errors)


def test_errors_are_noted_only_where_they_are_drawn_again(pool: HeadPool) -> None:
    config = replace(TINY, hard_mining=False)
    objective = SupervisedObjective(config=config, pool=pool)
    objective.loss(objective.build_network(), objective.draw(Generator().manual_seed(1)))
    assert not objective.hard.places


@pytest.mark.parametrize("size", [(32, 32, 32), (32, 48, 64)])
def test_errors_are_noted_where_they_lie_and_drawn_again(pool: HeadPool, size: tuple[int, int, int]) -> None:
    batch = draw_batch(pool, replace(PLAN, size=size), generator=Generator().manual_seed(3))
    answer = (batch.tissue > 0).float()
    far = ((batch.weight > 0) & ~near(batch.tissue > 0)).nonzero()
    wrong = [far[far[:, 0] == n][100 + n] for n in range(4)]
    for index in wrong[:3]:
        answer[tuple(index)] = 1
    hard = HardPlaces()
    hard.note(batch, answer, lesion=[1, 2])
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
        assert torch.equal(torch.tensor([i, j, size[2] - 1 - k if batch.flipped[n] else k]), wrong[n][1:])
    again = hard.draw(pool, Generator().manual_seed(0))
    assert again is not None
    assert Place(head=again[0], voxel=tuple(again[2].tolist())) in hard.places


def test_a_missed_lesion_is_an_error_and_a_loose_outline_is_none() -> None:
    tissue = torch.zeros(1, 24, 24, 24, dtype=torch.int64)
    tissue[0, 10:14, 10:14, 10:14] = 1
    batch = Batch(
        image=torch.zeros(1, 1, 24, 24, 24),
        tissue=tissue,
        lesions=tissue,
        weight=torch.ones(tissue.shape),
        places=(Place(head=0, voxel=(100, 200, 300)),),
        flipped=(False,),
    )
    hard = HardPlaces()
    hard.note(batch, near(tissue).float(), lesion=[1])  # marked two voxels too wide
    core = torch.zeros(tissue.shape)
    core[0, 12, 12, 12] = 1.0
    hard.note(batch, core, lesion=[1])  # marked in its middle alone
    assert not hard.places
    hard.note(batch, torch.zeros(tissue.shape), lesion=[1])
    (missed,) = hard.places
    assert all(10 <= at - first < 14 for at, first in zip(missed.voxel, (100, 200, 300), strict=True))


def test_edema_that_is_not_taken_for_a_lesion_is_no_error(pool: HeadPool) -> None:
    batch = draw_batch(pool, PLAN, generator=Generator().manual_seed(3))
    lesion = (batch.tissue > 0).float()
    edema = batch.tissue.clone()
    edema[edema == 0] = 3
    hard = HardPlaces()
    hard.note(replace(batch, tissue=edema), lesion, lesion=[1, 2])
    assert not hard.places
    hard.note(replace(batch, tissue=edema), torch.ones_like(lesion), lesion=[1, 2])
    assert len(hard.places) == 4


@pytest.mark.parametrize("start", [(-3, 2, 5), (-40, 0, 0), (9, -8, 20), (2, 3, 4), (8, 2, 1), (4, 4, 4)])
def test_a_box_may_lie_anywhere(start: tuple[int, int, int]) -> None:
    array = torch.arange(1, 8 * 9 * 10 + 1).reshape(8, 9, 10)
    wide = torch.zeros(200, 200, 200, dtype=array.dtype)
    wide[50:58, 50:59, 50:60] = array
    i, j, k = (first + 50 for first in start)
    assert torch.equal(cut(array, torch.tensor(start), (6, 7, 5)), wide[i : i + 6, j : j + 7, k : k + 5])


def test_errors_in_heads_that_gave_way_are_forgotten(pool: HeadPool) -> None:
    hard = HardPlaces()
    hard.places.append(Place(head=99, voxel=(1, 2, 3)))
    assert hard.draw(pool, Generator()) is None
    assert not hard.places


def test_weights_follow_lesion_volume() -> None:
    lesions = torch.zeros(30, 30, 30, dtype=torch.int16)
    lesions[:2, :5, :25] = 1  # 250 mm³
    lesions[10, 10, 10] = 2
    lesions[15:, 15:, 15:] = 3  # 3375 mm³
    assert lesion_weights(lesions).tolist() == pytest.approx([1, 2, 4, 1])  # (1000 / 250)^½; the limit; no less than 1


def test_what_is_unknown_weighs_nothing(pool: HeadPool) -> None:
    batch = draw_batch(pool, replace(PLAN, size=(48, 48, 48), batch=8), generator=Generator().manual_seed(2))
    assert bool((batch.weight == 0).any())
    assert not bool((batch.tissue > 0)[batch.weight == 0].any())


def test_patches_reach_beyond_the_head_with_blank_voxels() -> None:
    array = torch.arange(27.0).reshape(3, 3, 3) + 1
    patch = cut(array, torch.tensor([-1, 1, 2]), (4, 4, 4))
    assert patch.shape == (4, 4, 4)
    assert torch.equal(patch[1:, :2, :1], array[:, 1:, 2:])
    assert patch.sum() == array[:, 1:, 2:].sum()


def test_patches_need_not_be_cubes(tmp_path: Path, pools: Pools) -> None:
    config = replace(TINY, patches=((32, 48, 64),), steps=1)
    objective = SupervisedObjective(config=config, pool=pools.training, validation=pools.validation)
    batch = objective.draw(Generator().manual_seed(1))
    assert batch.image.shape == (2, 5, 32, 48, 64)
    assert batch.tissue.shape == batch.weight.shape == (2, 32, 48, 64)
    place, flipped = batch.places[0].voxel, batch.flipped[0]
    visits = pools.training.get(batch.places[0].head)
    assert visits is not None
    there = cut(visits[-1].lesions, torch.tensor(place), (32, 48, 64)).long()
    assert torch.equal(batch.lesions[0], there.flip(-1) if flipped else there)
    assert bool(there.any())
    run, state = begin(tmp_path, pools, config)
    train(run, state)
    assert state.step == 1


def test_every_second_patch_shows_a_lesion(pool: HeadPool) -> None:
    batch = draw_batch(pool, replace(PLAN, size=(48, 48, 48), batch=8), generator=Generator().manual_seed(1))
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
