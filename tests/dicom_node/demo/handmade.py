"""A whole outcome made by hand: lesions found with small errors, one missed, one false positive."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from dicom_node.demo.followup import compare_patient, figures_of
from dicom_node.demo.outcome import DemoOutcome, JobReport, SeriesRole
from dicom_node.results.findings import Finding, StudyFindings
from inference.synthesis.patient import SyntheticPatient, SyntheticStudy
from tracking.measurement import measure_lesions

COLOURS = {"1": "#e6194b", "2": "#3cb44b", "3": "#4363d8", "5": "#ffe119", "9": "#f58231"}


def findings_of(study: SyntheticStudy, uids: Mapping[int, str], states: Mapping[str, str]) -> StudyFindings:
    """Report the true lesions under these UIDs, shifted by a voxel, and a false positive at the edge of the head."""
    labels = np.roll(study.labels.array, 1, axis=2)
    labels = np.where(np.isin(labels, list(uids)), labels, 0).astype(np.uint16)
    labels[20:23, 10:13, 30:33] = 9
    volume = study.labels.with_array(labels)
    named = {**uids, 9: "9"}
    found = tuple(
        Finding(
            tracking_uid=named[lesion.number],
            tracking_id=f"L{int(named[lesion.number]):02d}",
            state=states[named[lesion.number]],
            number=lesion.number,
            volume_mm3=lesion.total_volume_mm3,
            longest_diameter_mm=lesion.longest_diameter.length_mm,
            perpendicular_diameter_mm=lesion.perpendicular_diameter.length_mm,
            centroid_mm=lesion.centroid_mm,
            colour=COLOURS[named[lesion.number]],
        )
        for lesion in measure_lesions(volume)
    )
    return StudyFindings(
        study_uid=f"1.2.{study.study_date:%Y%m%d}",
        study_date=study.study_date,
        findings=found,
        labels=volume,
        objects={"SEG": "1.2.3.4", "SR": "1.2.3.5"},
    )


def outcome_for(patient: SyntheticPatient) -> DemoOutcome:
    """Make the outcome of the small patient: D is missed before, E is found, the false positive stays."""
    first, second = patient.studies
    prior = findings_of(first, {1: "1", 2: "2", 3: "3"}, dict.fromkeys("1239", "baseline"))
    states = {"1": "persistent", "3": "persistent", "5": "new", "9": "persistent"}
    current = findings_of(second, {1: "1", 2: "3", 3: "5"}, states)
    then = {finding.tracking_uid: finding.volume_mm3 for finding in prior.findings}
    findings = tuple(_with_prior(finding, then.get(finding.tracking_uid)) for finding in current.findings)
    site = next(finding.centroid_mm for finding in prior.findings if finding.tracking_uid == "2")
    gone = Finding(
        tracking_uid="2", tracking_id="L02", state="resolved", number=0, volume_mm3=0, prior_volume_mm3=then["2"],
        change_percent=-100, centroid_mm=site, colour=COLOURS["2"],
    )  # fmt: skip
    current = replace(current, findings=(*findings, gone), remarks=("Dural <disease> is not assessed.",))
    results = compare_patient((prior, current), patient)
    series = (
        SeriesRole(series_number=5, description="t1 post", role="T1c", reason="gradient echo with contrast agent"),
        SeriesRole(series_number=1, description="localizer", role="", reason="three orientations in one series"),
    )
    jobs = tuple(
        JobReport(study_uid=r.findings.study_uid, state="done", series=series, timings_s={"segmentation": 31.5})
        for r in results
    )
    return DemoOutcome(
        seed=7,
        patient_id="SYNTHETIC-000007",
        results=results,
        jobs=jobs,
        figures=figures_of(results),
        timings_s={"generate the patient": 12.0, "send and analyse": 120.5},
    )


def _with_prior(finding: Finding, prior_mm3: float | None) -> Finding:
    change = None if prior_mm3 is None else 100 * (finding.volume_mm3 / prior_mm3 - 1)
    return replace(finding, prior_volume_mm3=prior_mm3, change_percent=change)
