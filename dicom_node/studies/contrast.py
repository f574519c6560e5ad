"""Whether contrast agent was given, told from pixels: vessels, plexus and veins of the brain outshine white matter.

Nothing inside the brain is brighter than white matter on a plain T1 image but blood products, melanin, fat and inflow;
after gadolinium many small things are. The share of such voxels in the inner brain is the evidence; two series of one
study are compared voxel by voxel. Both are measured on real studies by ``benchmarks/contrast_from_pixels.py``.
"""

from dataclasses import dataclass

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy import ndimage

from dicom_node.studies.brain_region import NoBrainError, find_brain_region, sample_at
from tracking.geometry import resample_like

ABOVE_WHITE = 0.5
RATIO_TO_WHITE = 1.3
EDGE_MM = 6.0
SMALLEST_SHARE = 1e-4

# Logistic regression on log10 of the share, fitted by benchmarks/contrast_from_pixels.py on 61 T1 with and 23 without.
SHARE_AT_EVEN_ODDS = 0.0015
LOG_ODDS_PER_DECADE = 6.0
LOG_ODDS_LIMIT = 4.0

PAIR_STEP = 0.4
PAIR_MINIMUM_SHARE = 3e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class Brightness:
    """Intensities of the inner brain on a scale where fluid is −1 and white matter 0, free of coil sensitivity.

    Attributes
    ----------
    scaled
        float32 volume, cropped to the inner brain; only meaningful inside ``inside``.
    inside
        Boolean array (i, j, k) of the same shape: the inner brain.
    bright_share
        Share of the inner brain that lies in small islands clearly brighter than white matter.
    depth_contrast
        How much brighter the depth of the brain (white matter) is than its rim (grey matter); about 0 or less when the
        image is not T1-weighted.
    """

    scaled: Volume
    inside: NDArray[np.bool_]
    bright_share: float
    depth_contrast: float

    @property
    def log_odds(self) -> float:
        """Natural log odds for contrast agent against none, from this image alone, limited to ±4."""
        decades = np.log10(max(self.bright_share, SMALLEST_SHARE) / SHARE_AT_EVEN_ODDS)
        return float(np.clip(LOG_ODDS_PER_DECADE * decades, -LOG_ODDS_LIMIT, LOG_ODDS_LIMIT))


def measure_brightness(volume: Volume) -> Brightness:
    """Scale a T1-weighted head and measure how much of the inner brain outshines white matter.

    A voxel counts when it exceeds white matter by half of the step from fluid to white matter and, where the background
    is dark, is 1.3 times as bright. Islands that reach the rim of the brain do not count: they may be fat.

    Parameters
    ----------
    volume
        T1-weighted head, (i, j, k) in LPS mm, any intensity scale and offset.

    Raises
    ------
    NoBrainError
        There is no plausible head or brain in the image.
    """
    found = find_brain_region(volume)
    inside, volume = _crop(sample_at(found.region, volume) > 0.5, volume)
    depth_mm = sample_at(found.depth_mm, volume)
    floor = found.fluid + 0.3 * (found.white - found.fluid)
    level = np.maximum(sample_at(found.level, volume), floor) - found.fluid
    relative = (volume.array.astype(np.float32) - found.fluid) / level
    white = float(np.percentile(relative[inside], 75))
    scaled = (relative / white - 1).astype(np.float32)
    bright = inside & (scaled > ABOVE_WHITE)
    if found.background < floor:
        local_white = found.fluid + level * white
        bright &= volume.array - found.background > RATIO_TO_WHITE * (local_white - found.background)
    counted = _away_from(bright, bright & (depth_mm < EDGE_MM))
    return Brightness(
        scaled=volume.with_array(scaled),
        inside=inside,
        bright_share=float(counted.sum() / inside.sum()),
        depth_contrast=_depth_contrast(scaled[inside], depth_mm[inside]),
    )


def _crop(inside: NDArray[np.bool_], volume: Volume) -> tuple[NDArray[np.bool_], Volume]:
    if not inside.any():
        raise NoBrainError("the inner brain lies between the slices of the image")
    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    return inside[box], volume[box]


def _away_from(mask: NDArray[np.bool_], rim: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the components of a mask that have no voxel in the rim."""
    labels, _ = ndimage.label(mask)
    return np.asarray(mask & ~np.isin(labels, np.unique(labels[rim])))


def _depth_contrast(scaled: NDArray[np.float32], depth_mm: NDArray[np.float32]) -> float:
    shallow, deep = np.percentile(depth_mm, [30, 70])
    return float(np.median(scaled[depth_mm >= deep]) - np.median(scaled[depth_mm <= shallow]))


def compare_brightness(first: Brightness, second: Brightness) -> float:
    """Return log odds that the first of two series of one study has contrast agent and the second has not.

    Voxels that are brighter in one series than in the other by more than 0.4 of the scale (and than white matter) are
    counted both ways: motion makes as many one way as the other, contrast agent does not.

    Parameters
    ----------
    first, second
        Two T1-weighted series in the same frame of reference.

    Returns
    -------
    float
        Natural log odds limited to ±4; about 0 when both have it, or neither.
    """
    inside = second.scaled.with_array(second.inside.astype(np.float32))
    both = first.inside & (resample_like(inside, first.scaled).array > 0.99)
    if not both.any():
        return 0.0
    mine = first.scaled.array[both]
    other = resample_like(second.scaled, first.scaled).array[both]
    gained = float(((mine - other > PAIR_STEP) & (mine > PAIR_STEP / 2)).mean())
    lost = float(((other - mine > PAIR_STEP) & (other > PAIR_STEP / 2)).mean())
    ratio = np.log((gained + PAIR_MINIMUM_SHARE) / (lost + PAIR_MINIMUM_SHARE))
    return float(np.clip(2 * ratio, -LOG_ODDS_LIMIT, LOG_ODDS_LIMIT))
