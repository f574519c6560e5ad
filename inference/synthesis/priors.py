"""What a follow-up's network is told of the prior study: masks as registration would bring them, often wrong.

A fictitious prior [CHUV re-segmentation] is made from the truth of one study alone: lesions were smaller or larger,
lie a little aside, were not there, or are gone. A network that is trained with them learns how far to trust a prior.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Generator

from inference.synthesis import chance

NEW = 0.25
GONE = 0.3
GROWTH = 0.3
OUTLINE_MM = 0.7
SHIFT_MM = 1.0
POORLY_REGISTERED = 0.3
LARGEST_SHIFT_MM = 6.0
LARGEST_CHANGE_MM = (-3.0, 6.0)
REACH = 8


def fictitious_prior(
    lesions: NDArray[np.int16], brain: NDArray[np.bool_], *, generator: Generator
) -> NDArray[np.bool_]:
    """Return a mask of earlier lesions for a region whose current lesions are known.

    Parameters
    ----------
    lesions
        int (i, j, k), 1 mm voxels: 0 background, n lesion.
    brain
        bool (i, j, k): where lesions that are gone may have been.
    generator
        Source of every random choice.

    Returns
    -------
    NDArray
        bool (i, j, k). A quarter of the lesions are new and not in it; the others had a radius that differs by a
        factor exp(N(0, 0.3)) (so ln V changes by N(0, 0.9)) within -3 to 6 mm, and lie aside by 1 mm, some up to 6 mm.
    """
    prior = np.zeros(lesions.shape, bool)
    shift_mm = SHIFT_MM if not chance.happens(generator, POORLY_REGISTERED) else LARGEST_SHIFT_MM / 2
    for number, box in enumerate(ndimage.find_objects(lesions), start=1):
        if box is None or chance.happens(generator, NEW):
            continue
        around = tuple(
            slice(max(0, s.start - REACH), min(size, s.stop + REACH))
            for s, size in zip(box, lesions.shape, strict=True)
        )
        prior[around] |= _earlier(lesions[around] == number, shift_mm, generator)
    if chance.happens(generator, GONE):
        _add_gone(prior, brain & (lesions == 0), generator)
    return prior


def _earlier(lesion: NDArray[np.bool_], shift_mm: float, generator: Generator) -> NDArray[np.bool_]:
    """Return one lesion as it may have been: grown or shrunken, moved."""
    radius = float(np.cbrt(3 * lesion.sum() / (4 * np.pi)))
    change = radius * (np.exp(GROWTH * chance.normal(generator)) - 1) + OUTLINE_MM * chance.normal(generator)
    change = float(np.clip(change, *LARGEST_CHANGE_MM))
    distance = ndimage.distance_transform_edt(~lesion) - ndimage.distance_transform_edt(lesion)
    change = max(change, float(distance.min()) + 0.5)  # something is left of it
    moved = [_clipped(round(shift_mm * chance.normal(generator))) for _ in range(3)]
    return np.asarray(ndimage.shift(distance <= change, moved, order=0, prefilter=False))


def _clipped(shift: int) -> int:
    return int(np.clip(shift, -LARGEST_SHIFT_MM, LARGEST_SHIFT_MM))


def _add_gone(prior: NDArray[np.bool_], free: NDArray[np.bool_], generator: Generator) -> None:
    """Add one to three balls where nothing is today, in place."""
    places = np.argwhere(free)
    if not len(places):
        return
    for _ in range(chance.whole(generator, 1, 3)):
        centre = places[chance.whole(generator, 0, len(places) - 1)]
        radius = chance.log_uniform(generator, 1.2, 7.0)
        prior[_ball(prior.shape, centre, radius)] = True


def _ball(shape: Sequence[int], centre: NDArray[np.int64], radius: float) -> NDArray[np.bool_]:
    axes = np.ogrid[tuple(slice(0, size) for size in shape)]
    squared = sum((axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True))
    return np.asarray(squared <= radius**2)
