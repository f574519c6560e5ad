"""Grids in patient space: every volume is a `highdicom.Volume` (array index order i, j, k; affine to LPS mm)."""

from typing import Any

import numpy as np
import SimpleITK as sitk
from highdicom import Volume
from numpy.typing import NDArray

INTERPOLATORS = {"nearest": sitk.sitkNearestNeighbor, "linear": sitk.sitkLinear, "cubic": sitk.sitkBSpline}


def resample_like(volume: Volume, reference: Volume, *, interpolation: str = "linear", fill: float = 0.0) -> Volume:
    """Sample ``volume`` at the voxel centres of ``reference`` (same patient space, no registration).

    Parameters
    ----------
    volume, reference
        Volumes in the same frame of reference, LPS mm.
    interpolation
        ``"nearest"`` for labels, ``"linear"`` or ``"cubic"`` for images.
    fill
        Value where ``volume`` has no data.

    Returns
    -------
    Volume
        Same array shape and affine as ``reference``; the array type of ``volume`` for nearest, else float32.
    """
    moving = to_sitk(volume, keep_type=interpolation == "nearest")
    sampled = sitk.Resample(moving, to_sitk(reference), sitk.Transform(), INTERPOLATORS[interpolation], fill)
    array = from_sitk_array(sampled)
    if interpolation == "nearest":
        array = array.astype(volume.array.dtype)
    return reference.with_array(array)


def isotropic_grid(volume: Volume, spacing_mm: float = 1.0) -> Volume:
    """Return an empty volume that covers ``volume`` with cubic voxels along the axes of ``volume``.

    The first voxel centre is placed so that both volumes fill the same box, edge to edge.
    """
    spacing = np.asarray(volume.spacing)
    shape = np.maximum(np.ceil(np.asarray(volume.spatial_shape) * spacing / spacing_mm - 1e-3), 1).astype(int)
    directions = volume.affine[:3, :3] / spacing
    extra_mm = shape * spacing_mm - np.asarray(volume.spatial_shape) * spacing
    first_edge = volume.affine[:3, 3] - directions @ (spacing + extra_mm) / 2
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing_mm
    affine[:3, 3] = first_edge + directions @ np.full(3, spacing_mm / 2)
    return Volume(
        np.zeros(tuple(shape), np.uint8),
        affine,
        "PATIENT",
        frame_of_reference_uid=volume.frame_of_reference_uid,
    )


def to_sitk(volume: Volume, *, keep_type: bool = False) -> sitk.Image:
    """Convert a volume to a SimpleITK image in LPS mm; booleans become uint8, others float32 unless kept."""
    array = volume.array
    if array.dtype == bool:
        array = array.astype(np.uint8)
    elif not keep_type:
        array = array.astype(np.float32)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetSpacing([float(s) for s in volume.spacing])
    image.SetOrigin([float(p) for p in volume.position])
    image.SetDirection([float(d) for d in volume.direction.ravel()])
    return image


def from_sitk_array(image: sitk.Image) -> NDArray[Any]:
    """Return the array of a SimpleITK image in this project's index order (i, j, k)."""
    return np.ascontiguousarray(sitk.GetArrayFromImage(image).transpose(2, 1, 0))
