"""The search makes the trials that its study lacks, each on the same heads, and takes up one that was stopped."""

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import typer
from typer.testing import CliRunner

from inference.training.checkpoint import read_checkpoint
from inference.training.heads import HeadSource
from inference.training.losses import LOSSES
from inference.training.search import BEST, DECODERS, STUDY, Search, main, proposed, search, trial_settings
from inference.training.settings import read_settings
from inference.training.sources import Sources
from tests.inference.training_pools import TINY

CONFIG = trial_settings(replace(TINY, validation_heads=1, first_heads=1), steps=2)


@pytest.fixture
def sources(ball_head: HeadSource) -> Sources:
    return Sources(training=[[ball_head]], validation=[ball_head], training_data="balls", licence="none")


def test_trials_judge_by_a_fold_and_on_heads_that_stay() -> None:
    config = trial_settings(read_settings("nyumets"), steps=9)
    assert (config.total_steps, config.folds, config.fold, config.workers) == (9, 5, 0, 0)
    assert (config.seeds, config.pretrain, config.validate_every) == (1, False, 9)
    assert trial_settings(replace(config, folds=3, fold=2), steps=9).fold == 2


def test_a_trial_changes_rate_loss_and_decoder_alone() -> None:
    config = proposed(CONFIG, {"learning_rate": 0.5, "loss": "focal", "decoder": 64})
    assert config == replace(CONFIG, learning_rate=0.5, loss="focal", features=(4, 4, 4, 4, 4, 64))


def test_a_search_goes_on_where_it_was(tmp_path: Path, sources: Sources) -> None:
    wanted = Search(config=CONFIG, folder=tmp_path, trials=1)
    assert len(search(wanted, sources).trials) == 1
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/head_*.pt")}
    study = search(replace(wanted, trials=3), sources)
    assert len(study.trials) == 3
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/head_*.pt")}
    assert len({trial.params["learning_rate"] for trial in study.trials}) == 3  # the sampler did not begin anew
    for trial in study.trials:
        saved = read_checkpoint(tmp_path / "trials" / f"{trial.number:03d}" / "checkpoint.pt")
        assert saved["config"]["learning_rate"] == trial.params["learning_rate"]
        assert saved["config"]["loss"] == trial.params["loss"] in LOSSES
        assert saved["config"]["features"][-1] == trial.params["decoder"] in DECODERS
        assert trial.value is not None
        assert 0 <= trial.value <= 1
    assert study.best_value == max(trial.value for trial in study.trials if trial.value is not None)
    assert len(search(replace(wanted, trials=3), sources).trials) == 3


def test_a_stopped_trial_is_taken_up_from_its_checkpoint(tmp_path: Path, sources: Sources) -> None:
    storage = f"sqlite:///{tmp_path / STUDY}"
    study = optuna.create_study(storage=storage, study_name="2 steps", direction="maximize")
    stopped = study.ask()
    values = {
        "learning_rate": stopped.suggest_float("learning_rate", 1e-5, 1e-2, log=True),
        "loss": stopped.suggest_categorical("loss", list(LOSSES)),
        "decoder": stopped.suggest_categorical("decoder", DECODERS),
    }
    study = search(Search(config=CONFIG, folder=tmp_path, trials=1), sources)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE"]
    assert study.trials[1].params == values
    assert [path.name for path in (tmp_path / "trials").iterdir()] == ["000"]


def test_a_trial_that_diverges_counts_and_does_not_end_the_search(
    tmp_path: Path, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.training.search.RATES", (1e30, 1e31))
    study = search(Search(config=replace(CONFIG, steps=3), folder=tmp_path, trials=2), sources)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "FAIL"]


@pytest.mark.slow
def test_two_trials_from_the_command_line(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(main)
    result = CliRunner().invoke(app, ["--preset", "nyumets", "--out", str(tmp_path), "--trials", "2", "--smoke"])
    assert result.exit_code == 0, result.output
    best = read_settings(file=tmp_path / BEST)
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / STUDY}")
    assert len(study.trials) == 2
    assert best.learning_rate == study.best_params["learning_rate"]
    assert best.pretrain
