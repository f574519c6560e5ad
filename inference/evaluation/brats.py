"""The lesion-wise score of the BraTS-METS challenge, so that results can be set beside published ones.

Its rules differ from ours: lesions and predictions are paired one to one for the highest sum of Dice; the mean of Dice,
HD95 and surface Dice runs over lesions of at least `LARGE_MM3` and over every false positive, where a missed or false
lesion counts as Dice 0 and HD95 `PENALTY_MM`; smaller lesions count in detection only, and only with a Dice of at least
`SMALLEST_DICE`. Nothing is dilated: the rules of 2023 were, those of the challenge's present package are not. Written
from what the rules say; the challenge's own package confirms the numbers in the tests.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from inference.evaluation.detection import components, meet
from inference.evaluation.overlap import boxes_of, share, surface_distances_mm, union_box

Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]

LARGE_MM3 = 20.0
SMALLEST_DICE = 0.1
PENALTY_MM = 373.0
PERCENTILE = 95
ROUNDING = 1e-6  # a distance of one voxel is one voxel, whatever its last digit


@dataclass(frozen=True, kw_only=True)
class Detected:
    """Counts of one size class; the false positives of all sizes count in each."""

    tp: int
    fp: int
    fn: int

    @property
    def precision(self) -> float | None:
        """TP / (TP + FP)."""
        return share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float | None:
        """TP / (TP + FN)."""
        return share(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float | None:
        """2 TP / (2 TP + FP + FN)."""
        return share(2 * self.tp, 2 * self.tp + self.fp + self.fn)


@dataclass(frozen=True, kw_only=True)
class LesionWise:
    """The score of one region in one scan.

    Attributes
    ----------
    dice, hd95_mm, nsd
        Means over large lesions and false positives; None without a large lesion. NSD is the surface Dice within the
        smallest voxel edge.
    every
        Detection of all lesions: paired is found.
    large, small
        Detection from a Dice of `SMALLEST_DICE`; None without a lesion of the size.
    """

    dice: float | None
    hd95_mm: float | None
    nsd: float | None
    every: Detected
    large: Detected | None
    small: Detected | None

    def figures(self) -> dict[str, float | None]:
        """Return all numbers by name; as in the challenge, the precision of a size without any prediction is 0."""
        figures = {"dice": self.dice, "hd95_mm": self.hd95_mm, "nsd": self.nsd} | _figures("all", self.every)
        for name, size in (("large", self.large), ("small", self.small)):
            figures |= _figures(name, size)
            if size is not None:
                figures[f"{name}_precision"] = size.precision or 0.0
        return figures


@dataclass(frozen=True, kw_only=True)
class _Paired:
    volume_mm3: float
    dice: float = 0.0
    hd95_mm: float = PENALTY_MM
    nsd: float = 0.0
    found: bool = False


def lesion_wise(truth: Mask, prediction: Mask, spacing_mm: Spacing) -> LesionWise:
    """Score one region.

    Parameters
    ----------
    truth, prediction
        Masks (i, j, k) of the whole scan.
    spacing_mm
        Of the axes.
    """
    lesions, predictions = components(truth), components(prediction)
    meetings = meet(lesions, predictions, np.ones(truth.shape, bool))
    dice = 2 * meetings.shared / (meetings.lesions[:, None] + meetings.predictions[None])
    partners = {int(i): int(j) for i, j in zip(*linear_sum_assignment(-dice), strict=True) if dice[i, j] > 0}
    voxel_mm3 = float(np.prod(spacing_mm))
    boxes, their_boxes = boxes_of(lesions), boxes_of(predictions)
    paired = []
    for place, voxels in enumerate(meetings.lesions):
        volume_mm3 = float(voxels * voxel_mm3)
        if place not in partners:
            paired.append(_Paired(volume_mm3=volume_mm3))
            continue
        partner = partners[place]
        box = union_box(boxes[place], their_boxes[partner])
        hd95_mm, nsd = _surfaces(lesions[box] == place + 1, predictions[box] == partner + 1, spacing_mm)
        overlap = float(dice[place, partner])
        paired.append(_Paired(volume_mm3=volume_mm3, dice=overlap, hd95_mm=hd95_mm, nsd=nsd, found=True))
    return _score(paired, false=len(meetings.predictions) - len(partners))


def _surfaces(lesion: Mask, prediction: Mask, spacing_mm: Spacing) -> tuple[float, float]:
    distances = surface_distances_mm(lesion, prediction, spacing_mm)
    if distances is None:
        raise ValueError("a paired lesion and prediction cannot be empty")
    nsd = np.mean([np.mean(one <= min(spacing_mm) * (1 + ROUNDING)) for one in distances])
    return float(np.percentile(np.hstack(distances), PERCENTILE)), float(nsd)


def _score(paired: Sequence[_Paired], *, false: int) -> LesionWise:
    large = [one for one in paired if one.volume_mm3 >= LARGE_MM3]
    small = [one for one in paired if one.volume_mm3 < LARGE_MM3]
    judged = [*large, *[_Paired(volume_mm3=0.0)] * false]
    found = sum(one.found for one in paired)
    return LesionWise(
        dice=float(np.mean([one.dice for one in judged])) if large else None,
        hd95_mm=float(np.mean([one.hd95_mm for one in judged])) if large else None,
        nsd=float(np.mean([one.nsd for one in judged])) if large else None,
        every=Detected(tp=found, fp=false, fn=len(paired) - found),
        large=_detected(large, false) if large else None,
        small=_detected(small, false) if small else None,
    )


def _figures(name: str, detected: Detected | None) -> dict[str, float | None]:
    return {
        f"{name}_{figure}": None if detected is None else getattr(detected, figure)
        for figure in ("tp", "fp", "fn", "precision", "recall", "f1")
    }


def _detected(lesions: Sequence[_Paired], false: int) -> Detected:
    found = sum(one.dice >= SMALLEST_DICE for one in lesions)
    return Detected(tp=found, fp=false, fn=len(lesions) - found)
