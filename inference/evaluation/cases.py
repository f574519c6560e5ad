"""Test cases that nobody's training has seen: held-out heads with lesions drawn from fixed seeds."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy import ndimage
from torch import Generator

from inference.synthesis.training_heads import TrainingHead
from inference.training.heads import HeadSource, validation_heads, validation_label_maps
from tracking.geometry import resample_like
from tracking.timepoint import MRSequence, Timepoint

# Array axes i, j, k towards head, back and left (inference.preprocessing.ORIENTATION), 1 mm voxels, in LPS mm.
AFFINE = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=float)
# Where the first slice of a scan begins, in voxels of the scan: no scanner meets the grid of a network.
SCAN_OFFSET = (0.3, 0.4, 0.4)


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A head with known lesions.

    Attributes
    ----------
    name
        Source and number of the draw.
    kind
        ``"real head"`` or ``"label map"``.
    number, draw
        Which head, and which draw of lesions, from 0.
    image, brain
        Volumes on one grid: 1 mm cubic voxels, or that of `scanned`.
    lesions
        int16: 0 background, n lesion; 1 mm cubic voxels.
    ignore
        bool: where nothing is known; likewise.
    """

    name: str
    kind: str
    number: int
    draw: int
    image: Volume
    brain: Volume
    lesions: NDArray[np.int16]
    ignore: NDArray[np.bool_]

    @property
    def timepoint(self) -> Timepoint:
        """The case as a study."""
        return Timepoint(
            study_uid=self.name, study_date=date.min, images={MRSequence.T1C: self.image}, brain=self.brain
        )


def scanned(case: Case, slices_mm: int) -> Case:
    """Return a case as a scanner with thick slices would show it; the truth stays on the grid of 1 mm.

    Parameters
    ----------
    case
        On cubic voxels of 1 mm.
    slices_mm
        Thickness of the slices, which leave no gap, towards the head; voxels stay 1 mm wide in the plane.
    """
    averages = ndimage.uniform_filter1d(case.image.array.astype(np.float32), slices_mm, axis=0, mode="nearest")
    centres = AFFINE.copy()
    if slices_mm % 2 == 0:  # the average of voxels 0 and 1 stands at voxel 1
        centres[:3, 3] -= AFFINE[:3, 0] / 2
    affine = AFFINE.copy()
    affine[:3, 0] *= slices_mm
    affine[:3, 3] = affine[:3, :3] @ SCAN_OFFSET
    count, rows, columns = case.image.spatial_shape
    empty = Volume(np.zeros((count // slices_mm, rows - 1, columns - 1), np.uint8), affine, "PATIENT")
    return replace(
        case,
        image=resample_like(Volume(averages, centres, "PATIENT"), empty, interpolation="linear"),
        brain=resample_like(case.brain, empty, interpolation="nearest"),
    )


def on_grid_of_truth(volume: Volume, case: Case) -> NDArray[Any]:
    """Return the nearest voxels of a volume for each voxel of the truth."""
    truth = Volume(case.lesions, AFFINE, "PATIENT")
    return np.asarray(resample_like(volume, truth, interpolation="nearest").array)


@dataclass(frozen=True, kw_only=True)
class CaseRecipe:
    """How to make a case: small enough to hand to another process.

    Attributes
    ----------
    name
        The held-out head.
    kind
        ``"real head"`` or ``"label map"``.
    source
        Where the head comes from.
    number, draw
        Number of the head and of the draw of lesions: together they are the seed.
    """

    name: str
    kind: str
    source: HeadSource
    number: int
    draw: int

    def make(self) -> Case:
        """Return the case, always the same."""
        (head,) = self.source.make(Generator().manual_seed(7_000_000 + 1000 * self.draw + self.number))
        return case_of(head, self)


def held_out_cases(data: Path, *, draws: Iterable[int]) -> list[CaseRecipe]:
    """Return every held-out head once per draw of lesions.

    Parameters
    ----------
    data
        Folder with ``heads/`` and ``label_maps/``.
    draws
        Numbers of the draws of lesions.
    """
    heads: list[tuple[str, str, HeadSource]] = [("real head", h.stem.name, h) for h in validation_heads(data)]
    maps: list[tuple[str, str, HeadSource]] = [("label map", m.path.name, m) for m in validation_label_maps(data)]
    return [
        CaseRecipe(name=name.removesuffix(".nii.gz"), kind=kind, source=source, number=number, draw=draw)
        for draw in draws
        for number, (kind, name, source) in enumerate(heads + maps)
    ]


def case_of(head: TrainingHead, recipe: CaseRecipe) -> Case:
    """Turn a synthetic head into a case with geometry."""
    return Case(
        name=f"{recipe.name} draw {recipe.draw}",
        kind=recipe.kind,
        number=recipe.number,
        draw=recipe.draw,
        image=Volume(head.t1c.numpy(), AFFINE, "PATIENT"),
        brain=Volume(head.brain.numpy(), AFFINE, "PATIENT"),
        lesions=head.lesions.numpy().astype(np.int16),
        ignore=head.ignore.numpy(),
    )
