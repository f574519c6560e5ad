"""What is said of all visits together: the past comes from reports, or from the prior's images alone."""

from pathlib import Path

import numpy as np
import pytest

from dicom_node.config import ResponseOptions
from dicom_node.jobs.course import Past, criteria_of, first_visit, past_in_reports, tell_course
from dicom_node.results import codes
from dicom_node.results.content import descendants
from dicom_node.results.course_record import EarlierReport
from tests.dicom_node.results.test_course_record import report
from tests.tracking.phantoms import CURRENT_UID, empty_grid, timepoint, with_balls
from tests.tracking.visits import FIRST_DAY, sizes
from tracking.identity import baseline_identities
from tracking.measurement import measure_lesions

OPTIONS = criteria_of(ResponseOptions())
EARLIER, LATER = sizes(0, **{"1": 20}), sizes(60, **{"1": 12})  # names that a tracking UID may have
REPORT = EarlierReport(study_uid="1.2", sop_instance_uid="1.2.3")


def test_a_single_study_has_no_course_but_a_record() -> None:
    today = sizes(0, a=12)
    course = tell_course(Past(), today, OPTIONS)
    assert course.sentences == ()
    assert course.recorded == (today,)


def test_a_target_that_has_grown_since_the_smallest_size_is_progression() -> None:
    past = Past(visits=(sizes(0, a=20), sizes(60, a=12)), report=REPORT)
    course = tell_course(past, sizes(120, a=18), OPTIONS)
    assert course.sentences[0].startswith("RANO-BM on 2024-04-30: progressive disease (baseline 2024-01-01")
    assert "20.0 mm at the baseline, 12.0 mm at the smallest, 18.0 mm now" in course.sentences[1]
    assert any(line.startswith("All 3 studies, 2024-01-01 to 2024-04-30") for line in course.sentences)


def test_immunotherapy_of_the_configuration_is_heeded() -> None:
    past = Past(visits=(sizes(0, a=20),), report=REPORT)
    today = sizes(60, a=20, b=8)
    assert "progressive disease (" in tell_course(past, today, OPTIONS).sentences[0]
    assert "stable disease (" in tell_course(past, today, criteria_of(ResponseOptions(immunotherapy=True))).sentences[0]


def test_visits_that_no_report_holds_are_recorded_by_todays() -> None:
    before, today = sizes(0, a=20), sizes(60, a=12)
    assert tell_course(Past(visits=(before,), report=REPORT), today, OPTIONS).recorded == (today,)
    assert tell_course(Past(visits=(before,)), today, OPTIONS).recorded == (before, today)


def test_of_two_studies_of_one_day_only_this_one_counts() -> None:
    course = tell_course(Past(visits=(sizes(0, a=20), sizes(60, a=3)), report=REPORT), sizes(60, a=19), OPTIONS)
    assert "Of several studies of 2024-03-01 only this one is part of the course." in course.sentences
    assert any("Last interval, 2024-01-01 to 2024-03-01" in line for line in course.sentences)


def test_the_past_is_read_from_reports(tmp_path: Path) -> None:
    newest, older = tmp_path / "2.dcm", tmp_path / "1.dcm"
    report(LATER).save_as(newest)
    report(EARLIER).save_as(older)
    past = past_in_reports(newest, [older], "1.2")
    assert past.visits == (EARLIER, LATER)
    assert past.report == EarlierReport(study_uid="1.2", sop_instance_uid="2")
    assert past.remarks == ()


def test_of_two_earlier_studies_of_one_day_the_later_one_counts(tmp_path: Path) -> None:
    morning, evening = sizes(60, **{"1": 30}), sizes(60, **{"1": 12})
    report(evening).save_as(tmp_path / "3.dcm")
    report(morning).save_as(tmp_path / "2.dcm")
    report(EARLIER).save_as(tmp_path / "1.dcm")
    past = past_in_reports(tmp_path / "3.dcm", [tmp_path / "2.dcm", tmp_path / "1.dcm"], "1.2")
    course = tell_course(past, sizes(120, **{"1": 12}), OPTIONS)
    assert "Targets (baseline, smallest, now): 1 20.0, 12.0, 12.0 mm." in course.sentences


def test_a_report_that_is_no_dicom_ends_the_course_and_is_told(tmp_path: Path) -> None:
    report(LATER).save_as(tmp_path / "2.dcm")
    (tmp_path / "1.dcm").write_text("no DICOM")
    past = past_in_reports(tmp_path / "2.dcm", [tmp_path / "1.dcm"], "1.2")
    assert past.visits == (LATER,)
    assert past.remarks[0].startswith("The course begins only on 2024-03-01, as an earlier report cannot be read")


def test_a_report_without_records_holds_no_past(tmp_path: Path) -> None:
    report().save_as(tmp_path / "1.dcm")
    assert past_in_reports(tmp_path / "1.dcm", [], "1.2") == Past()


def test_a_damaged_report_ends_the_course_and_is_told(tmp_path: Path) -> None:
    report(LATER).save_as(tmp_path / "2.dcm")
    damaged = report(EARLIER)
    del next(descendants(damaged, codes.SIGHTING)).ContentSequence[:]
    damaged.save_as(tmp_path / "1.dcm")
    past = past_in_reports(tmp_path / "2.dcm", [tmp_path / "1.dcm"], "1.2")
    assert past.visits == (LATER,)
    assert "Tracking Unique Identifier is missing" in past.remarks[0]


def test_of_a_study_without_a_report_nothing_older_is_known() -> None:
    labels = with_balls(empty_grid((48, 48, 48)), [((-10, 0, 0), 4.2), ((10, 0, 0), 7.0)])
    study = timepoint(labels, CURRENT_UID, FIRST_DAY)
    lesions = measure_lesions(labels)
    known = baseline_identities(CURRENT_UID, lesions)
    visit = first_visit(study, known)
    assert visit.day == FIRST_DAY
    assert [one.tracking_uid for one in visit.present] == [one.tracking_uid for one in known]
    assert visit.total_volume_mm3 == pytest.approx(np.count_nonzero(labels.array))
    assert not any(one.onset_known for one in visit.sightings)
