"""What a network is told of a voxel: its class; or no more than that it is lesion, or that it is none; or nothing.

A data set that outlines whole lesions does not tell enhancing tissue from necrosis, one without edema calls edema
background. A network with these classes is then told what is known, and never that the unlabelled is background.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from inference.labels import class_of_tissue, lesion_classes
from tracking.timepoint import Tissue

# A tissue volume holds a `Tissue`, or from here on a set: bit n of the rest is set where `Tissue` n is possible.
OPEN: Final = 1 << len(Tissue)
# Beside the classes, counted from 0: a lesion, or no lesion, of which the class is not known; and nothing known.
SOME_LESION: Final = -1
NO_LESION: Final = -2
UNKNOWN: Final = -3


def told(labels: Sequence[str]) -> Tensor:
    """Return what a network with these classes is told, by the value of a tissue volume; int64 (2 `OPEN`,)."""
    class_of, lesion = class_of_tissue(labels), set(lesion_classes(labels))
    certain = [class_of[tissue] for tissue in Tissue] + [UNKNOWN] * (OPEN - len(Tissue))
    sets = [{class_of[tissue] for tissue in Tissue if bits >> tissue & 1} for bits in range(OPEN)]
    return torch.tensor(certain + [_told_of(classes, lesion) for classes in sets])


def _told_of(classes: set[int], lesion: set[int]) -> int:
    if len(classes) == 1:
        return min(classes)
    if classes <= lesion and classes:
        return SOME_LESION
    return UNKNOWN if classes & lesion or not lesion or not classes else NO_LESION
