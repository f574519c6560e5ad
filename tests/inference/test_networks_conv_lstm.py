"""The ConvLSTM cell against the gate equations written out in numpy and scipy."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import correlate

from inference.networks.conv_lstm import ConvLSTMCell, LSTMState

Array = NDArray[np.float64]
SHAPE = (4, 3, 5)


@pytest.fixture
def cell() -> ConvLSTMCell:
    """Two inputs, three hidden channels, weights large enough that every gate matters."""
    torch.manual_seed(0)
    cell = ConvLSTMCell(2, 3).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_(std=0.5)
    return cell


def sigmoid(x: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-x))
    return result


def by_hand(cell: ConvLSTMCell, features: Array, hidden: Array, memory: Array) -> tuple[Array, Array]:
    """One step: convolve input and hidden state together, split into i, f, o, g, and apply them."""
    weight, bias = (parameter.detach().numpy() for parameter in cell.conv.parameters())
    stacked = np.concatenate([features, hidden])
    gates = np.stack(
        [
            sum(correlate(stacked[c], weight[row, c], mode="constant") for c in range(len(stacked))) + bias[row]
            for row in range(len(weight))
        ]
    )
    i, f, o, g = gates.reshape(4, cell.hidden, *SHAPE)
    memory = sigmoid(f) * memory + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(memory), memory


def test_two_steps_agree_with_the_equations(cell: ConvLSTMCell) -> None:
    rng = np.random.default_rng(1)
    images = rng.normal(size=(2, 2, *SHAPE))
    hidden = memory = np.zeros((3, *SHAPE))
    state = None
    for image in images:
        hidden, memory = by_hand(cell, image, hidden, memory)
        with torch.no_grad():
            state = cell(torch.from_numpy(image)[None], state)
    assert state is not None
    np.testing.assert_allclose(state.hidden[0].numpy(), hidden, atol=1e-12)
    np.testing.assert_allclose(state.cell[0].numpy(), memory, atol=1e-12)


def test_layout_is_the_published_one() -> None:
    shapes = {key: tuple(value.shape) for key, value in ConvLSTMCell(256, 256).state_dict().items()}
    assert shapes == {"conv.weight": (1024, 512, 3, 3, 3), "conv.bias": (1024,)}


@pytest.mark.parametrize("shape", [(1, 3, 4, 3, 6), (2, 3, *SHAPE), (1, 2, *SHAPE)])
def test_state_of_another_grid_is_refused(cell: ConvLSTMCell, shape: tuple[int, ...]) -> None:
    right, wrong = torch.zeros(1, 3, *SHAPE).double(), torch.zeros(shape).double()
    for state in (LSTMState(hidden=wrong, cell=right), LSTMState(hidden=right, cell=wrong)):
        with pytest.raises(ValueError, match=r"made on another grid or window"):
            cell(torch.zeros(1, 2, *SHAPE).double(), state)
