"""One scan and one rater (the model or a reader) against the truth: every number of the scan and of each lesion."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from inference.evaluation.brats import LesionWise, lesion_wise
from inference.evaluation.detection import (
    DetectionCounts,
    MatchRule,
    Meetings,
    attributed,
    components,
    counts_by_rule,
    meet,
)
from inference.evaluation.labels import LESION, REGIONS, judged_regions
from inference.evaluation.metrics import ScanResult, scan_result
from inference.evaluation.overlap import Confusion, boxes_of, confusion, hd95_mm, union_box
from inference.evaluation.scan import LabelSchemes, Scan
from inference.evaluation.table import ManifestError

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int32]

# Names of the regions as BraTS calls them.
BRATS_REGIONS = {LESION: "TC", "enhancing": "ET", "whole_tumour": "WT"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """The true lesions of a scan.

    Attributes
    ----------
    numbers
        0 background, n the lesion n, from 1 without gaps; only where the truth is known (i, j, k).
    identities
        Of lesion n at place n - 1, or none if the table names no identities.
    """

    numbers: Numbers
    identities: tuple[int, ...] | None

    @property
    def count(self) -> int:
        """Number of lesions."""
        return int(self.numbers.max(initial=0))


@dataclass(frozen=True, kw_only=True)
class LesionScore:
    """A true lesion and what a rater made of it.

    Attributes
    ----------
    patient, study_date, rater
        Whose.
    lesion, identity
        Number in this scan, and through all studies of the patient, if known.
    volume_mm3
        True volume.
    found
        By rule.
    predicted_volume_mm3
        Of all predicted voxels that belong to it; 0 if none does.
    dice, hd95_mm
        Of those voxels; None for a lesion that no prediction overlaps.
    parts, neighbours
        Predictions that overlap it, and other lesions that these overlap (above 0: run together).
    """

    patient: str
    study_date: date
    rater: str
    lesion: int
    identity: int | None
    volume_mm3: float
    found: Mapping[MatchRule, bool]
    predicted_volume_mm3: float
    dice: float | None
    hd95_mm: float | None
    parts: int
    neighbours: int


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanScore:
    """A scan and what a rater made of it.

    Attributes
    ----------
    patient, study_date, rater, slice_spacing_mm
        Whose; the widest spacing of the three axes.
    detection
        By rule.
    voxels
        Counts of lesion voxels in the domain.
    dice
        By region.
    hd95_mm
        Of the lesions; None if one side has none.
    true_volume_mm3, predicted_volumes_mm3, false_volumes_mm3
        All lesions, each prediction that counts, and those of them that overlap no lesion.
    lesions
        Each true lesion.
    brats
        By region of BraTS.
    """

    patient: str
    study_date: date
    rater: str
    slice_spacing_mm: float
    detection: Mapping[MatchRule, DetectionCounts]
    voxels: Confusion
    dice: Mapping[str, float | None]
    hd95_mm: float | None
    true_volume_mm3: float
    predicted_volumes_mm3: tuple[float, ...]
    false_volumes_mm3: tuple[float, ...]
    lesions: tuple[LesionScore, ...]
    brats: Mapping[str, LesionWise]

    @property
    def predicted_volume_mm3(self) -> float:
        """All predictions that count."""
        return sum(self.predicted_volumes_mm3)


@dataclass(frozen=True, kw_only=True)
class PairScore:
    """Dice of the lesions of two raters in one scan; None if neither has any."""

    patient: str
    study_date: date
    first: str
    second: str
    dice: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """All scores of an evaluation.

    Attributes
    ----------
    scans
        By rater, the model first.
    pairs
        Of raters with each other.
    """

    scans: Mapping[str, Sequence[ScanScore]]
    pairs: Sequence[PairScore]

    def lesions(self, rater: str) -> list[LesionScore]:
        """Return all lesions of a rater's scans."""
        return [lesion for score in self.scans[rater] for lesion in score.lesions]


def true_lesions(scan: Scan, schemes: LabelSchemes) -> Truth:
    """Give the true lesions numbers: by their identities where these are given, else by 26-connected components.

    Raises
    ------
    ManifestError
        If a lesion voxel has no identity.
    """
    mask = schemes.truth.mask(scan.truth, schemes.truth.lesion) & scan.domain
    if scan.identities is None:
        return Truth(numbers=components(mask), identities=None)
    nameless = int((mask & (scan.identities == 0)).sum())
    if nameless:
        raise ManifestError(
            f"{scan.row.truth_lesions} gives no identity to {nameless} of {int(mask.sum())} lesion voxels of"
            f" {scan.row.truth}; give each lesion a number from 1 up."
        )
    names, places = np.unique(scan.identities[mask], return_inverse=True)
    numbers = np.zeros(mask.shape, np.int32)
    numbers[mask] = places + 1
    return Truth(numbers=numbers, identities=tuple(int(name) for name in names))


