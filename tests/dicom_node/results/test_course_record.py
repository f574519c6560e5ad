"""Visits written into a report and read from its file; chains of reports in a real archive."""

from dataclasses import replace
from datetime import date
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread

from dicom_node.errors import InvalidStudyError
from dicom_node.network.archive.folder import FolderArchive
from dicom_node.results import codes
from dicom_node.results.content import child_named, descendants
from dicom_node.results.course_record import EarlierReport, earlier_report, read_visits
from dicom_node.results.report import Findings, build_report
from dicom_node.results.segmentation import build_segmentation
from dicom_node.studies.prior import reports_before
from tests.dicom_node.results.phantoms import IDENTITY, MODEL, Patient, first_study, grid, mr_series, with_balls
from tracking.visit import Presence, Sighting, Visit

LABELS = with_balls(grid((12, 20, 20), (2.0, 1.0, 1.0)), [((6, 10, 9), 4.0)])
SIZES_MM = st.floats(0.001, 1e6).map(lambda size: max(round(size, 3), 0.001))
IDENTITIES = st.integers(1, 999)


@st.composite
def sightings(draw: st.DrawFn) -> Sighting:
    presence = draw(st.sampled_from(Presence))
    name = draw(IDENTITIES)
    size: dict[str, object] = {}
    if presence == Presence.PRESENT:
        size = {key: draw(SIZES_MM) for key in ("volume_mm3", "longest_diameter_mm", "perpendicular_diameter_mm")}
        size |= {"slice_count": draw(st.integers(1, 40)), "plane_count": draw(st.sampled_from([0, 1, 3]))}
    if presence == Presence.MERGED:
        size = {"merged_into": f"2.25.{draw(IDENTITIES)}"}
    known = {"tracking_uid": f"2.25.{name}", "tracking_id": draw(st.sampled_from([f"L{name}", "Läsion 3"]))}
    doubts = {"certain": draw(st.booleans()), "onset_known": draw(st.booleans())}
    return Sighting(presence=presence, **known, **doubts, **size)  # type: ignore[arg-type]  # names of fields


VISITS = st.builds(
    Visit,
    day=st.dates(date(1990, 1, 1), date(2060, 1, 1)),
    slice_spacing_mm=st.floats(0.5, 9).map(lambda spacing: round(spacing, 4)),
    sightings=st.lists(sightings(), max_size=5, unique_by=lambda one: one.tracking_uid).map(tuple),
    inadequate=st.lists(st.sampled_from(["T1c is missing", "moved"]), max_size=2, unique=True).map(tuple),
)


def visit_of_everything() -> Visit:
    """A visit with a lesion of every presence, and every doubt."""
    lesions = (
        Sighting(
            tracking_uid="2.25.1", tracking_id="L1", volume_mm3=10, longest_diameter_mm=3,
            perpendicular_diameter_mm=2.5, slice_count=2, plane_count=3, certain=False, onset_known=False,
        ),
        Sighting(tracking_uid="2.25.2", tracking_id="L2", presence=Presence.ABSENT),
        Sighting(tracking_uid="2.25.3", tracking_id="L3", presence=Presence.NOT_SHOWN),
        Sighting(tracking_uid="2.25.4", tracking_id="L4", presence=Presence.MERGED, merged_into="2.25.1"),
    )  # fmt: skip
    return Visit(day=date(2024, 5, 6), slice_spacing_mm=5.0, sightings=lesions, inadequate=("no FLAIR",))


def report(*visits: Visit, prior_report: EarlierReport | None = None, patient: Patient | None = None) -> Dataset:
    """A report of one lesion, as a file that was read again."""
    images = mr_series(LABELS, patient or Patient())
    comparison = first_study(LABELS, study_uid=str(images[0].StudyInstanceUID))
    if prior_report:
        comparison = replace(comparison, prior_study_uid=prior_report.study_uid, prior_date=date(2024, 5, 1))
    findings = Findings(
        source_images=images,
        lesions=LABELS,
        segmentation=build_segmentation(images, LABELS, comparison, MODEL, identity=IDENTITY),
        comparison=comparison,
        visits=visits,
        prior_report=prior_report,
    )
    file = BytesIO()
    build_report(findings, MODEL, identity=IDENTITY).save_as(file)
    file.seek(0)
    return dcmread(file)


@settings(max_examples=15, deadline=None)
@given(visits=st.lists(VISITS, max_size=2, unique_by=lambda visit: visit.day))
def test_visits_come_back_as_they_were(visits: list[Visit]) -> None:
    assert read_visits(report(*visits)) == tuple(sorted(visits, key=lambda visit: visit.day))


def test_a_damaged_record_is_told() -> None:
    document = report(visit_of_everything())
    record = next(descendants(document, codes.SIGHTING))
    uid = child_named(record, codes.TRACKING_UID)
    record.ContentSequence = [item for item in record.ContentSequence if item is not uid]
    with pytest.raises(InvalidStudyError, match="Tracking Unique Identifier is missing"):
        read_visits(document)


def test_a_first_report_goes_back_to_none() -> None:
    assert earlier_report(report(visit_of_everything())) is None


@pytest.fixture
def chain(tmp_path: Path) -> list[Path]:
    """Reports of three studies, each of which goes back to the one before."""
    paths: list[Path] = []
    link = None
    for number in range(3):
        patient = Patient(study_uid=f"1.2.840.{number}", study_date=f"2024050{number + 1}")
        document = report(visit_of_everything(), prior_report=link, patient=patient)
        paths.append(tmp_path / f"{document.SOPInstanceUID}.dcm")
        document.save_as(paths[-1])
        link = EarlierReport(study_uid=patient.study_uid, sop_instance_uid=str(document.SOPInstanceUID))
    return paths


def test_a_chain_of_reports_is_followed_to_its_beginning(chain: list[Path], tmp_path: Path) -> None:
    archive = FolderArchive(tmp_path / "archive")
    archive.store(chain)
    found, gap = reports_before(archive, chain[-1], tmp_path / "prior")
    assert [path.name for path in found] == [path.name for path in reversed(chain[:-1])]
    assert gap == ()


def test_a_chain_with_a_gap_is_told(chain: list[Path], tmp_path: Path) -> None:
    archive = FolderArchive(tmp_path / "archive")
    archive.store([chain[0], chain[2]])
    found, gap = reports_before(archive, chain[-1], tmp_path / "prior")
    assert found == ()
    assert gap == ("The archive no longer has our report of an earlier study, so the course begins after it.",)
