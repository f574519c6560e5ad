"""One pass over a label volume finds every lesion's box; all measures look only inside it."""

from collections.abc import Iterator
from dataclasses import dataclass

import cc3d
import numpy as np
from highdicom import Volume
from numpy.typing import NDArray

from tracking.lesion import Point

Box = tuple[slice, slice, slice]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledBox:
    """The smallest box of voxels around one lesion.

    Attributes
    ----------
    box
        Its place in the label volume (i, j, k).
    mask
        bool, the lesion's voxels within the box.
    centroid_mm
        Centre of mass, LPS mm.
    """

    number: int
    box: Box
    mask: NDArray[np.bool_]
    centroid_mm: Point

    @property
    def corner(self) -> NDArray[np.int64]:
        """Index (i, j, k) of the box's first voxel in the label volume."""
        return np.array([side.start for side in self.box], np.int64)


def labelled_boxes(labels: Volume) -> Iterator[LabelledBox]:
    """Yield the lesions of a label volume in order of their numbers; numbers without a voxel are left out."""
    # cc3d reads unsigned integers only.
    statistics = cc3d.statistics(np.ascontiguousarray(labels.array).astype(np.uint32, copy=False))
    for number in np.flatnonzero(statistics["voxel_counts"]).tolist():
        if number:
            box = statistics["bounding_boxes"][number]
            yield LabelledBox(
                number=number,
                box=box,
                mask=labels.array[box] == number,
                centroid_mm=to_patient(labels.affine, statistics["centroids"][number]),
            )


def to_patient(affine: FloatArray, index: FloatArray) -> Point:
    """Return the LPS point (mm) of an index (i, j, k)."""
    x, y, z = affine[:3, :3] @ index + affine[:3, 3]
    return float(x), float(y), float(z)


def check_labels(labels: Volume) -> None:
    """Refuse what is not a label volume.

    Raises
    ------
    ValueError
        If the array does not hold integers, or numbers that no counting of lesions gives.
    """
    if not np.issubdtype(labels.array.dtype, np.integer):
        raise ValueError(f"Lesion labels must be integers, but their type is {labels.array.dtype}.")
    if labels.array.min(initial=0) < 0:
        raise ValueError(f"Lesion numbers start at 1, but {labels.array.min()} was found; renumber from 1.")
    if labels.array.max(initial=0) >= labels.array.size:
        raise ValueError(f"Lesion number {labels.array.max()} is larger than the number of voxels; renumber from 1.")


def same_grid(volume: Volume, labels: Volume, name: str) -> None:
    """Refuse a volume on another grid than the labels; ``name`` (plural) is used in the message.

    Raises
    ------
    ValueError
        If the two grids differ.
    """
    if not volume.geometry_equal(labels):
        raise ValueError(f"{name} must lie on the grid of the lesion labels; resample them first.")
