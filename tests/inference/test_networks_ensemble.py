"""Bagging: the mean of probabilities, not of logits, wherever a single network could stand."""

import pytest
import torch
from torch import nn

from inference.networks.ensemble import Ensemble, build_ucsf_ensemble

TINY = (2, 2, 4, 4, 8, 2)


class Constant(nn.Module):
    """Answers every voxel with the same logits."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        shape = (images.shape[0], len(self.logits), *images.shape[2:])
        return self.logits[None, :, None, None, None].expand(shape)


@torch.inference_mode()
def test_softmax_of_the_answer_is_the_mean_of_probabilities() -> None:
    ensemble = Ensemble([Constant(0.0, 2.0), Constant(0.0, -1.0), Constant(0.0, 200.0)])
    found = ensemble(torch.zeros(2, 2, 3, 4, 5)).softmax(dim=1)
    assert found.shape == (2, 2, 3, 4, 5)
    mean = (torch.sigmoid(torch.tensor([2.0, -1.0])).sum() + 1) / 3
    torch.testing.assert_close(found[:, 1], mean.expand(2, 3, 4, 5))


@torch.inference_mode()
def test_certain_members_make_no_infinite_logits() -> None:
    assert Ensemble([Constant(0.0, 300.0)])(torch.zeros(1, 2, 2, 2, 2)).isfinite().all()


@torch.inference_mode()
def test_ucsf_takes_t1c_and_subtraction() -> None:
    ensemble = build_ucsf_ensemble(2, features=TINY).eval()
    images = torch.randn(1, 2, 16, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([member(images).softmax(dim=1) for member in ensemble.members]).mean(dim=0)
    torch.testing.assert_close(ensemble(images).exp(), expected)
    assert any(isinstance(module, nn.BatchNorm3d) for module in ensemble.modules())


@pytest.mark.parametrize("number", [0, 9])
def test_one_to_eight_members(number: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 8 members, not {number}"):
        build_ucsf_ensemble(number, features=TINY)
