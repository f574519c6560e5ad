"""Self-supervision: what is damaged, what is restored, and when it ends."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Generator, nn

from inference.training.heads import HeadSource
from inference.training.members import Pools
from inference.training.objectives import drawn_plan
from inference.training.patches import draw_batch
from inference.training.ssl import SelfSupervisedObjective, SelfSupervisedUNet, Views, damaged
from inference.training.train import train
from tests.inference.training_pools import TINY, ball_pools, begin

SSL = replace(TINY, objective="ssl", channels=("T1c", "FLAIR", "prior_mask", "position_i"))


@pytest.fixture
def pools(tmp_path: Path, ball_head: HeadSource) -> Pools:
    return ball_pools(tmp_path, ball_head)


def test_damage_moves_voxels_within_boxes_and_cuts_boxes_out() -> None:
    image = torch.arange(1.0, 32**3 + 1).reshape(1, 32, 32, 32)
    before = image.clone()
    view = damaged(image, generator=Generator().manual_seed(4))
    assert torch.equal(image, before)
    cut_out = view == 0
    assert 0.002 < float(cut_out.float().mean()) < 0.1
    moved = (view != image) & ~cut_out
    assert 0.01 < float(moved.float().mean()) < 0.4
    values = view[~cut_out]
    assert len(values.unique()) == len(values)  # shuffled, none invented
    where = torch.stack(torch.meshgrid(*[torch.arange(32)] * 3, indexing="ij"))
    came_from = torch.stack(torch.unravel_index((view[0][moved[0]] - 1).long(), (32, 32, 32)))
    assert int((came_from - where[:, moved[0]]).abs().max()) < 32
    assert float((came_from - where[:, moved[0]]).abs().float().mean()) < 4  # local: most boxes stay apart


def test_damage_depends_on_the_generator_alone() -> None:
    image = torch.rand(2, 32, 32, 32)
    first, again, other = (damaged(image, generator=Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_boxes_that_are_no_cubes_are_damaged_from_end_to_end() -> None:
    image = torch.arange(1.0, 32 * 48 * 96 + 1).reshape(1, 32, 48, 96)
    views = torch.cat([damaged(image, generator=Generator().manual_seed(seed)) for seed in range(10)])
    changed = (views != image).any(0)
    for axis in range(3):
        along = changed.movedim(axis, 0).flatten(1).any(1)
        assert bool(along[:8].any())
        assert bool(along[-8:].any())


def test_views_differ_show_no_truth_and_leave_positions_alone(pools: Pools) -> None:
    objective = SelfSupervisedObjective(config=SSL, pool=pools.training)
    views = objective.draw(Generator().manual_seed(1))
    assert views.images.shape == (2, 2, 32, 32, 32)
    assert not torch.equal(views.first[:, 0], views.second[:, 0])
    for view in (views.first, views.second):
        assert not bool(view[:, 2].any())
        assert not torch.equal(view[:, 0], views.images[:, 0])
    assert torch.equal(views.first[:, 3], views.second[:, 3])
    generator = Generator().manual_seed(1)
    patches = draw_batch(pools.training, drawn_plan(SSL, generator), generator=generator).image
    assert torch.equal(patches[:, :2], views.images)
    assert torch.equal(patches[:, 3], views.first[:, 3])


def test_network_computes_as_its_unet_and_projects_the_bottleneck(pools: Pools) -> None:
    network = SelfSupervisedObjective(config=SSL, pool=pools.training).build_network().eval()
    assert isinstance(network, SelfSupervisedUNet)
    image = torch.randn(2, 4, 32, 32, 32)
    restored, projection = network(image)
    torch.testing.assert_close(restored, network.unet(image))
    assert restored.shape == (2, 2, 32, 32, 32)
    assert projection.shape == (2, 128)
    projection.sum().backward()
    assert network.unet.down_4.convs.conv_0.conv.weight.grad is not None
    assert network.unet.upcat_1.convs.conv_0.conv.weight.grad is None


class Told(nn.Module):
    """A network that answers what it was told."""

    def __init__(self, restored: torch.Tensor, projection: torch.Tensor) -> None:
        super().__init__()
        self.answer = restored, projection

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert len(image) == len(self.answer[0])
        return self.answer


def test_loss_is_restoration_and_half_the_contrast(pools: Pools) -> None:
    objective = SelfSupervisedObjective(config=SSL, pool=pools.training)
    images = torch.randn(2, 2, 32, 32, 32)
    views = Views(images=images, first=torch.zeros(2, 4, 32, 32, 32), second=torch.zeros(2, 4, 32, 32, 32))
    both = torch.cat([images, images])
    apart = torch.eye(2).repeat(2, 1)  # each patch in a direction of its own, both views alike
    mixed_up = torch.cat([torch.eye(2), torch.eye(2).flip(0)])
    good, figures = objective.loss(Told(both + 0.25, apart), views)
    assert figures["restoration"] == pytest.approx(0.25, rel=1e-4)
    assert float(good) == pytest.approx(0.25, abs=1e-2)
    bad, worse = objective.loss(Told(both, mixed_up), views)
    assert worse["restoration"] == 0
    # NT-Xent at temperature 0.1 with the wrong neighbour alike: log(e^0 + e^10 + e^0) = 10.0
    assert float(bad) == pytest.approx(0.5 * 10.0, abs=1e-2)


def test_ends_when_validation_gains_no_more(pools: Pools) -> None:
    objective = SelfSupervisedObjective(
        config=replace(SSL, patience=2), pool=pools.training, validation=pools.validation
    )
    network = objective.build_network().eval()
    with torch.no_grad():
        first = objective.validate(network)
        assert not objective.finished
        assert objective.validate(network) == first
        assert not objective.finished
        objective.validate(network)
    assert objective.finished
    resumed = SelfSupervisedObjective(config=replace(SSL, patience=2), pool=pools.training)
    resumed.load_state_dict(objective.state_dict())
    assert resumed.finished
    objective.best = 2 * objective.best
    with torch.no_grad():
        objective.validate(network)
    assert not objective.finished
    assert objective.best == pytest.approx(first["restoration"])


def test_picture_shows_image_damage_and_restoration(pools: Pools) -> None:
    objective = SelfSupervisedObjective(config=SSL, pool=pools.training, validation=pools.validation)
    with torch.no_grad():
        picture = objective.picture(objective.build_network())
    assert picture is not None
    assert picture.shape == (3, 32, 96)
    image, view, _ = picture.split(32, dim=2)
    assert not torch.equal(image, view)


@pytest.mark.slow
def test_learns_to_restore_and_stops_by_itself(tmp_path: Path, pools: Pools) -> None:
    config = replace(
        SSL,
        channels=("T1c",),
        features=(8, 8, 8, 8, 8, 8),
        steps=400,
        validate_every=10,
        patience=3,
        learning_rate=1e-2,
    )
    config = replace(config, schedule="constant", ema_decay=0.5)
    run, state = begin(tmp_path, pools, config)
    with torch.no_grad():
        before = state.objective.validate(state.average)["restoration"]
    train(run, state)
    assert state.objective.state_dict()["best"] < 0.6 * before
    assert state.step < 400
