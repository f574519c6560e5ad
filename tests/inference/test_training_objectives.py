"""How a supervised training is judged: by fixed patches, by lesions alone, and only where the truth is known."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from inference.labels import lesion_classes
from inference.training.heads import HeadSource
from inference.training.losses import LOSSES
from inference.training.members import Pools
from inference.training.objectives import SupervisedObjective, dice, fixed_batches, grey, marked
from inference.training.patches import Batch, Place
from tests.inference.training_pools import TINY, ball_pools

TISSUES = ("background", "enhancing", "necrosis", "edema")


@pytest.fixture
def pools(tmp_path: Path, ball_head: HeadSource) -> Pools:
    return ball_pools(tmp_path, ball_head)


def row(tissue: list[int], weight: list[float]) -> Batch:
    """A batch of one row of voxels."""
    truth = torch.tensor(tissue).reshape(1, 1, 1, -1)
    return Batch(
        image=torch.zeros(1, 1, 1, 1, len(tissue)),
        tissue=truth,
        lesions=(truth > 0).long(),
        weight=torch.tensor(weight).reshape(truth.shape),
        places=(Place(head=0, voxel=(0, 0, 0)),),
        flipped=(False,),
    )


def answer(classes: list[int]) -> Tensor:
    return nn.functional.one_hot(torch.tensor(classes), len(TISSUES)).T.reshape(1, len(TISSUES), 1, 1, -1).float()


def test_edema_is_no_lesion() -> None:
    assert lesion_classes(TISSUES) == [1, 2]
    assert lesion_classes(("background", "lesion")) == [1]


def test_dice_is_of_lesions_where_the_truth_is_known() -> None:
    batch = row([1, 2, 3, 0, 0, 1], [1, 4, 1, 1, 0, 1])
    # found 2 (the tissues mixed up) and 1 too many; the fifth is not known; edema counts as neither
    assert dice([(answer([2, 1, 0, 1, 1, 0]), batch)], TISSUES) == pytest.approx(2 * 2 / (3 + 3))


def test_dice_is_of_all_patches_together() -> None:
    full, empty = row([1, 1], [1, 1]), row([0, 0], [1, 1])
    assert dice([(answer([1, 0]), full), (answer([1, 0]), empty)], TISSUES) == pytest.approx(2 * 1 / (2 + 2))
    assert dice([(answer([0, 0]), empty)], TISSUES) == 1


def test_validation_repeats_itself_and_is_not_disturbed_by_training(pools: Pools) -> None:
    objective = SupervisedObjective(config=TINY, pool=pools.training, validation=pools.validation)
    network = objective.build_network().eval()
    with torch.no_grad():
        first = objective.validate(network)
        again = SupervisedObjective(config=TINY, pool=pools.training, validation=pools.validation).validate(network)
        assert first == again == objective.validate(network)


def test_validation_is_of_held_out_heads_by_the_loss_of_the_training(pools: Pools) -> None:
    config = replace(TINY, loss="focal")
    objective = SupervisedObjective(config=config, pool=pools.training, validation=pools.validation)
    network = objective.build_network().eval()
    batches = list(fixed_batches(config, pools.validation))
    assert len(batches) == 2
    assert all(len(batch.image) == 2 for batch in batches)
    with torch.no_grad():
        losses = [LOSSES["focal"](network(b.image), b.tissue, b.lesions, b.weight, lesion=[1, 2]) for b in batches]
        assert objective.validate(network)["loss"] == pytest.approx(float(sum(losses)) / 2)


def test_without_held_out_heads_there_is_no_judgement(pools: Pools) -> None:
    objective = SupervisedObjective(config=TINY, pool=pools.training)
    assert objective.validate(objective.build_network()) == {}
    assert objective.picture(objective.build_network()) is None


def test_loss_comes_with_the_dice_of_the_batch(pools: Pools) -> None:
    objective = SupervisedObjective(config=TINY, pool=pools.training)
    network = objective.build_network()
    batch = objective.draw(torch.Generator().manual_seed(1))
    loss, figures = objective.loss(network, batch)
    assert loss.requires_grad
    assert figures == {"dice": dice([(network(batch.image), batch)], TINY.labels)}


def test_network_is_built_as_the_settings_say(pools: Pools) -> None:
    config = replace(TINY, normalisation="batch", activation="relu")
    kinds = {type(part) for part in SupervisedObjective(config=config, pool=pools.training).build_network().modules()}
    assert {nn.BatchNorm3d, nn.ReLU} <= kinds
    assert not {nn.InstanceNorm3d, nn.LeakyReLU} & kinds


def test_picture_shows_truth_and_answer_in_red(pools: Pools) -> None:
    objective = SupervisedObjective(config=TINY, pool=pools.training, validation=pools.validation)

    class Everything(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, image: Tensor) -> Tensor:
            logits = torch.zeros(len(image), 3, *image.shape[2:])
            logits[:, 1] = 1
            return logits

    picture = objective.picture(Everything())
    assert picture is not None
    assert picture.shape == (3, 32, 96)
    assert 0 <= float(picture.min()) <= float(picture.max()) <= 1
    plain, truth, found = picture.split(32, dim=2)
    assert torch.equal(plain[0], plain[1])
    red = (truth != plain).any(0)
    assert 5 < int(red.sum()) < 200  # a ball of 3 or 5 mm radius, or both
    assert bool((found != plain).any(0).float().mean() > 0.99)


def test_pictures_are_grey_but_for_the_mark() -> None:
    image = grey(torch.tensor([[2.0, 4.0], [3.0, 2.0]]))
    assert image[0].tolist() == [[0, 1], [0.5, 0]]
    shown = marked(image, torch.tensor([[True, False], [False, False]]))
    assert shown[:, 0, 0].tolist() == [0.5, 0, 0]
    assert torch.equal(shown[:, 1], image[:, 1])
