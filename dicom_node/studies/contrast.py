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

ABOVE_WHITE = 0.35
RATIO_TO_WHITE = 1.25
PEAK_RATIO_TO_WHITE = 1.45
RATIO_PER_STEP = 0.55  # where the background is not dark, the ratio is taken from the step between fluid and white
RIM_MM = 5.0
RIM_SHARE = 4e-4
SMALLEST_SHARE = 3e-5

# Logistic regression on log10 of the share, fitted by benchmarks/contrast_from_pixels.py on 61 T1 with and 23 without:
# area under the ROC curve .990; with each centre left out, 4 of 84 on the wrong side and none of them clearly.
SHARE_AT_EVEN_ODDS = 4.7e-4
LOG_ODDS_PER_DECADE = 6.9
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
        Share of the inner brain that lies in islands clearly brighter than white matter.
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

    An island counts when it is 1.25 times as bright as the white matter around it and 1.45 times at its peak. Islands
    that reach the rim of the brain may be fat, so together they count 0.04 % at most.

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
    ratio = 1 + RATIO_PER_STEP * scaled
    if found.background < floor:
        local_white = found.fluid + level * white
        ratio = (volume.array - found.background) / np.maximum(local_white - found.background, 1e-6)
    return Brightness(
        scaled=volume.with_array(scaled),
        inside=inside,
        bright_share=_bright_share(scaled, ratio, inside, inside & (depth_mm < RIM_MM)),
        depth_contrast=_depth_contrast(scaled[inside], depth_mm[inside]),
    )


def _crop(inside: NDArray[np.bool_], volume: Volume) -> tuple[NDArray[np.bool_], Volume]:
    if not inside.any():
        raise NoBrainError("the inner brain lies between the slices of the image")
    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    return inside[box], volume[box]


def _bright_share(
    scaled: NDArray[np.float32], ratio: NDArray[np.float32], inside: NDArray[np.bool_], rim: NDArray[np.bool_]
) -> float:
    labels, count = ndimage.label(inside & (scaled > ABOVE_WHITE) & (ratio > RATIO_TO_WHITE))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    peaked, at_rim = np.zeros(count + 1, bool), np.zeros(count + 1, bool)
    peaked[labels[ratio > PEAK_RATIO_TO_WHITE]] = True
    at_rim[labels[rim]] = True
    peaked[0] = False
    inner, outer = sizes[peaked & ~at_rim].sum() / inside.sum(), sizes[peaked & at_rim].sum() / inside.sum()
    return float(inner + min(outer, RIM_SHARE))


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
