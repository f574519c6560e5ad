"""A ConvLSTM cell: the memory that a network keeps from one timepoint to the next (Shi et al., NeurIPS 2015)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class LSTMState(NamedTuple):
    """What is remembered of the timepoints so far; both (batch, hidden, i, j, k).

    Attributes
    ----------
    hidden
        What the cell gave out last.
    cell
        Its long-term memory.
    """

    hidden: Tensor
    cell: Tensor


class ConvLSTMCell(nn.Module):
    """One step of a 3-D ConvLSTM without peepholes; the gates share one convolution, stacked as i, f, o, g.

    Parameters
    ----------
    inputs, hidden
        Channels of the input and of the state.
    kernel
        Edge of the convolution's kernel in voxels; odd.
    """

    def __init__(self, inputs: int, hidden: int, *, kernel: int = 3) -> None:
        super().__init__()
        self.hidden = hidden
        self.conv = nn.Conv3d(inputs + hidden, 4 * hidden, kernel, padding=kernel // 2)

    def forward(self, features: Tensor, state: LSTMState | None = None) -> LSTMState:
        """Return the state after ``features`` (batch, inputs, i, j, k); None: nothing has been seen before.

        Raises
        ------
        ValueError
            If the state has another shape than these features need.
        """
        shape = (features.shape[0], self.hidden, *features.shape[2:])
        before = self._empty(features, shape) if state is None else state
        if any(part.shape != shape for part in before):
            found = " and ".join(str(tuple(part.shape)) for part in before)
            raise ValueError(
                f"the state has shapes {found}, these images need {shape}: it was made on another grid or window; "
                "compute it again from the earlier timepoints"
            )
        stacked = self.conv(torch.cat([features, before.hidden], dim=1))
        write, keep, give, new = stacked.chunk(4, dim=1)  # i, f, o, g
        cell = keep.sigmoid() * before.cell + write.sigmoid() * new.tanh()
        return LSTMState(hidden=give.sigmoid() * cell.tanh(), cell=cell)

    @staticmethod
    def _empty(features: Tensor, shape: tuple[int, ...]) -> LSTMState:
        return LSTMState(hidden=features.new_zeros(shape), cell=features.new_zeros(shape))
