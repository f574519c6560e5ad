"""What a network sees: training and inference prepare their images with these functions and no others."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy import ndimage

from tracking.geometry import isotropic_grid, resample_like

# Index order of every array that a network sees: i towards the head, j towards the back, k towards the patient's left.
ORIENTATION = "HPL"
MARGIN_MM = 8.0
SURROUNDINGS_MM = 3
CLIP = (-5.0, 10.0)
FARTHEST = 1.5
POSITIONS = ("position_i", "position_j", "position_k")

Box = tuple[slice, slice, slice]


def to_fixed_orientation(volume: Volume) -> Volume:
    """Permute and flip the axes so that i, j, k run towards head, back and left as nearly as they can.

    No voxel is interpolated; an oblique volume stays oblique.
    """
    return volume.to_patient_orientation(ORIENTATION)


def brain_box(brain: NDArray[np.bool_], *, margin: tuple[int, int, int]) -> Box:
    """Return the smallest box around the brain, widened by ``margin`` voxels (i, j, k) and cut at the array's edges.

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    if not brain.any():
        raise ValueError("the brain mask is empty: there is nothing to segment")
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    i, j, k = (
        slice(max(0, axis.start - extra), min(size, axis.stop + extra))
        for axis, extra, size in zip(box, margin, brain.shape, strict=True)
    )
    return i, j, k


def crop(volume: Volume, box: Box) -> Volume:
    """Cut a box out of a volume; its position in space is kept."""
    return volume[box]  # type: ignore[index]  # highdicom takes three slices but annotates a tuple of one


def to_model_grid(image: Volume, brain: Volume, *, spacing_mm: float) -> tuple[Volume, Volume]:
    """Bring an image and its brain mask onto the network's grid: the brain's box, fixed orientation, cubic voxels.

    Parameters
    ----------
    image, brain
        Scalar and boolean volume on one grid of any orientation and spacing, LPS mm.
    spacing_mm
        Edge of the network's voxels.

    Returns
    -------
    tuple of Volume
        The image (float32, linear interpolation) and the mask (bool, nearest), index order as ``ORIENTATION``.
    """
    image, brain = to_fixed_orientation(image), to_fixed_orientation(brain)
    i, j, k = (math.ceil(MARGIN_MM / spacing) for spacing in image.spacing)
    box = brain_box(brain.array.astype(bool), margin=(i, j, k))
    image, brain = crop(image, box), crop(brain, box)
    grid = isotropic_grid(image, spacing_mm)
    # Half a voxel of the grid may lie beyond the last voxel centre: extend the image there instead of filling with 0.
    sampled = resample_like(_edge_padded(image), grid, interpolation="linear")
    mask = resample_like(brain.with_array(brain.array.astype(np.uint8)), grid, interpolation="nearest")
    return sampled, mask.with_array(mask.array.astype(bool))


def normalise(image: NDArray[Any], brain: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Scale an image to mean 0 and standard deviation 1 inside the brain and blank what lies away from the brain.

    Parameters
    ----------
    image, brain
        Arrays (i, j, k) on 1 mm voxels.

    Returns
    -------
    NDArray
        float32 (i, j, k), clipped to ``CLIP``; 0 farther than ``SURROUNDINGS_MM`` from the brain, so that heads with
        and without skull look alike.
    """
    inside = image[brain].astype(np.float64)
    scaled = (image.astype(np.float32) - np.float32(inside.mean())) / np.float32(max(inside.std(), 1e-6))
    near = ndimage.binary_dilation(brain, iterations=SURROUNDINGS_MM)
    return np.where(near, np.clip(scaled, *CLIP), 0).astype(np.float32)


def brain_extent(brain: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the first and the last index of the brain along i, j and k, int64 (3, 2).

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    return np.array([(s.start, s.stop - 1) for s in brain_box(brain, margin=(0, 0, 0))])


def position_in_brain(extent: NDArray[np.int64], *, start: Sequence[int], shape: Sequence[int]) -> NDArray[np.float32]:
    """Return where in the brain every voxel of a region lies, float32 (3, i, j, k).

    Sinuses, veins and plexus have their places; a network that knows where it looks takes them for metastases less
    often.

    Parameters
    ----------
    extent
        From `brain_extent`.
    start, shape
        First index and size of the region along i, j and k; it may reach beyond the array.

    Returns
    -------
    NDArray
        -1 at the brain's lowest, foremost and 1 at its topmost, hindmost voxel, going on at most to ±1.5 outside;
        along k the distance from the middle without side, since left and right look alike.
    """
    lines = [
        np.clip((2 * (np.arange(size) + first) - low - high) / max(high - low, 1), -FARTHEST, FARTHEST)
        for first, size, (low, high) in zip(start, shape, extent, strict=True)
    ]
    lines[2] = np.abs(lines[2])
    return np.stack(np.broadcast_arrays(*np.ix_(*lines))).astype(np.float32)


def _edge_padded(volume: Volume) -> Volume:
    return volume.pad(1, mode="edge")
