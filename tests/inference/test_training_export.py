"""From checkpoints of every kind to weights; reading them back is tested in `test_weights`."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import load_file
from typer.testing import CliRunner

from inference.confidence import Confidence
from inference.training.checkpoint import read_checkpoint, save_checkpoint
from inference.training.config import TrainingConfig
from inference.training.export import Card, export_weights, main, set_operating_point
from inference.training.heads import HeadSource
from inference.training.members import Pools
from inference.weights import load_predictor, read_manifest
from tests.inference.training_pools import TINY, ball_pools, begin

CARD = Card(version="0.3", name="balls", training_data="balls", licence="none")


@pytest.fixture
def pools(tmp_path: Path, ball_head: HeadSource) -> Pools:
    return ball_pools(tmp_path, ball_head)


@pytest.fixture
def unnamed(tmp_path: Path, pools: Pools) -> Path:
    """A checkpoint that gives the number of its classes instead of names, and no channels."""
    path = saved(tmp_path, pools, TINY)
    content = read_checkpoint(path)
    del content["config"]["channels"]
    content["config"]["labels"] = 3
    torch.save(content, path)
    return path


def saved(folder: Path, pools: Pools, config: TrainingConfig) -> Path:
    run, state = begin(folder, pools, config)
    save_checkpoint(run.checkpoint, state, config)
    return run.checkpoint


def command(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(main)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_the_window_is_the_largest_patch(tmp_path: Path, pools: Pools) -> None:
    config = replace(TINY, patches=((32, 64, 48), 32, (48, 32, 32)))
    assert export_weights(saved(tmp_path, pools, config), tmp_path / "balls.toml", CARD).window == (32, 64, 48)


def test_the_card_is_in_the_manifest(tmp_path: Path, pools: Pools) -> None:
    manifest = export_weights(saved(tmp_path, pools, TINY), tmp_path / "balls.toml", CARD)
    assert (manifest.name, manifest.version, manifest.training_data, manifest.licence) == (
        "balls",
        "0.3",
        "balls",
        "none",
    )
    assert (manifest.channels, manifest.labels, manifest.window) == (TINY.channels, TINY.labels, (32, 32, 32))
    assert read_manifest(tmp_path / "balls.toml") == manifest


def test_a_checkpoint_without_names_is_exported_with_those_given(tmp_path: Path, unnamed: Path) -> None:
    target = tmp_path / "balls.toml"
    arguments = ("--manifest", str(target), "--checkpoint", str(unnamed))
    code, output = command(*arguments)
    assert code == 2
    assert "does not name its channels (it says None): name them with --channels" in output
    code, output = command(*arguments, "--channels", ",".join(TINY.channels))
    assert code == 2
    assert "does not name its labels (it says 3)" in output
    assert not target.exists()
    code, _ = command(*arguments, "--channels", ",".join(TINY.channels), "--labels", ", ".join(TINY.labels))
    assert code == 0
    predictor = load_predictor(target, threads=1)
    assert (predictor.manifest.channels, predictor.manifest.labels) == (TINY.channels, TINY.labels)


def test_names_that_mean_nothing_are_refused(tmp_path: Path, unnamed: Path) -> None:
    with pytest.raises(ValueError, match=r"labels .*: the first must be background"):
        export_weights(unnamed, tmp_path / "a.toml", replace(CARD, channels=TINY.channels, labels=("a", "b", "c")))


def test_as_many_names_are_wanted_as_the_network_has(tmp_path: Path, unnamed: Path) -> None:
    with pytest.raises(ValueError, match="has 5 inputs and 3 classes, but 1 channels and 2 labels are named"):
        export_weights(unnamed, tmp_path / "a.toml", replace(CARD, channels=["T1c"], labels=("background", "lesion")))


def test_a_self_supervised_network_is_no_detector(tmp_path: Path, pools: Pools) -> None:
    path = saved(tmp_path, pools, replace(TINY, objective="ssl"))
    with pytest.raises(ValueError, match="finds no lesions: fine-tune it first"):
        export_weights(path, tmp_path / "a.toml", CARD)


def test_weights_beyond_float16_are_refused(tmp_path: Path, pools: Pools) -> None:
    run, state = begin(tmp_path, pools)
    next(state.average.parameters()).data[0] = 1e6
    save_checkpoint(run.checkpoint, state, TINY)
    with pytest.raises(ValueError, match=r"the weights conv_0\.conv_0\.conv\.weight reach 1e\+06, beyond float16"):
        export_weights(run.checkpoint, tmp_path / "a.toml", CARD)


def test_batch_normalisation_and_relu_are_in_the_manifest_and_counters_stay_whole(tmp_path: Path, pools: Pools) -> None:
    config = replace(TINY, normalisation="batch", activation="relu")
    run, state = begin(tmp_path, pools, config)
    counter = dict(state.average.named_buffers())["conv_0.conv_0.adn.N.num_batches_tracked"]
    counter.fill_(100_001)
    save_checkpoint(run.checkpoint, state, config)
    manifest = export_weights(run.checkpoint, tmp_path / "a.toml", CARD)
    assert (manifest.activation, manifest.normalisation) == ("relu", "batch")
    tensors = load_file(tmp_path / "a.safetensors")
    assert int(tensors["conv_0.conv_0.adn.N.num_batches_tracked"]) == 100_001
    image = torch.randn(5, 32, 32, 32)
    with torch.no_grad():
        expected = state.average(image[None]).softmax(1)[0]
    found = torch.from_numpy(load_predictor(tmp_path / "a.toml", threads=1).predict(image.numpy()))
    torch.testing.assert_close(found, expected, atol=5e-3, rtol=0)


def test_weights_that_learned_from_patients_do_not_claim_otherwise(tmp_path: Path, pools: Pools) -> None:
    path = saved(tmp_path, pools, replace(TINY, labelled=(f"plain={tmp_path}",)))
    with pytest.raises(ValueError, match=r"learned from plain=.*: say so with --training-data and --licence"):
        export_weights(path, tmp_path / "m.toml", Card(version="1"))
    assert export_weights(path, tmp_path / "m.toml", CARD).training_data == "balls"


def test_an_operating_point_without_confidence_is_refused(tmp_path: Path, pools: Pools) -> None:
    manifest = export_weights(saved(tmp_path, pools, TINY), tmp_path / "m.toml", CARD)
    figures = tmp_path / "froc.json"
    choice = {"threshold": 0.4, "least_confidence": 0.3, "confidence": None}
    figures.write_text(json.dumps({"sha256": manifest.sha256, "choice": choice}))
    with pytest.raises(ValueError, match="has no confidence, as the model found only lesions"):
        set_operating_point(tmp_path / "m.toml", figures)
    how = {"intercept": -1.5, "mean_log_odds": 0.5, "ln_mm3": 0.25, "elongation": -1.0}
    figures.write_text(json.dumps({"sha256": manifest.sha256, "choice": choice | {"confidence": how}}))
    set_operating_point(tmp_path / "m.toml", figures)
    written = read_manifest(tmp_path / "m.toml")
    assert (written.threshold, written.least_confidence) == (0.4, 0.3)
    assert written.confidence == Confidence(**how)
