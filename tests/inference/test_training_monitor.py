"""Curves are read back with TensorBoard's own reader; without TensorBoard a training goes on."""

import logging
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from inference.training.checkpoint import load_checkpoint
from inference.training.heads import HeadSource
from inference.training.members import Pools
from inference.training.monitor import Monitor
from inference.training.train import train
from tests.inference.training_pools import TINY, ball_pools, begin


@pytest.fixture
def pools(tmp_path: Path, ball_head: HeadSource) -> Pools:
    return ball_pools(tmp_path, ball_head)


def curves(folder: Path) -> EventAccumulator:
    reader = EventAccumulator(str(folder / "tensorboard"))
    reader.Reload()
    return reader


def test_curves_show_the_training_and_its_validation(tmp_path: Path, pools: Pools) -> None:
    config = replace(TINY, validate_every=2)
    run, state = begin(tmp_path, pools, config)
    train(run, state)
    reader = curves(tmp_path)
    assert set(reader.Tags()["scalars"]) == {
        *(f"train/{name}" for name in ("loss", "dice", "rate", "gradient_norm")),
        *(f"validation/{name}" for name in ("loss", "dice")),
    }
    assert [event.step for event in reader.Scalars("train/loss")] == [1, 2, 3, 4]
    assert [event.step for event in reader.Scalars("validation/dice")] == [2, 4]
    figures = state.objective.validate(state.average)
    assert reader.Scalars("validation/loss")[-1].value == pytest.approx(figures["loss"], rel=1e-5)
    (tag,) = reader.Tags()["images"]
    assert (reader.Images(tag)[0].width, reader.Images(tag)[0].height) == (96, 32)


def test_self_supervision_shows_the_restoration(tmp_path: Path, pools: Pools) -> None:
    run, state = begin(tmp_path, pools, replace(TINY, objective="ssl", validate_every=2, steps=2))
    train(run, state)
    names = set(curves(tmp_path).Tags()["scalars"])
    assert {"validation/restoration", "train/restoration", "train/contrast"} <= names


def test_what_came_after_the_checkpoint_is_shown_once(tmp_path: Path, pools: Pools) -> None:
    run, state = begin(tmp_path, pools)
    train(run, state)
    with Monitor(tmp_path / "tensorboard", title="", first_step=5) as monitor:
        monitor.stepped(5, 0.5, {"loss": 1.0})
        monitor.stepped(6, 0.6, {"loss": 1.0})
    resumed = begin(tmp_path, pools)[1]
    load_checkpoint(run.checkpoint, resumed)
    run = replace(run, config=replace(TINY, steps=7))
    train(run, resumed)
    assert [event.step for event in curves(tmp_path).Scalars("train/loss")] == [1, 2, 3, 4, 5, 6, 7]


def test_without_tensorboard_the_training_goes_on_and_says_so(
    tmp_path: Path, pools: Pools, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    run, state = begin(tmp_path, pools, replace(TINY, steps=1))
    assert train(run, state).step == 1
    assert "training goes on without curves; install the extra [training]" in caplog.text
    assert not (tmp_path / "tensorboard").exists()


def test_the_log_tells_the_mean_loss_of_the_last_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Monitor(tmp_path, title="", first_step=1) as monitor:
        monitor.stepped(1, 0.1, {"loss": 1.0})
        assert not caplog.records
        monkeypatch.setattr("inference.training.monitor.LOG_EVERY_S", -1.0)
        monitor.stepped(2, 0.2, {"loss": 2.0})
        monitor.stepped(3, 0.3, {"loss": 5.0})
    assert [record.getMessage() for record in caplog.records] == [
        " 20.0 %  step 2  loss 1.5000",
        " 30.0 %  step 3  loss 5.0000",
    ]
