"""An STT that starts as the U-Net it is made from: with one study it answers alike; memory can only be learnt on top.

The published STT is trained as a whole. Where labelled follow-ups are few, the U-Net is kept as it is and the cell
alone learns; then the cell must begin as if it were not there. Its candidate passes the features on, scaled down so
that both hyperbolic tangents are nearly straight, its write and output gates stand open and its keep gate is shut; the
decoder's first weights are scaled up by the same factor.
"""

import math
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from inference.networks.stt import SpatioTemporalUNet

OPEN: Final = 4.0
SHUT: Final = -4.0
SCALE: Final = 0.1
DECODER_ENTRY: Final = "upcat_4.upsample.deconv.weight"


def start_from_unet(network: SpatioTemporalUNet, unet: Mapping[str, Tensor]) -> None:
    """Give an STT the weights of a U-Net of the same features, channels and labels, and a cell that only passes on.

    Parameters
    ----------
    network
        Changed in place.
    unet
        State of a network of `inference.networks.unet.build_unet`.

    Raises
    ------
    RuntimeError
        If the weights do not fit.
    """
    gain = SCALE / (1 + math.exp(-OPEN)) ** 2
    weights = dict(unet) | {f"convlstm.{name}": value for name, value in network.convlstm.state_dict().items()}
    weights[DECODER_ENTRY] = weights[DECODER_ENTRY] / gain
    network.load_state_dict(weights)
    _pass_on(network.convlstm.conv, network.convlstm.hidden)


@torch.no_grad()
def _pass_on(conv: nn.Conv3d, hidden: int) -> None:
    conv.weight.zero_()
    assert conv.bias is not None  # noqa: S101  # the cell always has one
    write, keep, give, new = conv.bias.chunk(4)  # i, f, o, g
    for part, value in ((write, OPEN), (keep, SHUT), (give, OPEN), (new, 0.0)):
        part.fill_(value)
    middle = tuple(size // 2 for size in conv.kernel_size)
    for channel in range(hidden):
        conv.weight[(3 * hidden + channel, channel, *middle)] = SCALE


def freeze_all_but_memory(network: SpatioTemporalUNet) -> list[nn.Parameter]:
    """Let only the cell learn; return its parameters."""
    network.requires_grad_(False)
    network.convlstm.requires_grad_(True)
    return list(network.convlstm.parameters())
