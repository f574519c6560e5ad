"""Losses on small cubes: what a perfect, a missing and an unknown answer cost is known."""

import math

import pytest
import torch

from inference.training.losses import (
    LOSSES,
    component,
    cross_entropy,
    dice_cross_entropy,
    focal,
    imitations,
    lesion_probability,
    soft_dice,
)
from inference.training.truth import NO_LESION, SOME_LESION

EDGE = 8
LESION = (1, 2)  # enhancing, and necrosis where there is a class for it


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
    assert float(loss(answer(tissue, classes), tissue, lesions, weight, lesion=LESION)) < 1e-3
    nothing = float(loss(answer(torch.zeros_like(tissue), classes), tissue, lesions, weight, lesion=LESION))
    assert nothing > (0.3 if name == "focal" else 0.7)


@pytest.mark.parametrize("name", LOSSES)
def test_unknown_voxels_teach_nothing(name: str) -> None:
    torch.manual_seed(0)
    tissue, lesions, weight = cube()
    weight[:, 6:] = 0
    logits = torch.randn(1, 2, EDGE, EDGE, EDGE, requires_grad=True)
    LOSSES[name](logits, tissue, lesions, weight, lesion=LESION).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert not logits.grad[:, :, 6:].any()
    assert logits.grad[:, :, 2:6, 2:6, 2:6].any()


@pytest.mark.parametrize("name", LOSSES)
def test_a_patch_without_anything_known_or_any_lesion_is_no_error(name: str) -> None:
    _, lesions, weight = cube()
    logits = torch.randn(1, 2, EDGE, EDGE, EDGE)
    nothing = torch.zeros_like(lesions)
    assert math.isfinite(float(LOSSES[name](logits, nothing, nothing, weight, lesion=LESION)))
    assert math.isfinite(float(LOSSES[name](logits, nothing, nothing, 0 * weight, lesion=LESION)))


def test_cross_entropy_is_the_mean_over_known_voxels() -> None:
    tissue, lesions, weight = cube()
    weight[:, 4:] = 0
    assert float(
        cross_entropy(torch.zeros(1, 2, EDGE, EDGE, EDGE), tissue, lesions, weight, lesion=LESION)
    ) == pytest.approx(math.log(2), rel=1e-6)


def test_focal_loss_of_an_undecided_network_follows_its_formula() -> None:
    tissue, lesions, weight = cube()
    share = 64 / 512
    expected = (0.25 * share + 0.75 * (1 - share)) * 0.5**2 * math.log(2)  # Rudie 2021: alpha .25, gamma 2
    assert float(focal(torch.zeros(1, 2, EDGE, EDGE, EDGE), tissue, lesions, weight, lesion=LESION)) == pytest.approx(
        expected
    )


def test_component_loss_counts_lesions_not_voxels() -> None:
    lesions = torch.zeros(2, EDGE, EDGE, EDGE, dtype=torch.int64)
    lesions[0, :, :, :4] = 1  # 256 voxels, found
    lesions[1, 0, 0, :5] = 1  # 5 voxels in another patch with the same number, missed
    found = torch.zeros_like(lesions)
    found[0] = lesions[0]
    loss = float(component(answer(found, 2), lesions, lesions, torch.ones(lesions.shape), lesion=[1]))
    assert loss == pytest.approx((0 + (1 - 5 / (5 + 5))) / 2, abs=1e-4)  # missed: Dice (0 + 5) / (0 + 5 + 5)


@pytest.mark.parametrize("edge", [16, 24])
def test_an_imitation_costs_the_same_in_any_patch_and_nothing_at_a_lesion(edge: int) -> None:
    lesions = torch.zeros(1, edge, edge, edge, dtype=torch.int64)
    lesions[0, 2:4, 2:4, 2:4] = 1
    weight = torch.ones(lesions.shape)

    def cost(*boxes: tuple[slice, slice, slice]) -> float:
        marked = lesions.clone()
        for box in boxes:
            marked[0][box] = 1
        return float(imitations(answer(marked, 2, sure=8.0), lesions, lesions, weight, lesion=[1]))

    vessel = (slice(12, 14), slice(12, 14), slice(0, 4))
    wider = (slice(1, 6), slice(1, 6), slice(1, 6))  # two voxels too wide
    assert cost() == pytest.approx(0, abs=1e-3)
    assert cost(wider) == pytest.approx(0, abs=1e-3)
    assert cost(vessel) == pytest.approx(8 * 16 / 64, abs=1e-3)
    weight[0][vessel] = 0
    assert cost(vessel) == pytest.approx(0, abs=1e-3)


