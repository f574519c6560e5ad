"""What the classes of a network mean: the one place where label names and tissues meet."""

from collections.abc import Sequence
from typing import Final

from tracking.timepoint import Tissue

LESION: Final = frozenset({Tissue.ENHANCING, Tissue.NECROSIS})
TISSUES_OF_LABEL: Final[dict[str, tuple[Tissue, ...]]] = {
    "background": (Tissue.BACKGROUND,),
    "enhancing": (Tissue.ENHANCING,),
    "necrosis": (Tissue.NECROSIS,),
    "edema": (Tissue.EDEMA,),
    "lesion": (Tissue.ENHANCING, Tissue.NECROSIS),
}


def check_labels(labels: Sequence[str]) -> None:
    """Check the names of a network's classes.

    Raises
    ------
    ValueError
        If the first is not ``background``, one is unknown or twice there, or none is of a lesion or edema.
    """
    unknown = sorted(set(labels) - set(TISSUES_OF_LABEL))
    if unknown or len(set(labels)) != len(labels) or len(labels) < 2 or labels[0] != "background":
        raise ValueError(
            f"labels {tuple(labels)}: the first must be background, the others different ones of "
            f"{', '.join(name for name in TISSUES_OF_LABEL if name != 'background')}"
        )


def lesion_classes(labels: Sequence[str]) -> list[int]:
    """Return the classes that are lesion: enhancing tissue and necrosis, but not edema."""
    return [n for n, label in enumerate(labels) if LESION.intersection(TISSUES_OF_LABEL[label])]


def class_of_tissue(labels: Sequence[str]) -> list[int]:
    """Return the class of each `Tissue`, by its value; what no class stands for belongs to the background, class 0."""
    classes = [0] * len(Tissue)
    for index, label in enumerate(labels):
        for tissue in TISSUES_OF_LABEL[label]:
            classes[tissue] = index
    return classes
