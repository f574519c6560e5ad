"""What a label value says about a voxel: the tissues that it may be. What a data set does not label stays possible.

A label that tells tissues apart leaves one possibility. One that outlines whole lesions leaves two, enhancing or
necrosis: a lesion, tissue unknown. A background that was drawn without edema may be edema. Nothing known is every
possibility. Volumes of possibilities are uint8: bit n is set where
`Tissue` n is possible.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tracking.timepoint import Tissue

Possible = NDArray[np.uint8]

LESION = frozenset({Tissue.ENHANCING, Tissue.NECROSIS})
ANY = frozenset(Tissue)
RIM_GAP_MM = 3.0


def bits(tissues: Iterable[Tissue]) -> int:
    """Return the number whose bit n is set for every tissue n."""
    return sum(1 << tissue for tissue in set(tissues))


NOTHING_KNOWN = bits(ANY)


@dataclass(frozen=True, kw_only=True)
class LabelScheme:
    """The label values of one data set.

    Attributes
    ----------
    name
        For messages.
    meaning
        Tissues that a voxel of each value may be; 0 is always among the values.
    """

    name: str
    meaning: Mapping[int, frozenset[Tissue]]

    def __post_init__(self) -> None:
        empty = [value for value, tissues in self.meaning.items() if not tissues]
        if 0 not in self.meaning or empty:
            what = f"the values {empty} mean no tissue" if empty else "the value 0 has no meaning"
            raise ValueError(f"In the labels of {self.name}, {what}; give what each value may be.")

    @property
    def labelled_tissues(self) -> frozenset[Tissue]:
        """Tissues that were outlined wherever they were seen: background is certainly none of them."""
        return ANY - self.meaning[0] - {Tissue.BACKGROUND}


def _only(tissue: Tissue) -> frozenset[Tissue]:
    return frozenset({tissue})


BACKGROUND, ENHANCING = _only(Tissue.BACKGROUND), _only(Tissue.ENHANCING)
NECROSIS, EDEMA = _only(Tissue.NECROSIS), _only(Tissue.EDEMA)

# The walls of a resection cavity may enhance with or without tumour: nothing is taught there.
BRATS_METS = LabelScheme(name="BraTS-METS", meaning={0: BACKGROUND, 1: NECROSIS, 2: EDEMA, 3: ENHANCING, 4: ANY})
BRATS_2021 = LabelScheme(name="BraTS 2021", meaning={0: BACKGROUND, 1: NECROSIS, 2: EDEMA, 4: ENHANCING})
YALE = LabelScheme(name="Yale pretreatment metastases", meaning={0: BACKGROUND, 1: NECROSIS, 2: EDEMA, 3: ENHANCING})
CHUV = LabelScheme(name="CHUV", meaning={0: BACKGROUND, 1: ENHANCING, 2: EDEMA, 3: NECROSIS})
WHOLE_LESION = LabelScheme(name="whole lesions in one class", meaning={0: BACKGROUND | EDEMA, 1: LESION})
ENHANCING_ALONE = LabelScheme(name="enhancing tissue alone", meaning={0: BACKGROUND | EDEMA | NECROSIS, 1: ENHANCING})
# Masks stored as pictures hold 255 where NIfTI holds 1.
BRAINMETSHARE = LabelScheme(name="BrainMetShare", meaning={0: BACKGROUND | EDEMA, 1: LESION, 255: LESION})
OURS = LabelScheme(name="brainmets-dicom-node", meaning={int(tissue): _only(tissue) for tissue in Tissue})


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
    strange = [value for value in values.tolist() if value not in scheme.meaning]
    if strange:
        shown = ", ".join(f"{value:g}" for value in strange[:5]) + (", …" if len(strange) > 5 else "")
        known = ", ".join(map(str, sorted(scheme.meaning)))
        raise ValueError(
            f"{source} has the label {shown}, which means nothing in {scheme.name} ({known}): is it of another data "
            "set, or was it interpolated?"
        )
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
