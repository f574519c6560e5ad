"""A network with memory is taught by all visits of a patient, and on a processor nothing but its memory changes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.networks.stt import SpatioTemporalUNet
from inference.training.checkpoint import save_checkpoint
from inference.training.config import TrainingConfig
from inference.training.export import Card, export_weights
from inference.training.heads import HeadSource
from inference.training.initial import start_from
from inference.training.members import Pools
from inference.training.objectives import loss_of
from inference.training.recall import RecallObjective
from inference.training.train import train
from inference.weights import load_predictor
from tests.inference.training_pools import TINY, ball_pools, begin, same

RECALL = replace(TINY, objective="recall", visits=2)


@pytest.fixture
def pools(tmp_path: Path, ball_head: HeadSource) -> Pools:
    return ball_pools(tmp_path, ball_head, visits=2)


@pytest.fixture
def unet(tmp_path: Path, ball_head: HeadSource) -> Path:
    """The checkpoint of an untrained U-Net."""
    run, state = begin(tmp_path / "unet", ball_pools(tmp_path / "unet", ball_head))
    save_checkpoint(run.checkpoint, state, TINY)
    return run.checkpoint


def memory_alone(unet: Path) -> TrainingConfig:
    return replace(RECALL, memory_only=True, initial=str(unet))


def test_the_loss_is_the_mean_over_visits(pools: Pools) -> None:
    objective = RecallObjective(config=RECALL, pool=pools.training)
    network = objective.build_network()
    batch = objective.draw(torch.Generator().manual_seed(1))
    assert batch.images.shape == (2, 2, 5, 32, 32, 32)
    loss, _ = objective.loss(network, batch)
    alone = [objective.loss(network, replace(batch, visits=batch.visits[:1]))[0]]
    # the second visit is judged with the first in memory: a single visit cannot tell it
    logits, _ = network(batch.images, every_timepoint=True)
    alone.append(loss_of(RECALL, logits[:, 1], batch.visits[1]))
    torch.testing.assert_close(loss, torch.stack(alone).mean())


def test_a_unet_becomes_a_network_with_memory_that_answers_alike(tmp_path: Path, pools: Pools, unet: Path) -> None:
    config = memory_alone(unet)
    state = begin(tmp_path / "stt", pools, config)[1]
    start_from(unet, state, config)
    before = begin(tmp_path / "other", pools)[1].average.eval()  # the same seed: the same weights
    image = torch.randn(1, 1, 5, 32, 32, 32)
    after, _ = state.average.eval()(image)
    assert float((after.softmax(1) - before(image[:, 0]).softmax(1)).abs().max()) < 0.05


def test_only_the_memory_learns_and_it_does(tmp_path: Path, pools: Pools, unet: Path) -> None:
    config = memory_alone(unet)
    run, state = begin(tmp_path / "stt", pools, config)
    start_from(unet, state, config)
    before = {key: value.clone() for key, value in state.network.state_dict().items()}
    train(run, state)
    for key, value in state.network.state_dict().items():
        assert torch.equal(value, before[key]) is not key.startswith("convlstm."), key


def test_as_a_whole_everything_learns(tmp_path: Path, pools: Pools) -> None:
    run, state = begin(tmp_path / "stt", pools, RECALL)
    before = {key: value.clone() for key, value in state.network.state_dict().items()}
    train(run, state)
    assert not any(torch.equal(value, before[key]) for key, value in state.network.state_dict().items())


def test_goes_on_where_another_training_of_its_kind_ended(tmp_path: Path, pools: Pools) -> None:
    run, taught = begin(tmp_path / "stt", pools, RECALL)
    train(run, taught)
    fresh = begin(tmp_path / "fresh", pools, replace(RECALL, seed=9))[1]
    start_from(run.checkpoint, fresh, RECALL)
    assert same(fresh.network, taught.average)


def test_validation_is_of_the_newest_visit_and_repeats_itself(pools: Pools) -> None:
    objective = RecallObjective(config=RECALL, pool=pools.training, validation=pools.validation)
    network = objective.build_network().eval()
    with torch.no_grad():
        first, again = objective.validate(network), objective.validate(network)
        picture = objective.picture(network)
    assert first == again
    assert 0 <= first["dice"] < 1
    assert picture is not None
    assert picture.shape == (3, 32, 3 * 32)


def test_exported_weights_use_the_study_before(tmp_path: Path, pools: Pools) -> None:
    run, state = begin(tmp_path / "stt", pools, RECALL)
    train(run, state)
    manifest = export_weights(run.checkpoint, tmp_path / "stt.toml", Card(version="1"))
    assert manifest.network == "stt"
    predictor = load_predictor(tmp_path / "stt.toml", threads=1)
    earlier, now = np.random.default_rng(0).normal(size=(2, 5, 32, 32, 32)).astype(np.float32)
    answer = predictor.predict(np.concatenate([earlier, now]))
    network = state.average.eval()
    assert isinstance(network, SpatioTemporalUNet)
    with torch.inference_mode():
        expected, _ = network(torch.from_numpy(np.stack([earlier, now]))[None])
    np.testing.assert_allclose(answer, expected[0].softmax(0).numpy(), atol=0.01)  # float16 weights
    assert np.abs(answer - predictor.predict(np.concatenate([now, now]))).max() > 1e-4
    with pytest.raises(ValueError, match=r"takes 5 channels .* at most 8"):
        predictor.predict(np.concatenate([earlier, now])[:7])
