"""Folders of trainings: one for each fold and seed, each with the settings that it began with."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inference.training.checkpoint import read_checkpoint
from inference.training.heads import HeadSource
from inference.training.members import heads, members, pools_in, remember, resolved, run_member, wait_for_heads
from inference.training.pool import HeadPool, Recipe, start_worker
from inference.training.sources import Sources
from tests.inference.training_pools import TINY

OUT = Path("out")


@pytest.fixture
def sources(ball_head: HeadSource) -> Sources:
    return Sources(training=[[ball_head]], validation=[ball_head], training_data="balls", licence="none")


def names(paths: Iterable[Path]) -> list[str]:
    return [str(path) for path in paths]


def test_one_training_lies_in_the_folder_itself() -> None:
    assert members(TINY, OUT) == {OUT: TINY}


def test_each_fold_and_seed_has_a_folder_of_its_own() -> None:
    found = members(replace(TINY, folds=2, seeds=2, seed=5), OUT)
    assert names(found) == ["out/fold_0/seed_5", "out/fold_0/seed_6", "out/fold_1/seed_5", "out/fold_1/seed_6"]
    assert [(c.fold, c.seed, c.seeds) for c in found.values()] == [(0, 5, 1), (0, 6, 1), (1, 5, 1), (1, 6, 1)]


def test_a_single_fold_lies_where_it_lies_among_all() -> None:
    config = replace(TINY, folds=3)
    assert members(replace(config, fold=1), OUT).items() <= members(config, OUT).items()


def test_a_folder_keeps_the_settings_that_it_began_with(tmp_path: Path) -> None:
    remember(TINY, tmp_path)
    assert resolved(replace(TINY, steps=99, workers=2, threads=3), tmp_path).steps == 99
    with pytest.raises(ValueError, match=r"holds a training with loss 'dice_ce_regions', not 'focal': name another"):
        resolved(replace(TINY, loss="focal"), tmp_path)
    with pytest.raises(ValueError, match="folds 0, not 2"):
        resolved(replace(TINY, folds=2, fold=0), tmp_path)


@pytest.mark.slow
def test_a_precision_that_was_chosen_stays(tmp_path: Path) -> None:
    config = resolved(replace(TINY, precision="auto"), tmp_path)
    remember(config, tmp_path)
    chosen = config.precision
    assert chosen in {"float32", "bfloat16"}
    path = tmp_path / "settings.json"
    path.write_text(path.read_text().replace(chosen, "float16"))
    assert resolved(replace(TINY, precision="auto"), tmp_path).precision == "float16"


def test_without_workers_the_trainer_makes_the_heads_that_lack(tmp_path: Path, sources: Sources) -> None:
    config = replace(TINY, validate_every=2, validation_heads=2)
    run_member(replace(config, steps=0), sources, tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/head_*.pt")}
    assert len(times) == 3 + 2
    (tmp_path / "pool" / "head_000002.pt").unlink()
    run_member(config, sources, tmp_path)
    again = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/head_*.pt")}
    assert again.keys() == times.keys()
    assert [path.name for path in times if times[path] != again[path]] == ["head_000002.pt"]


def test_a_finished_training_is_not_trained_again(tmp_path: Path, sources: Sources) -> None:
    first = run_member(TINY, sources, tmp_path)
    again = run_member(TINY, sources, tmp_path)
    assert again.step == first.step == 4
    assert again.elapsed_s == first.elapsed_s


def test_pretraining_comes_first_and_gives_its_weights(tmp_path: Path, sources: Sources) -> None:
    config = replace(TINY, pretrain=True, pretrain_steps=2, steps=0, ema_decay=0.0)
    state = run_member(config, sources, tmp_path)
    ssl = read_checkpoint(tmp_path / "ssl" / "checkpoint.pt")
    assert (ssl["step"], ssl["config"]["objective"]) == (2, "ssl")
    assert torch.equal(
        state.network.state_dict()["conv_0.conv_0.conv.weight"], ssl["average"]["unet.conv_0.conv_0.conv.weight"]
    )
    assert read_checkpoint(tmp_path / "checkpoint.pt")["config"]["objective"] == "supervised"


def test_weights_that_do_not_fit_are_told_before_anything_is_made(tmp_path: Path, sources: Sources) -> None:
    run_member(replace(TINY, steps=0), sources, tmp_path / "other")
    config = replace(TINY, features=(8,) * 6, initial=str(tmp_path / "other" / "checkpoint.pt"))
    with pytest.raises(ValueError, match="have the features"):
        run_member(config, sources, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_channels_that_are_always_blank_are_told(
    tmp_path: Path, sources: Sources, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(TINY, channels=("T1c", "subtraction"), first_heads=1)
    with heads(config, sources, pools_in(tmp_path, config)):
        assert "no head shows subtraction" in caplog.text


def test_workers_end_with_the_training(tmp_path: Path, sources: Sources) -> None:
    config = replace(TINY, workers=1, first_heads=1)
    with heads(config, sources, pools_in(tmp_path, config)) as workers:
        assert workers[0].is_alive()
    workers[0].join(10)
    assert not workers[0].is_alive()


def test_a_dead_worker_ends_the_training_with_its_code(tmp_path: Path) -> None:
    pool = HeadPool(folder=tmp_path, capacity=1)
    worker = start_worker(Recipe(sources=[[]], seed=0), pool, turn=(0, 1), duty=1.0)
    with pytest.raises(RuntimeError, match="ended with code 1"):
        wait_for_heads(pool, 1, (worker,))