def test_necrosis_taken_for_enhancing_tissue_costs_less_than_a_missed_lesion() -> None:
    tissue, lesions, weight = cube(classes=3)
    mixed = float(dice_cross_entropy(answer(lesions, 3), tissue, lesions, weight, lesion=LESION))
    missed = float(dice_cross_entropy(answer(torch.zeros_like(tissue), 3), tissue, lesions, weight, lesion=LESION))
    assert 0.1 < mixed < missed


def with_edema() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The lesion of `cube` in edema, class 3, that fills half of the cube."""
    tissue, lesions, weight = cube(classes=3)
    tissue[:, :4][lesions[:, :4] == 0] = 3
    return tissue, lesions, weight


def test_edema_is_no_lesion_to_the_parts_that_speak_of_lesions() -> None:
    tissue, lesions, weight = with_edema()
    right, all_edema = answer(tissue, 4), answer(torch.full_like(tissue, 3), 4)
    assert float(lesion_probability(right, LESION).sum()) == pytest.approx(64, abs=1e-3)
    assert float(soft_dice(right, tissue, lesions, weight, lesion=LESION)) < 1e-3
    assert float(soft_dice(all_edema, tissue, lesions, weight, lesion=LESION)) == pytest.approx(1 - 20 / (64 + 20))
    assert float(component(all_edema, tissue, lesions, weight, lesion=LESION)) == pytest.approx(1 - 5 / (64 + 5))


def test_half_of_the_balanced_loss_is_of_the_lesion_alone() -> None:
    tissue, lesions, weight = with_edema()
    lost = answer(torch.where(lesions > 0, 0, tissue), 4, sure=10.0)
    loss = float(LOSSES["balanced_cross_entropy"](lost, tissue, lesions, weight, lesion=LESION))
    assert loss == pytest.approx(10 / 2, abs=0.01)


def test_edema_has_a_dice_of_its_own_wherever_its_class_stands() -> None:
    tissue, lesions, weight = with_edema()
    for order in ((0, 1, 2, 3), (0, 3, 2, 1), (0, 2, 3, 1)):
        moved = torch.tensor(order)[tissue]
        lesion = sorted((order[1], order[2]))
        without = answer(torch.where(moved == order[3], 0, moved), 4)
        parts = [cross_entropy, soft_dice, dice_cross_entropy]
        entropy, dice, both = (float(loss(without, moved, lesions, weight, lesion=lesion)) for loss in parts)
        edema = int((tissue == 3).sum())
        assert both - entropy - dice == pytest.approx(0.25 * (1 - 20 / (edema + 20)), abs=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_of_a_lesion_of_unknown_tissue_only_that_it_is_lesion_is_taught(name: str) -> None:
    torch.manual_seed(1)
    tissue, lesions, weight = cube(classes=3)
    unknown = torch.where(lesions > 0, SOME_LESION, NO_LESION)
    loss = LOSSES[name]
    for found in (tissue, 2 * lesions, torch.where(lesions > 0, lesions, 3)):  # any tissue, and edema or none outside
        assert float(loss(answer(found, 4), unknown, lesions, weight, lesion=LESION)) < 1e-3
    missed = float(loss(answer(torch.zeros_like(tissue), 4), unknown, lesions, weight, lesion=LESION))
    assert missed > (0.3 if name == "focal" else 0.7)
    logits = torch.randn(1, 4, EDGE, EDGE, EDGE, requires_grad=True)
    loss(logits, unknown, lesions, weight, lesion=LESION).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    # Both tissues are pulled alike, each by its own share: their ratio stays.
    inside = lesions[0] > 0
    pull = logits.grad[0, 1:3, inside] / logits.detach()[0].softmax(0)[1:3, inside]
    torch.testing.assert_close(pull[0], pull[1], rtol=1e-3, atol=1e-6)


def test_classes_that_are_told_count_as_before_beside_others_that_are_not() -> None:
    torch.manual_seed(2)
    tissue, lesions, weight = cube(classes=3)
    logits = torch.randn(1, 4, EDGE, EDGE, EDGE)
    partly = tissue.clone()
    partly[:, 6:] = NO_LESION
    weight[:, 6:] = 0
    for loss in LOSSES.values():
        known, open_ = (float(loss(logits, t, lesions, weight, lesion=LESION)) for t in (tissue, partly))
        assert open_ == pytest.approx(known, rel=1e-5)
