"""A training starts from another's weights only where they mean the same."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inference.training.checkpoint import read_checkpoint, save_checkpoint
from inference.training.config import TrainingConfig
from inference.training.heads import HeadSource
from inference.training.initial import start_from, widened
from inference.training.members import Pools
from inference.training.train import train
from tests.inference.training_pools import TINY, ball_pools, begin, same


@pytest.fixture
def pools(tmp_path: Path, ball_head: HeadSource) -> Pools:
    return ball_pools(tmp_path, ball_head)


def saved(folder: Path, pools: Pools, config: TrainingConfig) -> Path:
    """A checkpoint of an untrained network."""
    run, state = begin(folder / "other", pools, config)
    save_checkpoint(run.checkpoint, state, config)
    return run.checkpoint


def test_starts_from_the_averaged_weights_of_another_and_from_step_0(tmp_path: Path, pools: Pools) -> None:
    run, taught = begin(tmp_path, pools)
    train(run, taught)
    assert not same(taught.average, taught.network)
    config = replace(TINY, seed=77)
    fresh = begin(tmp_path / "fresh", pools, config)[1]
    start_from(run.checkpoint, fresh, config)
    assert same(fresh.network, taught.average)
    assert same(fresh.average, taught.average)
    assert fresh.step == 0


def test_more_channels_and_classes_start_with_the_answers_of_the_old_network(tmp_path: Path, pools: Pools) -> None:
    old = replace(TINY, channels=("T1c",), labels=("background", "enhancing"))
    path = saved(tmp_path, pools, old)
    before = begin(tmp_path, pools, old)[1].average
    config = replace(TINY, seed=77)
    new = begin(tmp_path, pools, config)[1]
    start_from(path, new, config)
    image = torch.randn(1, 5, 32, 32, 32)
    first, after = before(image[:, :1]), new.average(image)
    torch.testing.assert_close(after[:, :2], first)
    torch.testing.assert_close(after[:, 2], first[:, 1] - 2)


def test_encoder_and_decoder_of_a_self_supervised_network_are_carried_over(tmp_path: Path, pools: Pools) -> None:
    ssl = replace(TINY, objective="ssl", seed=5)
    path = saved(tmp_path, pools, ssl)
    content = read_checkpoint(path)
    theirs = content["average"] = {key: value + 1 for key, value in content["average"].items()}
    torch.save(content, path)
    fresh = begin(tmp_path, pools)[1]
    own_last_stage = fresh.network.state_dict()["final_conv.weight"].clone()
    start_from(path, fresh, TINY)
    for network in (fresh.network, fresh.average):
        for key, value in network.state_dict().items():
            if key.startswith("final_conv"):
                continue
            assert torch.equal(value, theirs[f"unet.{key}"]), key
        assert torch.equal(network.state_dict()["final_conv.weight"], own_last_stage)


def test_a_self_supervised_training_continues_another(tmp_path: Path, pools: Pools) -> None:
    config = replace(TINY, objective="ssl", seed=5)
    path = saved(tmp_path, pools, config)
    fresh = begin(tmp_path, pools, replace(config, seed=6))[1]
    start_from(path, fresh, config)
    assert same(fresh.network, begin(tmp_path, pools, config)[1].average)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": ("FLAIR", "T1c")}, r"have the channels .*'prior_mask'.*, which do not come first in \('FLAIR'"),
        ({"labels": ("background", "necrosis", "enhancing")}, "reorder the labels, only adding is possible"),
        ({"normalisation": "batch"}, "have the normalisation instance, not batch: give theirs"),
        ({"objective": "ssl"}, r"another kind \(first difference: unet\."),
        ({"features": (8, 8, 8, 8, 8, 8)}, r"have the features \(4, 4, 4, 4, 4, 4\), not \(8, 8, 8, 8, 8, 8\)"),
    ],
)
def test_weights_that_mean_something_else_are_refused(
    tmp_path: Path, pools: Pools, change: dict[str, str], message: str
) -> None:
    path = saved(tmp_path, pools, TINY)
    config = replace(TINY, **change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        start_from(path, begin(tmp_path, pools, config)[1], config)


def test_a_checkpoint_that_names_nothing_is_taken_by_place(tmp_path: Path, pools: Pools) -> None:
    path = saved(tmp_path, pools, TINY)
    content = read_checkpoint(path)
    del content["config"]["channels"]
    content["config"]["labels"] = 3
    torch.save({"average": content["average"], "config": content["config"]}, path)
    fresh = begin(tmp_path, pools, replace(TINY, seed=77))[1]
    start_from(path, fresh, TINY)
    assert same(fresh.network, begin(tmp_path, pools)[1].average)


def test_weights_that_cannot_be_widened_are_refused() -> None:
    with pytest.raises(ValueError, match="only input channels and classes can be added"):
        widened(torch.zeros(4, 4, 3, 3, 3), torch.zeros(4, 4, 5, 5, 5))
    with pytest.raises(ValueError, match="only input channels and classes can be added"):
        widened(torch.zeros(4), torch.zeros(3))


def test_another_activation_is_refused_though_its_weights_would_fit(tmp_path: Path, pools: Pools) -> None:
    path = saved(tmp_path, pools, replace(TINY, activation="mish"))
    fresh = begin(tmp_path / "fresh", pools)[1]
    with pytest.raises(ValueError, match="have the activation mish, not leaky_relu: give theirs"):
        start_from(path, fresh, TINY)
