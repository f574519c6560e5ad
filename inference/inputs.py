"""The input channels of a network, by the names in its manifest: one place for all that a model may be given."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.preprocessing import POSITIONS, brain_extent, position_in_brain
from tracking.timepoint import MRSequence

PRIOR_MASK: Final = "prior_mask"
SUBTRACTION: Final = "subtraction"
# Not a channel of its own: a network with memory sees it first, through the channel of the T1c.
EARLIER_T1C: Final = "earlier_T1c"
SOURCES: Final = (*(str(sequence) for sequence in MRSequence), SUBTRACTION, PRIOR_MASK, *POSITIONS)


def check_channels(channels: Sequence[str]) -> None:
    """Check the names of a network's input channels.

    Raises
    ------
    ValueError
        If one is unknown or the T1c is not among them.
    """
    unknown = [name for name in channels if name not in SOURCES]
    if unknown or str(MRSequence.T1C) not in channels:
        raise ValueError(f"channels {tuple(channels)}: each must be one of {', '.join(SOURCES)}, and T1c one of them")


def sequences_for(channels: Sequence[str]) -> tuple[MRSequence, ...]:
    """Return the sequences that a model with these channels can use; a subtraction needs T1c and T1."""
    wanted = {*channels, str(MRSequence.T1)} if SUBTRACTION in channels else set(channels)
    return tuple(sequence for sequence in MRSequence if str(sequence) in wanted)


def network_input(
    channels: Sequence[str],
    images: Mapping[str, NDArray[np.float32]],
    brain: NDArray[np.bool_],
    *,
    prior: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Return the input of a network, float32 (channels, i, j, k).

    Parameters
    ----------
    channels
        Names from the manifest.
    images
        Images by name, shape (i, j, k), on the network's grid, prepared by `inference.preprocessing.normalise`. What is
        missing becomes 0, as in training.
    brain
        bool (i, j, k).
    prior
        Where the prior study has lesions, bool (i, j, k); None: nothing is known of a prior study.

    Raises
    ------
    ValueError
        If a channel is unknown, or the T1c is missing.
    """
    check_channels(channels)
    if str(MRSequence.T1C) not in images:
        raise ValueError("no T1c among the images: the network cannot do without it")
    known = dict(images)
    known.update(
        zip(POSITIONS, position_in_brain(brain_extent(brain), start=(0, 0, 0), shape=brain.shape), strict=True)
    )
    if prior is not None:
        known[PRIOR_MASK] = prior.astype(np.float32)
    blank = np.zeros(brain.shape, np.float32)
    return np.stack([known.get(name, blank) for name in channels])