def score_scan(scan: Scan, truth: Truth, schemes: LabelSchemes, *, rater: str) -> ScanScore:
    """Compare what a rater marked with the truth."""
    predicted = schemes.of(rater).mask(scan.raters[rater], schemes.truth.lesion)
    predictions = components(predicted)
    meetings = meet(truth.numbers, predictions, scan.known)
    counted = meetings.counted(MatchRule.ANY_OVERLAP)
    false = counted & ~meetings.matched(MatchRule.ANY_OVERLAP).any(axis=0)
    volumes_mm3 = meetings.predictions * scan.voxel_mm3
    true = truth.numbers > 0
    regions = _regions(scan, schemes, rater)
    return ScanScore(
        patient=scan.row.patient,
        study_date=scan.row.study_date,
        rater=rater,
        slice_spacing_mm=max(scan.spacing_mm),
        detection=counts_by_rule(meetings),
        voxels=confusion(true, predicted, scan.domain),
        dice={name: confusion(*masks, scan.domain).dice for name, masks in regions.items()},
        hd95_mm=hd95_mm(true, predicted & scan.domain, scan.spacing_mm),
        true_volume_mm3=float(true.sum()) * scan.voxel_mm3,
        predicted_volumes_mm3=tuple(volumes_mm3[counted].tolist()),
        false_volumes_mm3=tuple(volumes_mm3[false].tolist()),
        lesions=tuple(_lesion_scores(scan, truth, predictions, meetings, rater)),
        brats={
            region: lesion_wise(*regions[name], scan.spacing_mm)
            for name, region in BRATS_REGIONS.items()
            if name in regions and schemes.truth.tells(REGIONS[name])
        },
    )


def score_pairs(scan: Scan, schemes: LabelSchemes) -> list[PairScore]:
    """Compare every two raters of a scan with each other."""
    masks = {
        rater: schemes.of(rater).mask(labels, schemes.truth.lesion) & scan.domain
        for rater, labels in scan.raters.items()
    }
    return [
        PairScore(
            patient=scan.row.patient,
            study_date=scan.row.study_date,
            first=first,
            second=second,
            dice=confusion(masks[first], masks[second], scan.domain).dice,
        )
        for first, second in combinations(masks, 2)
    ]


def response(scan: Scan, truth: Truth, *, threshold: float) -> ScanResult | None:
    """Return the candidates of the probability map, components of at least a threshold; None without such a map."""
    if scan.probability is None:
        return None
    candidates = components(scan.probability >= threshold)
    unknown = ~scan.known
    return scan_result(scan.probability, candidates, truth.numbers.astype(np.int16), unknown, voxel_mm3=scan.voxel_mm3)


def _regions(scan: Scan, schemes: LabelSchemes, rater: str) -> dict[str, tuple[Mask, Mask]]:
    """Return the masks of the truth and of a rater by region."""
    return {
        name: (
            schemes.truth.mask(scan.truth, region) & scan.domain,
            schemes.of(rater).mask(scan.raters[rater], region) & scan.domain,
        )
        for name, region in judged_regions(schemes.truth, schemes.of(rater)).items()
    }


def _lesion_scores(
    scan: Scan, truth: Truth, predictions: Numbers, meetings: Meetings, rater: str
) -> Iterator[LesionScore]:
    belonging = attributed(truth.numbers, predictions, meetings, scan.spacing_mm)
    belonging[~scan.domain] = 0
    matched = {rule: meetings.matched(rule) for rule in MatchRule}
    linked = matched[MatchRule.ANY_OVERLAP]
    boxes, their_boxes = boxes_of(truth.numbers), boxes_of(belonging)
    their_boxes += [None] * (truth.count - len(their_boxes))
    for place in range(truth.count):
        parts = linked[place]
        box = union_box(boxes[place], their_boxes[place])
        true, marked = truth.numbers[box] == place + 1, belonging[box] == place + 1
        counts = confusion(true, marked, scan.domain[box])
        yield LesionScore(
            patient=scan.row.patient,
            study_date=scan.row.study_date,
            rater=rater,
            lesion=place + 1,
            identity=truth.identities[place] if truth.identities else None,
            volume_mm3=counts.positives * scan.voxel_mm3,
            found={rule: bool(pairs[place].any()) for rule, pairs in matched.items()},
            predicted_volume_mm3=(counts.tp + counts.fp) * scan.voxel_mm3,
            dice=counts.dice if parts.any() else None,
            hd95_mm=hd95_mm(true, marked, scan.spacing_mm),
            parts=int(parts.sum()),
            neighbours=int((linked[:, parts].any(axis=1)).sum()) - bool(parts.any()),
        )
