"""STT: the published size and key names, a state that stands for the timepoints before, and the bottleneck it replaces.

What it is worth on real follow-ups is not tested: no trained weights come with this package.
"""

import pytest
import torch
from monai.networks.nets.basic_unet import BasicUNet

from inference.networks.conv_lstm import LSTMState
from inference.networks.stt import SpatioTemporalUNet
from inference.networks.unet import build_unet

TINY = (2, 2, 4, 4, 8, 2)


@pytest.fixture
def network() -> SpatioTemporalUNet:
    torch.manual_seed(0)
    network = SpatioTemporalUNet(TINY, channels=2, labels=3).eval()
    with torch.no_grad():  # weak gates would hide what the earlier timepoints do
        network.convlstm.conv.weight.mul_(20)
    return network


@pytest.fixture
def visits() -> torch.Tensor:
    """Two patients, three timepoints, two channels."""
    return torch.randn(2, 3, 2, 32, 32, 16, generator=torch.Generator().manual_seed(1))


def test_size_and_names_are_the_published_ones() -> None:
    network = SpatioTemporalUNet()
    assert sum(p.numel() for p in network.parameters()) == 19_906_210
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    lstm = {"convlstm.conv.weight": (1024, 512, 3, 3, 3), "convlstm.conv.bias": (1024,)}
    assert shapes == {k: tuple(v.shape) for k, v in BasicUNet().state_dict().items()} | lstm


@torch.inference_mode()
def test_state_handed_on_gives_the_answer_of_the_whole_sequence(
    network: SpatioTemporalUNet, visits: torch.Tensor
) -> None:
    whole, final = network(visits)
    every, _ = network(visits, every_timepoint=True)
    assert whole.shape == (2, 3, 32, 32, 16)
    assert every.shape == (2, 3, 3, 32, 32, 16)
    state: LSTMState | None = None
    for index in range(3):
        logits, state = network.step(visits[:, index], state)
        torch.testing.assert_close(logits, every[:, index])
    torch.testing.assert_close(logits, whole)
    torch.testing.assert_close(state, final)
    rest, _ = network(visits[:, 1:], network(visits[:, :1])[1])
    torch.testing.assert_close(rest, whole)


@torch.inference_mode()
def test_earlier_timepoints_matter_and_their_order_too(network: SpatioTemporalUNet, visits: torch.Tensor) -> None:
    whole, _ = network(visits)
    for other in (visits[:, 2:], visits[:, [1, 0, 2]]):
        assert not torch.allclose(network(other)[0], whole, atol=1e-4)


@torch.inference_mode()
def test_patients_in_a_batch_are_apart(network: SpatioTemporalUNet, visits: torch.Tensor) -> None:
    torch.testing.assert_close(network(visits)[0][:1], network(visits[:1])[0], atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_hidden_state_replaces_the_features_of_the_bottleneck(
    network: SpatioTemporalUNet, visits: torch.Tensor
) -> None:
    """The same weights in a plain U-Net, whose bottleneck is overwritten with the hidden state, give the same."""
    plain = build_unet(TINY, channels=2, labels=3).eval()
    shared = {key: value for key, value in network.state_dict().items() if not key.startswith("convlstm.")}
    plain.load_state_dict(shared)
    logits, state = network.step(visits[:, 0])
    assert not torch.allclose(plain(visits[:, 0]), logits, atol=1e-4)
    plain.get_submodule("down_4").register_forward_hook(lambda *_: state.hidden)
    torch.testing.assert_close(plain(visits[:, 0]), logits)


def test_every_timepoint_takes_part_in_training(network: SpatioTemporalUNet, visits: torch.Tensor) -> None:
    visits.requires_grad_()
    network(visits)[0].square().sum().backward()
    assert visits.grad is not None
    assert (visits.grad.abs().amax(dim=(0, 2, 3, 4, 5)) > 0).all()


def test_eight_timepoints_are_the_most(network: SpatioTemporalUNet) -> None:
    with torch.inference_mode():
        network(torch.zeros(1, 8, 2, 16, 32, 32))
    for number in (0, 9):
        with pytest.raises(ValueError, match=f"1 to 8 timepoints at once, not {number}"):
            network(torch.zeros(1, number, 2, 16, 16, 16))


def test_forgotten_axis_is_named(network: SpatioTemporalUNet) -> None:
    with pytest.raises(ValueError, match=r"\(batch, time, channel, i, j, k\), not \(1, 2, 16, 16, 16\)"):
        network(torch.zeros(1, 2, 16, 16, 16))


def test_state_of_another_window_is_refused(network: SpatioTemporalUNet, visits: torch.Tensor) -> None:
    with torch.inference_mode():
        _, state = network(visits)
        with pytest.raises(ValueError, match="another grid or window"):
            network.step(visits[:, 0, ..., :16, :, :], state)
