"""Losses on small cubes: what a perfect, a missing and an unknown answer cost is known."""

import math

import pytest
import torch

from inference.training.losses import LOSSES, component, cross_entropy, dice_cross_entropy, focal

EDGE = 8


def cube(*, classes: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tissue, lesion numbers and weights of a lesion of 64 voxels in 512; with three classes its middle is necrotic."""
    lesions = torch.zeros(1, EDGE, EDGE, EDGE, dtype=torch.int64)
    lesions[:, 2:6, 2:6, 2:6] = 1
    tissue = lesions.clone()
    if classes > 2:
        tissue[:, 3:5, 3:5, 3:5] = 2
    return tissue, lesions, torch.ones(lesions.shape)


def answer(tissue: torch.Tensor, classes: int, sure: float = 20.0) -> torch.Tensor:
    return sure * torch.nn.functional.one_hot(tissue, classes).movedim(-1, 1).float()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [2, 3])
def test_perfect_answer_costs_nothing_and_no_answer_much(name: str, classes: int) -> None:
    tissue, lesions, weight = cube(classes=classes)
    loss = LOSSES[name]
    assert float(loss(answer(tissue, classes), tissue, lesions, weight)) < 1e-3
    nothing = float(loss(answer(torch.zeros_like(tissue), classes), tissue, lesions, weight))
    assert nothing > (0.3 if name == "focal" else 0.7)


@pytest.mark.parametrize("name", LOSSES)
def test_unknown_voxels_teach_nothing(name: str) -> None:
    torch.manual_seed(0)
    tissue, lesions, weight = cube()
    weight[:, 6:] = 0
    logits = torch.randn(1, 2, EDGE, EDGE, EDGE, requires_grad=True)
    LOSSES[name](logits, tissue, lesions, weight).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert not logits.grad[:, :, 6:].any()
    assert logits.grad[:, :, 2:6, 2:6, 2:6].any()


@pytest.mark.parametrize("name", LOSSES)
def test_a_patch_without_anything_known_or_any_lesion_is_no_error(name: str) -> None:
    _, lesions, weight = cube()
    logits = torch.randn(1, 2, EDGE, EDGE, EDGE)
    nothing = torch.zeros_like(lesions)
    assert math.isfinite(float(LOSSES[name](logits, nothing, nothing, weight)))
    assert math.isfinite(float(LOSSES[name](logits, nothing, nothing, 0 * weight)))


def test_cross_entropy_is_the_mean_over_known_voxels() -> None:
    tissue, lesions, weight = cube()
    weight[:, 4:] = 0
    assert float(cross_entropy(torch.zeros(1, 2, EDGE, EDGE, EDGE), tissue, lesions, weight)) == pytest.approx(
        math.log(2), rel=1e-6
    )


def test_focal_loss_of_an_undecided_network_follows_its_formula() -> None:
    tissue, lesions, weight = cube()
    share = 64 / 512
    expected = (0.25 * share + 0.75 * (1 - share)) * 0.5**2 * math.log(2)  # Rudie 2021: alpha .25, gamma 2
    assert float(focal(torch.zeros(1, 2, EDGE, EDGE, EDGE), tissue, lesions, weight)) == pytest.approx(expected)


def test_component_loss_counts_lesions_not_voxels() -> None:
    lesions = torch.zeros(2, EDGE, EDGE, EDGE, dtype=torch.int64)
    lesions[0, :, :, :4] = 1  # 256 voxels, found
    lesions[1, 0, 0, :5] = 1  # 5 voxels in another patch with the same number, missed
    found = torch.zeros_like(lesions)
    found[0] = lesions[0]
    loss = float(component(answer(found, 2), lesions, lesions, torch.ones(lesions.shape)))
    assert loss == pytest.approx((0 + (1 - 5 / (5 + 5))) / 2, abs=1e-4)  # missed: Dice (0 + 5) / (0 + 5 + 5)


def test_necrosis_taken_for_enhancing_tissue_costs_less_than_a_missed_lesion() -> None:
    tissue, lesions, weight = cube(classes=3)
    mixed = float(dice_cross_entropy(answer(lesions, 3), tissue, lesions, weight))
    missed = float(dice_cross_entropy(answer(torch.zeros_like(tissue), 3), tissue, lesions, weight))
    assert 0.1 < mixed < missed
