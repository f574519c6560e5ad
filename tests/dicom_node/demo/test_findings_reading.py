"""SEG and SR written by the node's own writers into a folder archive, read back by the demonstration."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom import Volume

from dicom_node.demo.phantom import identity_for, write_study
from dicom_node.results.findings import StudyFindings
from dicom_node.results.findings_reading import read_findings
from dicom_node.results.provenance import ResultIdentity
from dicom_node.results.report import Findings, build_report
from dicom_node.results.segmentation import build_segmentation
from inference.manifest import Manifest
from inference.synthesis.patient import SyntheticPatient
from tracking.comparison import Comparison
from tracking.lesion import Lesion
from tracking.measurement import measure_lesions
from tracking.track import EmptySite, LesionTrack, TrackState

MODEL = Manifest(
    name="hand",
    version="1",
    sha256="ab" * 32,
    channels=("T1c",),
    labels=("background", "lesion"),
    spacing_mm=1.0,
    window=(96, 96, 96),
    features=(8, 8, 16, 32, 64, 8),
    threshold=0.5,
    minimum_volume_mm3=10.0,
    training_data="none",
    licence="Apache-2.0",
)
IDENTITY = ResultIdentity(revision="1", created=datetime(2025, 5, 6, tzinfo=UTC), device_serial_number="node-1")
REMARK = "Dural disease is not assessed."


def track(name: int, state: TrackState, prior: tuple[Lesion, ...], current: tuple[Lesion, ...]) -> LesionTrack:
    return LesionTrack(
        tracking_uid=f"2.25.{name}", tracking_id=f"L{name:02d}", state=state, prior=prior, current=current,
        confidence=0.9, remarks=("verify: far away",) if name == 2 else (),
    )  # fmt: skip


@pytest.fixture(scope="module")
def archive(patient: SyntheticPatient, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The current study with its results: A persistent, B resolved, CD merged in two parts, E new."""
    folder = tmp_path_factory.mktemp("archive")
    study = patient.studies[1]
    images = [pydicom.dcmread(path) for path in write_study(study, identity=identity_for(7), folder=folder / "raw")]
    t1c = [image for image in images if image.SeriesNumber == 5]
    study_uid = str(t1c[0].StudyInstanceUID)
    array = study.labels.array.copy()
    array[(array == 2) & (np.arange(array.shape[2]) > np.argwhere(array == 2)[:, 2].mean())] = 4
    labels = Volume(array, study.labels.affine, "PATIENT", frame_of_reference_uid=str(t1c[0].FrameOfReferenceUID))
    a, c, e, d = measure_lesions(labels)
    before = measure_lesions(patient.studies[0].labels)
    comparison = Comparison(
        current_study_uid=study_uid,
        current_date=study.study_date,
        prior_study_uid="1.2.3",
        prior_date=patient.studies[0].study_date,
        slice_spacing_mm=1.5,
        prior_slice_spacing_mm=1.5,
        tracks=(
            track(1, TrackState.PERSISTENT, (before[0],), (a,)),
            track(2, TrackState.RESOLVED, (before[1],), ()),
            track(3, TrackState.SPLIT, (before[2],), (c, d)),
            track(5, TrackState.NEW, (), (e,)),
        ),
        remarks=(REMARK,),
    )
    seg = build_segmentation(t1c, labels, comparison, MODEL, identity=IDENTITY)
    findings = Findings(
        source_images=t1c, lesions=labels, segmentation=seg, comparison=comparison,
        empty_sites={"2.25.2": (EmptySite(site_mm=(18.0, 9.0, 19.0), volume_mm3=None),)},
        course=("Partial response.", "No new tumour."),
    )  # fmt: skip
    report = build_report(findings, MODEL, identity=IDENTITY)
    for instance in (t1c[0], seg, report):
        path = folder / study_uid / str(instance.SeriesInstanceUID) / f"{instance.SOPInstanceUID}.dcm"
        path.parent.mkdir(parents=True)
        instance.save_as(path, enforce_file_format=True)
    return folder, study_uid


@pytest.fixture(scope="module")
def findings(archive: tuple[Path, str]) -> StudyFindings:
    return read_findings(*archive)


def test_every_identity_is_read_with_its_state(findings: StudyFindings) -> None:
    assert [(f.tracking_uid, f.tracking_id, f.state) for f in findings.findings] == [
        ("2.25.1", "L01", "persistent"),
        ("2.25.2", "L02", "resolved"),
        ("2.25.3", "L03", "split"),
        ("2.25.5", "L05", "new"),
    ]
    assert findings.remarks == (REMARK,)
    assert findings.course == ("Partial response.", "No new tumour.")
    assert set(findings.objects) == {"SEG", "SR"}


def test_values_equal_what_was_reported(findings: StudyFindings, patient: SyntheticPatient) -> None:
    truth = {lesion.names: lesion for study in patient.studies for lesion in study.lesions}
    by_id = {finding.tracking_id: finding for finding in findings.findings}
    grown = by_id["L01"]
    prior_a, current_a = patient.studies[0].lesions[0], patient.studies[1].lesions[0]
    assert grown.volume_mm3 == pytest.approx(current_a.volume_mm3, rel=1e-4)
    assert grown.prior_volume_mm3 == pytest.approx(prior_a.volume_mm3, rel=1e-4)
    assert grown.change_percent == pytest.approx(100 * (current_a.volume_mm3 / prior_a.volume_mm3 - 1), abs=0.01)
    assert grown.longest_diameter_mm == pytest.approx(14, abs=1.5)
    assert grown.centroid_mm == pytest.approx(current_a.centroid_mm, abs=0.3)
    gone = by_id["L02"]
    assert (gone.volume_mm3, gone.number) == (0, 0)
    assert gone.centroid_mm == pytest.approx((18, 9, 19), abs=1e-4)
    assert gone.remarks == ("verify: far away",)
    assert by_id["L03"].volume_mm3 == pytest.approx(truth["C", "D"].volume_mm3, rel=1e-4)
    assert by_id["L05"].prior_volume_mm3 is None


def test_labels_lie_where_the_lesions_are(findings: StudyFindings, patient: SyntheticPatient) -> None:
    assert findings.labels is not None
    parts = next(finding for finding in findings.findings if finding.tracking_id == "L03")
    voxels = int((findings.labels.array == parts.number).sum())
    assert voxels == int((patient.studies[1].labels.array == 2).sum())
    assert len({finding.number for finding in findings.segmented}) == 3


def test_colours_are_those_of_the_segmentation(findings: StudyFindings) -> None:
    assert all(finding.colour.startswith("#") for finding in findings.findings)
    assert len({finding.colour for finding in findings.findings}) == 4


def test_study_without_results_has_no_findings(archive: tuple[Path, str], tmp_path: Path) -> None:
    folder, study_uid = archive
    image = next(path for path in (folder / study_uid).rglob("*.dcm") if pydicom.dcmread(path).Modality == "MR")
    (tmp_path / study_uid / "1").mkdir(parents=True)
    (tmp_path / study_uid / "1" / "1.dcm").write_bytes(image.read_bytes())
    findings = read_findings(tmp_path, study_uid)
    assert (findings.findings, findings.labels, dict(findings.objects)) == ((), None, {})


def test_study_that_never_arrived_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no instance of the study .*1\.2\.3"):
        read_findings(tmp_path, "1.2.3")
