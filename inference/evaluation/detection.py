"""Which true lesions were found and which predicted ones are true, under each of the published rules.

Lesions and predictions are counted each on their own side: a prediction over two lesions finds both, and two parts of
one lesion are both true. So nothing is lost where two lesions run together, and nothing is false where one falls apart.
A prediction that meets no lesion but touches a place where the truth is not known counts neither way.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.evaluation.overlap import joint_box, share
from tracking.components import CONNECTIVITY
from tracking.matching.baselines import NYUMETS

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int32]

IOU_LIMIT = 0.25
IOR_LIMIT = NYUMETS[0].overlap  # of the three published; the others are .1 and .001


class MatchRule(StrEnum):
    """When a prediction and a lesion belong together."""

    ANY_OVERLAP = "any_overlap"  # one shared voxel (Rudie et al. 2021)
    IOU = "iou"  # intersection over union above IOU_LIMIT (CHUV 2024)
    IOR = "ior"  # intersection over the lesion of at least IOR_LIMIT (NYUMets 2024)


@dataclass(frozen=True, kw_only=True)
class DetectionCounts:
    """What was found in one scan under one rule.

    Attributes
    ----------
    lesions, found
        True lesions, and those that a prediction matches.
    predictions, true_predictions
        Predictions that count, and those that match a lesion; the others are false positives.
    """

    lesions: int
    found: int
    predictions: int
    true_predictions: int

    @property
    def false_positives(self) -> int:
        """Predictions that match nothing."""
        return self.predictions - self.true_predictions

    @property
    def recall(self) -> float | None:
        """Share of lesions that were found (sensitivity)."""
        return share(self.found, self.lesions)

    @property
    def precision(self) -> float | None:
        """Share of predictions that are true."""
        return share(self.true_predictions, self.predictions)


@dataclass(frozen=True, kw_only=True, eq=False)
class Meetings:
    """How the lesions and the predictions of one scan overlap, in voxels where the truth is known.

    Attributes
    ----------
    shared
        (lesion, prediction).
    lesions, predictions
        Sizes.
    unknown
        Per prediction: whether it reaches where the truth is not known.
    """

    shared: NDArray[np.int64]
    lesions: NDArray[np.int64]
    predictions: NDArray[np.int64]
    unknown: Mask

    def matched(self, rule: MatchRule) -> Mask:
        """Return which pairs (lesion, prediction) match."""
        if rule == MatchRule.ANY_OVERLAP:
            return np.asarray(self.shared > 0)
        if rule == MatchRule.IOR:
            return np.asarray((self.shared > 0) & (self.shared >= IOR_LIMIT * self.lesions[:, None]))
        union = self.lesions[:, None] + self.predictions[None] - self.shared
        return np.asarray(self.shared > IOU_LIMIT * union)

    def counted(self, rule: MatchRule) -> Mask:
        """Return which predictions count, for or against the model."""
        return self.matched(rule).any(axis=0) | ~self.unknown

    def counts(self, rule: MatchRule) -> DetectionCounts:
        """Count under one rule."""
        matched = self.matched(rule)
        return DetectionCounts(
            lesions=len(self.lesions),
            found=int(matched.any(axis=1).sum()),
            predictions=int(self.counted(rule).sum()),
            true_predictions=int(matched.any(axis=0).sum()),
        )


def components(mask: Mask) -> Numbers:
    """Give the 26-connected components of a mask numbers from 1."""
    return np.asarray(cc3d.connected_components(mask, connectivity=CONNECTIVITY), np.int32)


def meet(lesions: Numbers, predictions: Numbers, known: Mask) -> Meetings:
    """Compare two numbered maps.

    Parameters
    ----------
    lesions, predictions
        0 background, 1 to the highest number without gaps (i, j, k); every lesion has voxels that are known.
    known
        Where the truth is known.
    """
    rows, columns = int(lesions.max(initial=0)) + 1, int(predictions.max(initial=0)) + 1
    pairs = lesions[known].astype(np.int64) * columns + predictions[known]
    table = np.bincount(pairs, minlength=rows * columns).reshape(rows, columns)
    touching = np.bincount(predictions[~known], minlength=columns) > 0
    return Meetings(
        shared=table[1:, 1:],
        lesions=table[1:].sum(axis=1),
        predictions=table[:, 1:].sum(axis=0),
        unknown=touching[1:],
    )


def attributed(
    lesions: Numbers, predictions: Numbers, meetings: Meetings, spacing_mm: tuple[float, float, float]
) -> Numbers:
    """Give every predicted voxel the number of the lesion that it belongs to; 0 in false positives.

    A prediction that overlaps several lesions is divided among them: each voxel goes to the nearest.
    """
    linked = meetings.matched(MatchRule.ANY_OVERLAP)
    table = np.zeros(linked.shape[1] + 1, np.int32)
    if len(linked):
        table[1:] = np.where(linked.any(axis=0), linked.argmax(axis=0) + 1, 0)
    result: Numbers = table[predictions]
    for column in np.flatnonzero(linked.sum(axis=0) > 1):
        _divide(result, lesions, predictions == column + 1, np.flatnonzero(linked[:, column]) + 1, spacing_mm)
    return result


def _divide(
    result: Numbers, lesions: Numbers, part: Mask, hosts: NDArray[np.int64], spacing_mm: tuple[float, ...]
) -> None:
    among = np.isin(lesions, hosts)
    box = joint_box(part, among)
    if box is None:
        return
    nearest = ndimage.distance_transform_edt(
        ~among[box], sampling=spacing_mm, return_distances=False, return_indices=True
    )
    result[box][part[box]] = lesions[box][tuple(nearest)][part[box]]


def counts_by_rule(meetings: Meetings) -> Mapping[MatchRule, DetectionCounts]:
    """Count under every rule."""
    return {rule: meetings.counts(rule) for rule in MatchRule}
