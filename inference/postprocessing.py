"""From a probability map to numbered lesions: what is a lesion is decided here, on the native grid."""

from dataclasses import dataclass
from typing import Any, Final

import cc3d
import fill_voids
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.confidence import Confidence, Spacing, confidence_of, elongations
from inference.tissue_model import ModelDescription

CONNECTIVITY: Final = 26
BRAIN_TOLERANCE_MM = 3.0
SHARE_IN_BRAIN = 0.5
# 35 real metastases of 10 mm³ and more (the BraTS-MET sample cases) reach 1.99; half of the vessels exceed 2.
LARGEST_ELONGATION = 2.25
KNOWN_REACH_MM = 2.0
SHARE_AT_KNOWN_PLACE = 0.3


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What counts as a lesion.

    Attributes
    ----------
    threshold
        Probability from which a voxel belongs to a lesion.
    least_confidence
        Components of which the model is less sure are dropped.
    minimum_volume_mm3
        Smaller components are dropped.
    confidence
        How sure the model is of a component; see `inference.confidence.confidence_of`.
    """

    threshold: float
    least_confidence: float
    minimum_volume_mm3: float
    confidence: Confidence | None = None

    @classmethod
    def of(cls, manifest: ModelDescription) -> "OperatingPoint":
        """Return the operating point that a model's manifest names."""
        return cls(
            threshold=manifest.threshold,
            least_confidence=manifest.least_confidence,
            minimum_volume_mm3=manifest.minimum_volume_mm3,
            confidence=manifest.confidence,
        )


def find_lesions(
    probability: NDArray[np.float32],
    brain: NDArray[np.bool_],
    *,
    point: OperatingPoint,
    spacing_mm: Spacing,
    known: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint16]:
    """Return numbered lesions, largest first.

    Parameters
    ----------
    probability
        Probability of lesion (slice, row, column).
    brain
        Brain mask, same shape.
    point
        What counts as a lesion.
    spacing_mm
        Distance of voxel centres (slice, row, column).
    known
        Where lesions are known from before, same shape. A region of which a good part lies there, or within
        ``KNOWN_REACH_MM``, need neither reach the least confidence nor look unlike a vessel: what was a lesion is
        one until nothing is left of it.

    Returns
    -------
    NDArray
        uint16, same shape: 0 background, n the lesion with the n-th largest volume (26-connected, without holes).
    """
    components = _regions(probability, brain, threshold=point.threshold, spacing_mm=spacing_mm)
    counts = np.bincount(components.ravel())
    sureness = confidence_of(components, probability, spacing_mm=spacing_mm, how=point.confidence)
    sure = (sureness >= point.least_confidence) & (elongations(components, spacing_mm) <= LARGEST_ELONGATION)
    if known is not None:
        sure |= _at_known_places(components, known, spacing_mm)
    keep = sure & (counts * np.prod(spacing_mm) >= point.minimum_volume_mm3)
    keep[0] = False
    order = [number for number in np.argsort(-counts, kind="stable") if keep[number]]
    table = np.zeros(len(counts), np.uint16)
    table[order] = np.arange(1, len(order) + 1)
    numbered: NDArray[np.uint16] = table[components]
    return numbered


def candidates(
    probability: NDArray[np.float32], brain: NDArray[np.bool_], *, threshold: float, spacing_mm: Spacing
) -> NDArray[Any]:
    """Return the 26-connected regions that may be lesions, numbered from 1 in no particular order.

    A region lies no farther than ``BRAIN_TOLERANCE_MM`` from the brain, and at least ``SHARE_IN_BRAIN`` of it lies in
    the brain mask itself: the mask may cut a lesion at the surface, but what is mostly outside is a sinus or dura.
    It is no more than ``LARGEST_ELONGATION`` times as long as broad: longer ones are vessels.
    """
    components = _regions(probability, brain, threshold=threshold, spacing_mm=spacing_mm)
    keep = elongations(components, spacing_mm) <= LARGEST_ELONGATION
    return np.asarray(np.where(keep[components], components, 0))


def _regions(
    probability: NDArray[np.float32], brain: NDArray[np.bool_], *, threshold: float, spacing_mm: Spacing
) -> NDArray[Any]:
    """Return the 26-connected regions above the threshold in and at the brain, whatever their shape."""
    mask = filled((probability >= threshold) & surroundings(brain, spacing_mm, BRAIN_TOLERANCE_MM))
    components: NDArray[Any] = cc3d.connected_components(mask, connectivity=CONNECTIVITY)
    counts = np.bincount(components.ravel())
    inside = np.bincount(components[brain], minlength=len(counts))
    return np.asarray(np.where((inside >= SHARE_IN_BRAIN * counts)[components], components, 0))


def _at_known_places(components: NDArray[Any], known: NDArray[np.bool_], spacing_mm: Spacing) -> NDArray[np.bool_]:
    """Tell for every component whether a good part of it lies where a lesion was known."""
    counts = np.bincount(components.ravel())
    near = surroundings(known, spacing_mm, KNOWN_REACH_MM)
    shared = np.bincount(components[near], minlength=len(counts))
    return np.asarray(shared >= SHARE_AT_KNOWN_PLACE * counts)


def filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill holes in three dimensions and slice by slice, so that a ring keeps its necrosis where slices cut it open.

    Parameters
    ----------
    mask
        bool (slice, row, column).
    """
    result: NDArray[Any] = np.array(fill_voids.fill(np.asfortranarray(mask)), dtype=bool)
    for index in np.flatnonzero(result.any(axis=(1, 2))):
        result[index] = fill_voids.fill(np.asfortranarray(result[index]))
    return result


def surroundings(mask: NDArray[np.bool_], spacing_mm: Spacing, reach_mm: float) -> NDArray[np.bool_]:
    """Return the mask grown by ``reach_mm``, rounded to voxels."""
    radius = [int(reach_mm / spacing + 0.5) for spacing in spacing_mm]
    grid = np.meshgrid(*(np.arange(-r, r + 1) * s for r, s in zip(radius, spacing_mm, strict=True)), indexing="ij")
    ball = sum(axis**2 for axis in grid) <= (reach_mm + 0.5) ** 2
    return np.asarray(ndimage.binary_dilation(mask, structure=ball), bool)
