"""What happened between two studies of a patient, according to the truth and according to a rater.

Pairs are consecutive studies of one patient, never of two. Each change is taken within one side, from its own earlier
value to its own later one (`tracking.agreement`). A lesion is followed by its identity in the truth; without
identities only totals have changes.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise

import numpy as np

from inference.evaluation.scoring import ScanScore
from tracking.agreement import MeanAbsoluteErrors, mean_absolute_errors
from tracking.visit import Sighting, Visit

TOTAL, COUNT, LESION = "total_volume_mm3", "count", "lesion_volume_mm3"


@dataclass(frozen=True, kw_only=True)
class Change:
    """A quantity at two consecutive studies.

    Attributes
    ----------
    patient, rater, earlier, later
        Whose, and the dates.
    quantity
        `TOTAL`, `COUNT` or `LESION`.
    identity
        Of the lesion, for `LESION` only.
    true_earlier, true_later, predicted_earlier, predicted_later
        Its values; 0 where a lesion is not there, or not found.
    """

    patient: str
    rater: str
    earlier: date
    later: date
    quantity: str
    identity: int | None
    true_earlier: float
    true_later: float
    predicted_earlier: float
    predicted_later: float

    @property
    def true(self) -> float:
        """The true change."""
        return self.true_later - self.true_earlier

    @property
    def predicted(self) -> float:
        """The change according to the rater."""
        return self.predicted_later - self.predicted_earlier


def courses(scores: Sequence[ScanScore]) -> dict[str, tuple[ScanScore, ...]]:
    """Return one rater's scans by patient, in order of their dates."""
    by_patient = defaultdict(list)
    for score in sorted(scores, key=lambda score: score.study_date):
        by_patient[score.patient].append(score)
    return {patient: tuple(by_patient[patient]) for patient in sorted(by_patient)}


def changes(scores: Sequence[ScanScore]) -> list[Change]:
    """Return every change between consecutive studies of one rater's scans."""
    pairs = [pair for course in courses(scores).values() for pair in pairwise(course)]
    return [change for earlier, later in pairs for change in _changes(earlier, later)]


def course_errors(course: Sequence[ScanScore]) -> MeanAbsoluteErrors:
    """Return one rater's mean absolute errors in one patient.

    Volumes are of lesions, with a prediction over several divided among them; false positives are tumours of their own
    at each study. The count is of predictions as they are. Without identities each study is judged alone for the
    volume per tumour, and its change is unknown.
    """
    errors = mean_absolute_errors([_by_lesion(score) for score in course], [_truth(score) for score in course])
    counts = mean_absolute_errors([_by_prediction(score) for score in course], [_truth(score) for score in course])
    errors = replace(errors, count=counts.count, count_change=counts.count_change)
    if _followed(course):
        return errors
    alone = [mean_absolute_errors([_by_lesion(score)], [_truth(score)]).tumour_volume_mm3 for score in course]
    known = [error for error in alone if error is not None]
    mean = float(np.mean(known)) if known else None
    return replace(errors, tumour_volume_mm3=mean, tumour_volume_change_mm3=None)


def _followed(course: Sequence[ScanScore]) -> bool:
    return all(lesion.identity is not None for score in course for lesion in score.lesions)


def _changes(earlier: ScanScore, later: ScanScore) -> Iterator[Change]:
    before, after = (_values(score) for score in (earlier, later))
    identities = {key for key in (*before, *after) if key[0] != LESION or _followed((earlier, later))}
    for key in sorted(identities, key=str):
        true_earlier, predicted_earlier = before.get(key, (0.0, 0.0))
        true_later, predicted_later = after.get(key, (0.0, 0.0))
        yield Change(
            patient=earlier.patient,
            rater=earlier.rater,
            earlier=earlier.study_date,
            later=later.study_date,
            quantity=key[0],
            identity=key[1],
            true_earlier=true_earlier,
            true_later=true_later,
            predicted_earlier=predicted_earlier,
            predicted_later=predicted_later,
        )


def _values(score: ScanScore) -> dict[tuple[str, int | None], tuple[float, float]]:
    """Return the true and the predicted value of each quantity of a scan."""
    lesions = {(LESION, lesion.identity): (lesion.volume_mm3, lesion.predicted_volume_mm3) for lesion in score.lesions}
    return {
        (TOTAL, None): (score.true_volume_mm3, score.predicted_volume_mm3),
        (COUNT, None): (float(len(score.lesions)), float(len(score.predicted_volumes_mm3))),
        **lesions,
    }


def _truth(score: ScanScore) -> Visit:
    return _visit(score, {_name(score, place): lesion.volume_mm3 for place, lesion in enumerate(score.lesions)})


def _by_lesion(score: ScanScore) -> Visit:
    """Predicted volumes under the names of the lesions that they belong to, and what belongs to none."""
    volumes = {_name(score, place): lesion.predicted_volume_mm3 for place, lesion in enumerate(score.lesions)}
    false = {f"false {score.study_date} {place}": volume for place, volume in enumerate(score.false_volumes_mm3)}
    return _visit(score, volumes | false)


def _by_prediction(score: ScanScore) -> Visit:
    volumes = {f"prediction {place}": volume for place, volume in enumerate(score.predicted_volumes_mm3)}
    return _visit(score, volumes)


def _name(score: ScanScore, place: int) -> str:
    identity = score.lesions[place].identity
    return f"lesion {identity}" if identity is not None else f"{score.study_date} {place}"


def _visit(score: ScanScore, volumes_mm3: dict[str, float]) -> Visit:
    sightings = tuple(
        Sighting(tracking_uid=name, tracking_id=name, volume_mm3=volume)
        for name, volume in volumes_mm3.items()
        if volume > 0
    )
    return Visit(day=score.study_date, slice_spacing_mm=score.slice_spacing_mm, sightings=sightings)
