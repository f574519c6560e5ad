"""What a label value says about a voxel: the tissues that it may be. What a data set does not label stays possible.

Volumes of possibilities are uint8: bit n is set where `Tissue` n is possible; nothing known is every possibility. What
the values mean is said in `inference.label_schemes`.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.label_schemes import ANY, ENHANCING, NECROSIS, LabelScheme
from inference.labels import LESION
from tracking.timepoint import Tissue

Possible = NDArray[np.uint8]

RIM_GAP_MM = 3.0


def bits(tissues: Iterable[Tissue]) -> int:
    """Return the number whose bit n is set for every tissue n."""
    return sum(1 << tissue for tissue in set(tissues))


NOTHING_KNOWN = bits(ANY)


def possible_tissues(
    labels: NDArray[Any], scheme: LabelScheme, *, spacing_mm: tuple[float, float, float], source: str
) -> Possible:
    """Translate a label array into the tissues that each voxel may be.

    Necrosis that a data set does not label lies within the rims that it does: only what an outline encloses, or nearly
    encloses, may be necrosis; the rest of the background is none.

    Parameters
    ----------
    labels
        Values of the data set, (i, j, k); floating point is taken where all values are whole.
    scheme
        What they mean.
    spacing_mm
        Of the voxels.
    source
        The file, for messages.

    Raises
    ------
    ValueError
        A value has no meaning in the scheme, or is no whole number; the message names file and value.
    """
    values, places = np.unique(labels, return_inverse=True)
    scheme.check(values, source=source)
    table = np.array([bits(scheme.meaning[int(value)]) for value in values], np.uint8)
    possible: Possible = table[places].reshape(labels.shape)
    if Tissue.NECROSIS in scheme.meaning[0]:
        outlined = possible == bits(ENHANCING)
        elsewhere = ~(outlined | enclosed(outlined, spacing_mm=spacing_mm))
        possible[elsewhere] &= NOTHING_KNOWN & ~bits(NECROSIS)
    return possible


def enclosed(rims: NDArray[np.bool_], *, spacing_mm: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Return what lies within rims in any plane of the array; gaps of up to twice 3 mm count as closed."""
    inside = np.zeros_like(rims)
    if not rims.any():
        return inside
    reach = [int(np.ceil(RIM_GAP_MM / step)) + 1 for step in spacing_mm]
    box = tuple(
        slice(max(0, p.start - r), p.stop + r)
        for p, r in zip(ndimage.find_objects(rims.astype(np.uint8))[0], reach, strict=True)
    )
    part = np.pad(rims[box], [(r, r) for r in reach])  # so that closing never meets the edge
    near = ndimage.distance_transform_edt(~part, sampling=spacing_mm) <= RIM_GAP_MM
    closed = ndimage.distance_transform_edt(near, sampling=spacing_mm) > RIM_GAP_MM
    filled = closed | part
    for axis in range(3):  # what is enclosed in space is so in every plane
        plane = ndimage.generate_binary_structure(3, 1)
        plane[tuple(slice(None) if n != axis else [0, 2] for n in range(3))] = False
        filled = filled | ndimage.binary_fill_holes(closed | part, structure=plane)
    inner = tuple(slice(r, -r) for r in reach)
    inside[box] = filled[inner] & ~rims[box]
    return inside


class Target(StrEnum):
    """What a network is taught.

    ``LESION`` asks lesion or not, as the STT network does; every scheme answers it. ``TISSUE`` asks for the `Tissue`.
    """

    LESION = "lesion"
    TISSUE = "tissue"


def target_of(possible: Possible, target: Target) -> tuple[Possible, NDArray[np.bool_]]:
    """Return the label that a network is taught, and where it is known.

    Returns
    -------
    tuple
        uint8 labels, 0 where nothing is known: 1 for lesion, or the `Tissue`; and a mask of the voxels that are
        certain. Of a lesion of unknown tissue, the lesion is certain and the tissue is not.
    """
    if target is Target.LESION:
        lesion, other = bits(LESION), NOTHING_KNOWN & ~bits(LESION)
        inside, outside = (possible & other) == 0, (possible & lesion) == 0
        return inside.astype(np.uint8), inside | outside
    labels = np.zeros_like(possible)
    known = np.zeros(possible.shape, bool)
    for tissue in Tissue:
        certain = possible == bits([tissue])
        labels[certain] = tissue
        known |= certain
    return labels, known
