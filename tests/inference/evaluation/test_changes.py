"""Changes between studies, with the defects of published code that concern them."""

from datetime import date

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.evaluation.changes import COUNT, LESION, TOTAL, changes, course_errors, courses
from inference.evaluation.scoring import ScanScore
from tests.inference.evaluation.phantoms import box, cubes, scan, scored

Labels = NDArray[np.int32]


def visit(
    month: int, truth: Labels, prediction: Labels, *, patient: str = "P1", identities: Labels | None = None
) -> ScanScore:
    one = scan(truth, prediction, patient=patient, day=date(2024, month, 1), identities=identities)
    return scored(one)


def slab(height: int, *, label: int = 1) -> Labels:
    return box(cubes(), (2, 2, 2), (4, 4, height), label=label)


def test_defect_1_the_change_is_of_each_sides_own_earlier_value() -> None:
    """Truth 64 to 80, prediction 32 to 48 mm³: both grew by 16, which one common earlier value would hide."""
    course = [
        visit(1, slab(4), slab(2), identities=slab(4, label=5)),
        visit(2, slab(5), slab(3), identities=slab(5, label=5)),
    ]
    errors = course_errors(course)
    assert (errors.total_volume_mm3, errors.total_volume_change_mm3) == (32, 0)
    assert (errors.tumour_volume_mm3, errors.tumour_volume_change_mm3) == (32, 0)
    assert {change.quantity: (change.true, change.predicted) for change in changes(course)} == {
        TOTAL: (16, 16),
        COUNT: (0, 0),
        LESION: (16, 16),
    }
    course[1] = visit(2, slab(5), slab(5), identities=slab(5, label=5))  # now right, but the change is not
    assert course_errors(course).total_volume_change_mm3 == 32


def test_defect_2_the_last_tumour_counts() -> None:
    truth = cubes(((2, 2, 2), 2), ((8, 8, 8), 2), ((16, 16, 16), 2))
    prediction = cubes(((2, 2, 2), 2), ((8, 8, 8), 2), ((16, 16, 16), 3))
    assert course_errors([visit(1, truth, prediction)]).tumour_volume_mm3 == pytest.approx(19 / 3)


def test_defect_4_no_change_between_two_patients() -> None:
    scores = [
        visit(1, slab(4), slab(4), patient="P2"),
        visit(2, slab(2), slab(2), patient="P1"),
        visit(3, slab(8), slab(8), patient="P2"),
        visit(1, slab(6), slab(6), patient="P1"),
    ]
    assert list(courses(scores)) == ["P1", "P2"]
    totals = {change.patient: change.true for change in changes(scores) if change.quantity == TOTAL}
    assert totals == {"P1": 16 * (2 - 6), "P2": 16 * (8 - 4)}


def test_pairs_are_consecutive() -> None:
    course = [visit(month, slab(month), slab(1)) for month in (4, 1, 2)]
    pairs = [(one.earlier.month, one.later.month, one.true) for one in changes(course) if one.quantity == TOTAL]
    assert pairs == [(1, 2, 16), (2, 4, 32)]


def test_a_lesion_is_followed_by_its_identity_through_coming_and_going() -> None:
    before, after = cubes(((2, 2, 2), 3)), cubes(((12, 12, 12), 2))
    course = [
        visit(1, before, before, identities=before * 5),
        visit(2, after, cubes(((18, 2, 2), 2)), identities=after * 8),
    ]
    followed = {change.identity: (change.true, change.predicted) for change in changes(course) if change.identity}
    assert followed == {5: (-27, -27), 8: (8, 0)}
    errors = course_errors(course)
    assert errors.tumour_volume_mm3 == pytest.approx((8 + 8) / 6)  # 3 tumours at 2 visits: one missed, one false
    assert errors.tumour_volume_change_mm3 == pytest.approx((0 + 8 + 8) / 3)


def test_without_identities_lesions_have_no_changes() -> None:
    course = [visit(1, slab(4), slab(2)), visit(2, slab(5), slab(3))]
    assert {change.quantity for change in changes(course)} == {TOTAL, COUNT}
    errors = course_errors(course)
    assert (errors.tumour_volume_mm3, errors.tumour_volume_change_mm3) == (32, None)
    assert errors.total_volume_change_mm3 == 0


def test_the_count_is_of_predictions_as_they_are() -> None:
    """A prediction over two lesions is one; its volume is divided, so that each lesion has its own."""
    truth, merged = cubes(((2, 2, 2), 4), ((8, 2, 2), 4)), box(cubes(), (2, 2, 2), (10, 4, 4))
    errors = course_errors([visit(1, truth, merged)])
    assert (errors.count, errors.count_change) == (1, None)
    assert errors.tumour_volume_mm3 == 16


def test_nothing_is_an_error_of_nothing() -> None:
    errors = course_errors([visit(1, cubes(), cubes()), visit(2, cubes(), cubes())])
    assert (errors.total_volume_mm3, errors.count, errors.tumour_volume_mm3) == (0, 0, None)
