"""What the engines see: the brain's box of both studies on cubic voxels, and the masks of what may be compared."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from highdicom import Volume
from numpy.typing import NDArray

from tracking.geometry import isotropic_grid, resample_like, to_sitk
from tracking.registration.engine import ImagePair
from tracking.registration.transform import Transform
from tracking.timepoint import MRSequence, Timepoint

BOX_MARGIN_MM = 12.0
MASK_MARGIN_MM = 2.0  # the brain's surface is its strongest feature, so a rim around it takes part
LESION_MARGIN_MM = 3.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """One study on cubic voxels inside the box of its brain.

    Attributes
    ----------
    image
        T1c, float32, smoothed to the voxel size before sampling.
    brain, lesions
        Boolean volumes on the same grid; lesions include a margin and are empty if not segmented.
    """

    image: Volume
    brain: Volume
    lesions: Volume


def prepare(timepoint: Timepoint, spacing_mm: float) -> Head:
    """Cut out the box of the brain and sample it on cubic voxels.

    Raises
    ------
    ValueError
        If the timepoint has no brain mask, an empty one, or an image with values that are not finite.
    """
    image, brain = timepoint.images[MRSequence.T1C], timepoint.brain
    if brain is None or not brain.array.any():
        raise ValueError(f"Study {timepoint.study_uid} has no brain mask; find the brain before registration.")
    if not np.isfinite(image.array).all():
        raise ValueError(f"The T1c of study {timepoint.study_uid} has values that are not finite.")
    box = crop_to_brain(image, brain)
    grid = isotropic_grid(box, spacing_mm)
    return Head(
        image=resample_like(anti_aliased(box, spacing_mm), grid),
        brain=_sample_mask(brain, grid),
        lesions=_sample_lesions(timepoint.lesions, grid),
    )


def coarser(head: Head, spacing_mm: float) -> Head:
    """Sample a head again on larger cubic voxels."""
    grid = isotropic_grid(head.image, spacing_mm)
    return Head(
        image=resample_like(anti_aliased(head.image, spacing_mm), grid),
        brain=_sample_mask(head.brain, grid),
        lesions=resample_like(head.lesions, grid, interpolation="nearest"),
    )


def image_pair(fixed: Head, moving: Head, start: Transform, *, without_lesions: bool = False) -> ImagePair:
    """Put the two heads together for an engine.

    Parameters
    ----------
    start
        Rigid; written into the header of the moving image.
    without_lesions
        Leave the lesions of both studies out of the comparison, so that growth is not taken for motion.
    """
    fixed_mask = _grown(fixed.brain, MASK_MARGIN_MM)
    if without_lesions:
        warped = start.warp(moving.lesions, fixed.lesions, interpolation="nearest")
        fixed_mask &= ~fixed.lesions.array & ~warped.array
    moved = {
        name: _with_start(to_sitk(volume), start)
        for name, volume in {
            "moving": moving.image,
            "moving_mask": moving.brain.with_array(_grown(moving.brain, MASK_MARGIN_MM)),
        }.items()
    }
    return ImagePair(
        fixed=to_sitk(fixed.image),
        fixed_mask=to_sitk(fixed.brain.with_array(fixed_mask)),
        moving=moved["moving"],
        moving_mask=moved["moving_mask"],
    )


def centre_of_mass_mm(brain: Volume) -> NDArray[np.float64]:
    """Return the centre of a mask, LPS mm."""
    centre = np.argwhere(brain.array).mean(axis=0)
    return np.asarray(brain.affine[:3, :3] @ centre + brain.affine[:3, 3])


def crop_to_brain(image: Volume, brain: Volume) -> Volume:
    """Cut the image to the brain's box and a margin, as far as the image goes."""
    inside = np.argwhere(brain.array)
    margin = np.ceil(BOX_MARGIN_MM / np.asarray(image.spacing)).astype(int)
    low = np.maximum(inside.min(axis=0) - margin, 0)
    high = np.minimum(inside.max(axis=0) + 1 + margin, image.spatial_shape)
    planes, rows, columns = (slice(int(first), int(last), 1) for first, last in zip(low, high, strict=True))
    return image[planes, rows, columns]  # type: ignore[index]  # highdicom annotates a tuple of one index


def anti_aliased(image: Volume, spacing_mm: float) -> Volume:
    """Smooth the axes that are sampled more finely than ``spacing_mm``, so that detail does not fold into noise."""
    missing_mm = np.sqrt(np.maximum(spacing_mm**2 - np.square(image.spacing), 0)) / 2
    smoothed = to_sitk(image)
    for axis, sigma_mm in enumerate(missing_mm):
        if sigma_mm > 0.1:
            smoothed = sitk.RecursiveGaussian(smoothed, sigma=float(sigma_mm), direction=axis)
    array = sitk.GetArrayFromImage(smoothed).transpose(2, 1, 0)
    return image.with_array(np.ascontiguousarray(array))


def _sample_mask(mask: Volume, grid: Volume) -> Volume:
    """Sample a mask by its half level, which keeps its surface where thick slices put it."""
    soft = resample_like(mask.with_array(mask.array.astype(np.float32)), grid)
    return grid.with_array(soft.array > 0.5)


def _sample_lesions(lesions: Volume | None, grid: Volume) -> Volume:
    if lesions is None:
        return grid.with_array(np.zeros(grid.spatial_shape, bool))
    present = lesions.with_array((lesions.array > 0).astype(np.uint8))
    nearest = resample_like(present, grid, interpolation="nearest")
    return grid.with_array(_grown(nearest, LESION_MARGIN_MM))


def _grown(mask: Volume, margin_mm: float) -> NDArray[np.bool_]:
    radius = [max(1, round(margin_mm / step)) for step in mask.spacing]
    grown = sitk.BinaryDilate(to_sitk(mask) > 0, radius, sitk.sitkBall)
    return np.ascontiguousarray(sitk.GetArrayViewFromImage(grown).transpose(2, 1, 0)).astype(bool)


def _with_start(image: sitk.Image, start: Transform) -> sitk.Image:
    """Write the inverse of a rigid start into an image's header."""
    inverse = np.linalg.inv(start.matrix)
    image.SetOrigin((inverse[:3, :3] @ image.GetOrigin() + inverse[:3, 3]).tolist())
    image.SetDirection((inverse[:3, :3] @ np.reshape(image.GetDirection(), (3, 3))).ravel().tolist())
    return image
