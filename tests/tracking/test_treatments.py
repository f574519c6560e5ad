"""Treatments from CSV, whom they act on, and which visits count as one before them."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.tracking.visits import FIRST_DAY, sighting, sizes
from tracking.treatments import Treatment, TreatmentKind, join_planning_visits, read_treatments, treated_before


def day(number: int) -> date:
    return FIRST_DAY + timedelta(days=number)


def surgery_of(lesion: str, number: int) -> Treatment:
    return Treatment(day=day(number), kind=TreatmentKind.RADIOSURGERY, lesion=lesion, dose_gy=20)


def test_treatments_are_read_in_order_of_date(tmp_path: Path) -> None:
    path = tmp_path / "treatments.csv"
    path.write_text("date,kind,lesion,dose_gy\n2024-05-02,immunotherapy,,\n2024-03-01,radiosurgery,L2,20.5\n")
    first, second = read_treatments(path)
    assert first == Treatment(day=date(2024, 3, 1), kind=TreatmentKind.RADIOSURGERY, lesion="L2", dose_gy=20.5)
    assert (second.kind, second.lesion, second.dose_gy) == (TreatmentKind.IMMUNOTHERAPY, None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("date,kind,lesion\n", "must have date, kind, lesion, dose_gy and no other"),
        ("date,kind,lesion,dose_gy,PatientName\n", "no other"),
        ("", "it must have date"),
        ("date,kind,lesion,dose_gy\n01.02.2024,surgery,L1,\n", r"line 2: Invalid isoformat .*Dates are year-month-day"),
        ("date,kind,lesion,dose_gy\n2024-02-01,knife,L1,\n", r"line 2: 'knife' is not .*kinds are radiosurgery"),
        ("date,kind,lesion,dose_gy\n2024-02-01,surgery,,\n", "needs the lesion that was treated"),
        ("date,kind,lesion,dose_gy\n2024-02-01,systemic therapy,L1,\n", "is not of one lesion"),
        ("date,kind,lesion,dose_gy\n2024-02-01,radiosurgery,L1,-3\n", "dose of 2024-02-01 is -3.0 Gy"),
        ("date,kind,lesion,dose_gy\n2024-02-01,radiosurgery,L1,nan\n", "dose of 2024-02-01 is nan Gy"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "treatments.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_treatments(path)


def test_a_lesion_is_treated_after_the_day_by_its_name_or_uid() -> None:
    lesion, seen = sighting("a", 10), {"2.25.a": day(0)}
    for name in ("a", "2.25.a"):
        assert treated_before(lesion, day(11), [surgery_of(name, 10)], first_seen=seen)
        assert not treated_before(lesion, day(10), [surgery_of(name, 10)], first_seen=seen)
    assert not treated_before(lesion, day(11), [surgery_of("b", 10)], first_seen=seen)


def test_whole_brain_radiotherapy_treats_what_was_there_and_systemic_therapy_no_lesion() -> None:
    whole = Treatment(day=day(10), kind=TreatmentKind.WHOLE_BRAIN, dose_gy=30)
    lesion = sighting("a", 10)
    assert treated_before(lesion, day(50), [whole], first_seen={"2.25.a": day(0)})
    assert not treated_before(lesion, day(50), [whole], first_seen={"2.25.a": day(40)})
    systemic = Treatment(day=day(10), kind=TreatmentKind.SYSTEMIC)
    assert not treated_before(lesion, day(50), [systemic], first_seen={"2.25.a": day(0)})


def test_diagnostic_and_planning_study_are_one_timepoint() -> None:
    visits = [sizes(0, a=10), sizes(20, a=10, b=3), sizes(60, a=5)]
    assert join_planning_visits(visits, [surgery_of("a", 20)]) == tuple(visits[1:])
    assert join_planning_visits(visits, [surgery_of("a", 19)]) == tuple(visits)  # the second one is after treatment
    assert join_planning_visits(visits, [surgery_of("a", 20)], most_days=19) == tuple(visits)
    assert join_planning_visits([], []) == ()
