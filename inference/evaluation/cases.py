"""Test cases that nobody's training has seen: held-out heads with lesions drawn from fixed seeds."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from torch import Generator

from inference.synthesis.training_heads import TrainingHead
from inference.training.heads import HeadSource, validation_heads, validation_label_maps
from tracking.timepoint import MRSequence, Timepoint

# Array axes i, j, k towards head, back and left (inference.preprocessing.ORIENTATION), 1 mm voxels, in LPS mm.
AFFINE = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=float)


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
        Volumes on 1 mm cubic voxels.
    lesions
        int16: 0 background, n lesion.
    ignore
        bool: where nothing is known.
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
