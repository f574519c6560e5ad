"""Sliding windows over what an image shows: few, in a fixed order, and stitched the same way every time.

MONAI's inferer covers the whole array, blank or not, and holds it on the network's device. Here the windows lie only
where something is seen, whatever computes them, and the sums lie in arrays that are made once.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.preprocessing import POSITIONS

# As MONAI's inferers weigh them: standard deviation as a share of the window's edge, and the least weight.
SIGMA_SHARE: Final = 0.125
LEAST_WEIGHT: Final = 1e-3

Size = tuple[int, int, int]
Window = tuple[slice, slice, slice]
Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Images (1, channels, i, j, k) of one window in, logits (1, labels, i, j, k) out."""


def seen_voxels(channels: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.bool_]:
    """Return where any image differs from 0, bool (i, j, k).

    Parameters
    ----------
    channels
        Normalised images, shape (channels, i, j, k), exactly 0 away from the brain.
    names
        Of the channels; ``POSITIONS`` tell where a voxel lies, not what it shows, and count for nothing.
    """
    seen = np.zeros(channels.shape[1:], bool)
    for channel, name in zip(channels, names, strict=True):
        if name not in POSITIONS:
            seen |= channel != 0
    return seen


def lay_windows(seen: NDArray[np.bool_], *, size: Size, overlap: float) -> list[Window]:
    """Return few windows that together cover every seen voxel, in the order in which they are computed.

    Windows stand in rows that reach only as far as something is seen in them, evenly spread; which axis is divided
    first is decided by the smaller number of windows.

    Parameters
    ----------
    seen
        bool (i, j, k), along no axis shorter than a window.
    size
        Edges of a window in voxels.
    overlap
        Least share of its edge by which a window overlaps its neighbour, 0 to below 1.
    """
    layouts = []
    for order in permutations(range(3)):
        starts = _rows(seen.transpose(order), [size[axis] for axis in order], overlap)
        layouts.append([tuple(start[order.index(axis)] for axis in range(3)) for start in starts])
    fewest = min(layouts, key=len)
    return [(slice(i, i + size[0]), slice(j, j + size[1]), slice(k, k + size[2])) for i, j, k in sorted(fewest)]


def importance(size: Size) -> NDArray[np.float32]:
    """Return the weight of every voxel of a window, float32: a Gaussian, since the network knows less at the rim."""
    lines = [np.exp(-(((np.arange(edge) - (edge - 1) / 2) / (edge * SIGMA_SHARE)) ** 2) / 2) for edge in size]
    product = lines[0][:, None, None] * lines[1][:, None] * lines[2]
    return np.asarray(np.maximum(product, LEAST_WEIGHT), np.float32)


def slide(
    channels: NDArray[np.float32],
    network: Network,
    *,
    seen: NDArray[np.bool_],
    labels: int,
    size: Size,
    overlap: float,
) -> NDArray[np.float32]:
    """Return class probabilities: the softmax of the weighted mean of all windows' logits.

    Parameters
    ----------
    channels
        Normalised images, shape (channels, i, j, k).
    network
        Computes one window.
    seen
        Where there is something to compute, bool (i, j, k).
    labels
        Number of classes; class 0 is the background.
    size, overlap
        As in `lay_windows`; an array shorter than a window is extended with 0.

    Returns
    -------
    NDArray
        float32 (labels, i, j, k), summing to 1 over the first axis; exactly the background where no window lies.
    """
    shape = channels.shape[1:]
    padding = [(0, max(0, edge - extent)) for edge, extent in zip(size, shape, strict=True)]
    channels, seen = np.pad(channels, [(0, 0), *padding]), np.pad(seen, padding)
    weight = importance(size)
    logits = np.zeros((labels, *seen.shape), np.float32)
    weights = np.zeros(seen.shape, np.float32)
    for window in lay_windows(seen, size=size, overlap=overlap):
        part = (slice(None), *window)
        logits[part] += network(np.ascontiguousarray(channels[part])[np.newaxis])[0] * weight
        weights[window] += weight
    i, j, k = shape
    return _probabilities(logits, weights)[:, :i, :j, :k]


def _rows(seen: NDArray[np.bool_], sizes: Sequence[int], overlap: float) -> Iterator[tuple[int, ...]]:
    """Yield the first indices of windows, row by row: one per axis of ``seen``."""
    occupied = np.asarray(seen.any(axis=tuple(range(1, seen.ndim))))
    for start in _spread(occupied, sizes[0], overlap):
        inside = seen[start : start + sizes[0]]
        if seen.ndim > 1:
            row = np.asarray(inside.any(axis=0))
            yield from ((start, *rest) for rest in _rows(row, sizes[1:], overlap))
        elif inside.any():
            yield (start,)


def _spread(occupied: NDArray[np.bool_], size: int, overlap: float) -> list[int]:
    """Return the first indices of the fewest windows that cover everything occupied on a line."""
    indices = np.flatnonzero(occupied)
    if not indices.size:
        return []
    low, high = int(indices[0]), int(indices[-1]) + 1
    spare = high - low - size
    if spare <= 0:
        return [min(max(0, low + spare // 2), len(occupied) - size)]
    steps = math.ceil(spare / max(1, int(size * (1 - overlap))))
    return [low + round(step * spare / steps) for step in range(steps + 1)]


def _probabilities(logits: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn weighted sums of logits into probabilities, in place."""
    empty = weights == 0
    weights[empty] = 1
    logits /= weights
    logits -= logits.max(axis=0)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=0)
    logits[:, empty] = 0
    logits[0, empty] = 1
    return logits
