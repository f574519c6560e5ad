"""Findings against truth, study by study: every lesion is a pair, missed, joined, a fragment or false; none is dropped.

Only what SEG and SR say is compared, so an error of geometry or identity anywhere on the way shows here.
"""

from dataclasses import dataclass

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from dicom_node.results.findings import Finding, StudyFindings
from inference.synthesis.patient import SyntheticStudy, TrueLesion
from tracking.geometry import resample_like

NEAR_MM = 3.0  # centres this close count as the same lesion even where a thin lesion's voxels miss each other


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A finding and the true lesion that it is.

    Attributes
    ----------
    dice
        Overlap of the two, 0 to 1, on the grid of the truth.
    distance_mm
        Between the centres of the two.
    """

    finding: Finding
    truth: TrueLesion
    dice: float
    distance_mm: float

    @property
    def volume_error_percent(self) -> float:
        """Reported volume against true volume."""
        return 100 * (self.finding.volume_mm3 / self.truth.volume_mm3 - 1)

    @property
    def diameter_error_mm(self) -> float:
        """Reported against true longest in-plane diameter."""
        return self.finding.longest_diameter_mm - self.truth.longest_diameter_mm


@dataclass(frozen=True, kw_only=True)
class StudyMatch:
    """One study's findings held against its truth.

    Attributes
    ----------
    pairs
        One to one.
    joined
        True lesions without a finding of their own, but covered by the finding of a neighbour (its pair follows).
    missed
        True lesions that nothing touches.
    fragments
        Findings that touch a true lesion which has another, better finding (its pair follows).
    false_positives
        Findings that touch no true lesion.
    """

    pairs: tuple[Pair, ...]
    joined: tuple[tuple[TrueLesion, Finding], ...]
    missed: tuple[TrueLesion, ...]
    fragments: tuple[tuple[Finding, TrueLesion], ...]
    false_positives: tuple[Finding, ...]

    def truth_of(self, tracking_uid: str) -> TrueLesion | None:
        """Return the true lesion that the finding with this UID is, or None."""
        return next((pair.truth for pair in self.pairs if pair.finding.tracking_uid == tracking_uid), None)

    def uids_of(self, number: int) -> frozenset[str]:
        """Return the tracking UIDs under which the true lesion with this number was reported."""
        paired = {pair.finding.tracking_uid for pair in self.pairs if pair.truth.number == number}
        joined = {finding.tracking_uid for truth, finding in self.joined if truth.number == number}
        return frozenset(paired | joined)


def match_study(findings: StudyFindings, truth: SyntheticStudy) -> StudyMatch:
    """Pair the findings of a study with its true lesions.

    Candidates overlap by a voxel or lie within 3 mm of each other, centre to centre. Among them the one-to-one
    assignment with the greatest sum of Dice overlap is taken.

    Parameters
    ----------
    findings
        As read from SEG and SR; their geometry may differ from that of the truth, which counts against them.
    truth
        The synthetic study with its label volume.
    """
    found, true = findings.segmented, truth.lesions
    dice = _dice_matrix(found, true, _on_grid(findings.labels, truth.labels), truth.labels.array)
    distance = _distance_matrix(found, true)
    touches = (dice > 0) | (distance <= NEAR_MM)
    score = np.where(touches, dice + 0.1 * np.exp(-distance / NEAR_MM), 0.0)
    chosen = [(int(f), int(t)) for f, t in zip(*linear_sum_assignment(-score), strict=True) if touches[f, t]]
    left_truths = [t for t in range(len(true)) if t not in {t for _, t in chosen}]
    left_found = [f for f in range(len(found)) if f not in {f for f, _ in chosen}]
    return StudyMatch(
        pairs=tuple(
            Pair(finding=found[f], truth=true[t], dice=float(dice[f, t]), distance_mm=float(distance[f, t]))
            for f, t in chosen
        ),
        joined=tuple((true[t], found[score[:, t].argmax()]) for t in left_truths if touches[:, t].any()),
        missed=tuple(true[t] for t in left_truths if not touches[:, t].any()),
        fragments=tuple((found[f], true[score[f].argmax()]) for f in left_found if touches[f].any()),
        false_positives=tuple(found[f] for f in left_found if not touches[f].any()),
    )


def _on_grid(labels: Volume | None, grid: Volume) -> NDArray[np.uint16]:
    """Place the findings' voxels on the grid of the truth, by their position in the patient."""
    if labels is None:
        return np.zeros(grid.spatial_shape, np.uint16)
    return np.asarray(resample_like(labels, grid, interpolation="nearest").array, dtype=np.uint16)


def _dice_matrix(
    findings: tuple[Finding, ...],
    lesions: tuple[TrueLesion, ...],
    found: NDArray[np.uint16],
    true: NDArray[np.uint16],
) -> NDArray[np.float64]:
    """Dice of every finding (rows) with every true lesion (columns)."""
    columns = int(true.max()) + 1
    together = found.astype(np.int64) * columns + true
    shared = np.bincount(together.ravel(), minlength=(int(found.max()) + 1) * columns).reshape(-1, columns)
    found_size, true_size = shared.sum(axis=1), shared.sum(axis=0)
    dice = np.zeros((len(findings), len(lesions)))
    for row, finding in enumerate(findings):
        for column, lesion in enumerate(lesions):
            if finding.number < len(found_size) and lesion.number < len(true_size):
                both = found_size[finding.number] + true_size[lesion.number]
                dice[row, column] = 2 * shared[finding.number, lesion.number] / both if both else 0.0
    return dice


def _distance_matrix(findings: tuple[Finding, ...], lesions: tuple[TrueLesion, ...]) -> NDArray[np.float64]:
    distance = np.full((len(findings), len(lesions)), np.inf)
    for row, finding in enumerate(findings):
        if finding.centroid_mm is not None:
            centre = np.asarray(finding.centroid_mm)
            distance[row] = [np.linalg.norm(centre - np.asarray(lesion.centroid_mm)) for lesion in lesions]
    return distance
