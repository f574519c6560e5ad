"""A rough inner part of the brain, found without a network: deep enough inside to hold no fat of scalp or orbit.

It serves to judge intensities, not to measure anything: it may miss half of the brain, but it must not leave it.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from highdicom import Volume
from numpy.typing import NDArray
from scipy import ndimage

from tracking.geometry import to_sitk

GRID_MM = 2.5
CORNER_VOXELS = 5
CORE_DEPTH_MM = 26.0
CORE_HEIGHT_MM = 90.0
SCALP_MM = 10.0
OPENING_MM = 8.0
CLOSING_MM = 10.0
VAULT_CLOSING_MM = 24.0
VAULT_HEIGHT_MM = 50.0
SKULL_FRACTION = 0.45
REGION_DEPTH_MM = 17.0
REGION_INSET_MM = 3.0
REGION_HEIGHT_MM = 85.0
FIELD_SIGMAS_MM = (20.0, 10.0)

Mask = NDArray[np.bool_]
Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class BrainRegion:
    """The inner brain on a coarse grid (SimpleITK images, 2.5 mm, axes along LPS).

    Attributes
    ----------
    region
        1 inside: at least 14 mm under the skin, 3 mm inside the brain, in the upper 75 mm of the head.
    depth_mm
        Distance from the brain's surface, 0 outside.
    level
        Local intensity of brain tissue: follows the coils' sensitivity.
    white, fluid, background
        Intensities of white matter and of cerebrospinal fluid, as upper and lower percentiles tell them, and of air.
    """

    region: sitk.Image
    depth_mm: sitk.Image
    level: sitk.Image
    white: float
    fluid: float
    background: float


class NoBrainError(ValueError):
    """No head with a brain can be made out in the image."""


def find_brain_region(volume: Volume) -> BrainRegion:
    """Find the inner brain of a T1-weighted head, with or without contrast agent, of any scale and offset.

    Parameters
    ----------
    volume
        Head with skull, (i, j, k) in LPS mm, any orientation.

    Raises
    ------
    NoBrainError
        There is no plausible head or brain in the image.
    """
    image = to_sitk(volume)
    grid = _coarse_grid(image)
    coarse = sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, 0.0))
    head, background = _head(coarse)
    box = ndimage.find_objects(head.astype(np.uint8))[0]
    coarse, head, grid = coarse[box], head[box], grid[tuple(reversed(box))]
    depth = _distance_mm(head)
    below = _below_vertex_mm(head)
    core = (depth > CORE_DEPTH_MM) & (below < CORE_HEIGHT_MM)
    white, fluid = _levels(coarse, core)
    brain = _brain(coarse, depth, core, (white, fluid, background))
    inset = _distance_mm(_with_sulci_of_the_vault(brain, below))
    region = (depth > REGION_DEPTH_MM) & (inset > REGION_INSET_MM) & (below < REGION_HEIGHT_MM)
    white, fluid = _levels(coarse, region)
    level = _tissue_level(coarse, region & brain, fluid)
    return BrainRegion(
        region=_image(region.astype(np.float32), grid),
        depth_mm=_image(inset, grid),
        level=_image(level, grid),
        white=white,
        fluid=fluid,
        background=background,
    )


def sample_at(image: sitk.Image, volume: Volume) -> Array:
    """Sample a coarse image at the voxels of a volume; returns (i, j, k)."""
    sampled = sitk.Resample(image, to_sitk(volume), sitk.Transform(), sitk.sitkLinear, 0.0)
    return np.ascontiguousarray(sitk.GetArrayViewFromImage(sampled).transpose(2, 1, 0))


def _coarse_grid(image: sitk.Image) -> sitk.Image:
    """Return an empty image along LPS that covers all of ``image``."""
    bounds = [(-0.5, size - 0.5) for size in image.GetSize()]
    indices = np.array(np.meshgrid(*bounds)).T.reshape(-1, 3)
    corners = np.array([image.TransformContinuousIndexToPhysicalPoint(index) for index in indices.tolist()])
    low, high = corners.min(0), corners.max(0)
    size = np.ceil((high - low) / GRID_MM).astype(int)
    grid = sitk.Image([int(n) for n in size], sitk.sitkFloat32)
    grid.SetSpacing([GRID_MM] * 3)
    grid.SetOrigin([float(value) for value in low + GRID_MM / 2])
    return grid


def _image(array: Array, grid: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.CopyInformation(grid)
    return image


def _head(coarse: Array) -> tuple[Mask, float]:
    """Return the filled head and the background's intensity, which is not 0 in phase-sensitive images."""
    ends = (slice(0, CORNER_VOXELS), slice(-CORNER_VOXELS, None))
    background = float(np.median(np.concatenate([coarse[:, a, b].ravel() for a in ends for b in ends])))
    signal = ndimage.gaussian_filter(np.abs(coarse - background), 0.7)
    clipped = np.minimum(signal, np.percentile(signal, 98)).astype(np.float32)
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.Execute(sitk.GetImageFromArray(clipped))
    head = _largest(signal > 0.5 * otsu.GetThreshold())
    if not head.any():
        raise NoBrainError("the image is empty")
    return _filled(head), background


def _levels(coarse: Array, inside: Mask) -> tuple[float, float]:
    """Return intensities of white matter (75th percentile) and fluid (3rd)."""
    if inside.sum() * GRID_MM**3 < 50_000:
        raise NoBrainError("no head with at least 50 ml of brain can be made out in the image")
    fluid, white = np.percentile(coarse[inside], [3, 75])
    if white <= fluid:
        raise NoBrainError("the inside of the head has no contrast")
    return float(white), float(fluid)


def _brain(coarse: Array, depth: Array, core: Mask, levels: tuple[float, float, float]) -> Mask:
    """Return tissue that survives an opening and holds the core, closed over vessels, ventricles and sulci."""
    white, fluid, background = levels
    span = white - fluid
    floor = fluid + 0.1 * span
    if background < fluid + 0.3 * span:  # bone is as dark as air
        floor = max(floor, background + SKULL_FRACTION * (white - background))
    tissue = (coarse > floor) & (coarse < white + 0.45 * span) & (depth > SCALP_MM)
    tissue = ndimage.gaussian_filter(tissue.astype(np.float32), 0.6) > 0.5
    kernel = _largest(_distance_mm(tissue) > OPENING_MM, core)
    opened = _grown(kernel, OPENING_MM + GRID_MM / 2) & tissue
    return _filled(_closed(opened, CLOSING_MM))


def _with_sulci_of_the_vault(brain: Mask, below: Array) -> Mask:
    """Close widely over sulci and falx where no orbit is near, high up under the vault."""
    vault = below < VAULT_HEIGHT_MM
    return np.asarray(brain | (_closed(brain & vault, VAULT_CLOSING_MM) & vault))


def _closed(mask: Mask, by_mm: float) -> Mask:
    margin = int(np.ceil(by_mm / GRID_MM)) + 1
    inner = slice(margin, -margin)
    grown = _grown(np.pad(mask, margin), by_mm)
    return np.asarray((_distance_mm(grown) > by_mm)[inner, inner, inner])


def _tissue_level(coarse: Array, inside: Mask, fluid: float) -> Array:
    """Smooth the tissue, without fluid and without what enhances, by normalised convolution in two passes."""
    signal = coarse - fluid
    tissue = inside & (coarse > np.percentile(coarse[inside], 35))
    level = np.full_like(coarse, np.median(signal[tissue]))
    for sigma_mm in FIELD_SIGMAS_MM:
        ratio = signal / np.maximum(level, 1e-6)
        kept = tissue & (ratio < np.percentile(ratio[tissue], 95))
        weight = _smoothed(kept.astype(np.float32), sigma_mm)
        smooth = _smoothed(np.where(kept, signal, 0).astype(np.float32), sigma_mm)
        level = np.where(weight > 1e-3, smooth / np.maximum(weight, 1e-3), level)
    return np.asarray(level + fluid, dtype=np.float32)


def _smoothed(array: Array, sigma_mm: float) -> Array:
    """Smooth by Deriche's recursive Gaussian, whose cost does not grow with its width."""
    smooth = sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(array), sigma_mm / GRID_MM)
    return np.asarray(sitk.GetArrayFromImage(smooth))


def _distance_mm(mask: Mask) -> Array:
    """Return the distance to the outside, where the border of the image counts as outside."""
    inward = _signed_distance_mm(np.pad(mask, 1))[1:-1, 1:-1, 1:-1]
    return np.where(mask, inward + GRID_MM, 0).astype(np.float32)


def _grown(mask: Mask, by_mm: float) -> Mask:
    return np.asarray(_signed_distance_mm(mask) >= -by_mm) if mask.any() else mask


def _signed_distance_mm(mask: Mask) -> Array:
    """Return the distance to the outermost voxels of the mask, positive inside (Maurer's transform)."""
    distance = sitk.SignedMaurerDistanceMap(
        sitk.GetImageFromArray(mask.astype(np.uint8)), insideIsPositive=True, squaredDistance=False
    )
    return np.asarray(sitk.GetArrayFromImage(distance) * GRID_MM, dtype=np.float32)


def _largest(mask: Mask, within: Mask | None = None) -> Mask:
    """Return the component with most voxels (within another mask)."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    counted = labels if within is None else labels[within]
    sizes = np.bincount(counted.ravel(), minlength=count + 1)
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def _filled(mask: Mask) -> Mask:
    """Fill holes plane by plane along each axis: airways and sinuses open outwards in 3D, not in each plane."""
    for axis in range(3):
        planes = np.moveaxis(mask, axis, 0)
        mask = np.moveaxis(np.stack([ndimage.binary_fill_holes(plane) for plane in planes]), 0, axis)
    return mask


def _below_vertex_mm(head: Mask) -> Array:
    """Return how far each voxel lies below the top of the head, (z, y, x)."""
    top = int(np.flatnonzero(head.sum((1, 2)) > 50).max(initial=0))
    below = (top - np.arange(head.shape[0], dtype=np.float32)) * GRID_MM
    return np.broadcast_to(below[:, None, None], head.shape)
