"""Matching with the truth on cases made by hand: each kind of agreement and of error once, counted exactly."""

from dataclasses import replace

import numpy as np
import pytest

from dicom_node.demo.followup import compare_patient, figures_of, true_state
from dicom_node.demo.truth import match_study
from dicom_node.results.findings import Finding, StudyFindings
from inference.synthesis.patient import SyntheticPatient, SyntheticStudy


def perfect(study: SyntheticStudy, uids: dict[int, str], states: dict[int, str]) -> StudyFindings:
    """Findings that equal the truth."""
    findings = tuple(
        Finding(
            tracking_uid=uids[lesion.number],
            tracking_id=f"L{uids[lesion.number]}",
            state=states[lesion.number],
            number=lesion.number,
            volume_mm3=lesion.volume_mm3,
            longest_diameter_mm=lesion.longest_diameter_mm,
            centroid_mm=lesion.centroid_mm,
        )
        for lesion in study.lesions
    )
    return StudyFindings(study_uid="1.2", study_date=study.study_date, findings=findings, labels=study.labels)


def gone(uid: str, state: str = "resolved") -> Finding:
    return Finding(tracking_uid=uid, tracking_id=f"L{uid}", state=state, number=0, volume_mm3=0)


@pytest.fixture
def reported(patient: SyntheticPatient) -> tuple[StudyFindings, StudyFindings]:
    """Everything found and followed without fault."""
    prior = perfect(patient.studies[0], dict(enumerate("1234", 1)), dict.fromkeys(range(1, 5), "baseline"))
    current = perfect(patient.studies[1], {1: "1", 2: "3", 3: "5"}, {1: "persistent", 2: "merged", 3: "new"})
    return prior, replace(current, findings=(*current.findings, gone("2")))


def test_perfect_findings_have_no_error(
    patient: SyntheticPatient, reported: tuple[StudyFindings, StudyFindings]
) -> None:
    figures = figures_of(compare_patient(reported, patient))
    assert (figures.found, figures.lesions, figures.false_positives, figures.joined) == (7, 7, 0, 0)
    assert (figures.identities_kept, figures.identities) == (2, 2)
    assert (figures.states_right, figures.states) == (8, 8)
    assert figures.volume_error_percent == pytest.approx(0)
    assert figures.diameter_error_mm == pytest.approx(0)


def test_rows_carry_the_truth_then_and_now(
    patient: SyntheticPatient, reported: tuple[StudyFindings, StudyFindings]
) -> None:
    rows = {row.names: row for row in compare_patient(reported, patient)[1].rows}
    truth = {lesion.names: lesion for study in patient.studies for lesion in study.lesions}
    merged = rows["C", "D"]
    assert merged.true_prior_volume_mm3 == truth["C",].volume_mm3 + truth["D",].volume_mm3
    assert rows["B",].expected_state == "resolved"
    assert rows["B",].true_change_percent == -100
    assert rows["E",].true_change_percent is None
    assert {row.verdict for row in rows.values()} == {"right"}


def test_true_states(patient: SyntheticPatient) -> None:
    prior, current = patient.studies
    assert [true_state(lesion, current, [prior]) for lesion in current.lesions] == ["persistent", "merged", "new"]
    assert {true_state(lesion, prior, []) for lesion in prior.lesions} == {"baseline"}
    back = [true_state(lesion, prior, [prior, current]) for lesion in prior.lesions]
    assert back == ["persistent", "recurrent", "split", "split"]


def test_swapped_identities_are_not_kept(
    patient: SyntheticPatient, reported: tuple[StudyFindings, StudyFindings]
) -> None:
    prior, current = reported
    swapped = {"1": "3", "3": "1"}
    findings = tuple(
        replace(finding, tracking_uid=swapped.get(finding.tracking_uid, finding.tracking_uid))
        for finding in current.findings
    )
    results = compare_patient((prior, replace(current, findings=findings)), patient)
    figures = figures_of(results)
    assert (figures.identities_kept, figures.identities) == (0, 2)
    assert figures.states_right == 8
    verdicts = {row.names: row.verdict for row in results[1].rows}
    assert verdicts["A",] == verdicts["C", "D"] == "new identity"


def test_wrong_state_is_counted(patient: SyntheticPatient, reported: tuple[StudyFindings, StudyFindings]) -> None:
    prior, current = reported
    findings = tuple(replace(finding, state="new") for finding in current.findings)
    figures = figures_of(compare_patient((prior, replace(current, findings=findings)), patient))
    assert (figures.states_right, figures.states) == (5, 8)


def test_lesion_missed_before_is_rightly_called_new(
    patient: SyntheticPatient, reported: tuple[StudyFindings, StudyFindings]
) -> None:
    prior, current = reported
    without_a = replace(prior, findings=prior.findings[1:])
    as_new = replace(current.findings[0], state="new", tracking_uid="9")
    results = compare_patient((without_a, replace(current, findings=(as_new, *current.findings[1:]))), patient)
    assert {row.names: row.verdict for row in results[1].rows}["A",] == "missed before"
    figures = figures_of(results)
    assert (figures.found, figures.states_right, figures.states) == (6, 6, 6)
    assert (figures.identities_kept, figures.identities) == (1, 1)


def test_lesion_missed_now_is_wrongly_called_resolved_and_told_once(
    patient: SyntheticPatient, reported: tuple[StudyFindings, StudyFindings]
) -> None:
    prior, current = reported
    results = compare_patient((prior, replace(current, findings=(gone("1"), *current.findings[1:]))), patient)
    assert [row.verdict for row in results[1].rows if row.names == ("A",)] == ["missed, called resolved"]
    assert [lesion.names for lesion in results[1].match.missed] == [("A",)]
    figures = figures_of(results)
    assert (figures.found, figures.states_right, figures.states) == (6, 7, 8)


def test_resolved_lesion_that_is_not_told_of_is_noticed(
    patient: SyntheticPatient, reported: tuple[StudyFindings, StudyFindings]
) -> None:
    prior, current = reported
    silent = replace(current, findings=tuple(finding for finding in current.findings if finding.tracking_uid != "2"))
    results = compare_patient((prior, silent), patient)
    assert [row.names for row in results[1].rows if row.verdict == "not carried on"] == [("B",)]
    figures = figures_of(results)
    assert (figures.states_right, figures.states) == (7, 8)


def test_missed_false_joined_and_fragment_are_told_apart(patient: SyntheticPatient) -> None:
    study = patient.studies[0]
    labels = study.labels.array.copy()
    labels[labels == 2] = 0  # B is missed
    labels[labels == 4] = 3  # C and D are reported as one
    middle = np.argwhere(labels == 1)[:, 1].mean()
    part = (labels == 1) & (np.arange(labels.shape[1])[None, :, None] > middle + 2)
    labels[part] = 5  # a piece of A stands alone
    labels[2:5, 2:5, 2:5] = 6  # outside the head

    def finding(number: int) -> Finding:
        centre = study.labels.affine @ np.append(np.argwhere(labels == number).mean(axis=0), 1)
        x, y, z = centre[:3]
        return Finding(
            tracking_uid=str(number), tracking_id=f"L{number}", state="baseline", number=number, volume_mm3=100,
            centroid_mm=(float(x), float(y), float(z)),
        )  # fmt: skip

    reported = StudyFindings(
        study_uid="1.2",
        study_date=study.study_date,
        findings=tuple(finding(number) for number in (1, 3, 5, 6)),
        labels=study.labels.with_array(labels),
    )
    match = match_study(reported, study)
    assert {pair.truth.names: pair.finding.number for pair in match.pairs}[("A",)] == 1
    assert len(match.pairs) == 2
    assert [finding.number for _, finding in match.joined] == [3]
    assert [lesion.names for lesion in match.missed] == [("B",)]
    assert [(finding.number, lesion.names) for finding, lesion in match.fragments] == [(5, ("A",))]
    assert [finding.number for finding in match.false_positives] == [6]


def test_segmentation_on_another_grid_is_placed_by_its_geometry(
    patient: SyntheticPatient, reported: tuple[StudyFindings, StudyFindings]
) -> None:
    labels = patient.studies[0].labels
    cropped = labels[10:50, 5:, :60]
    assert match_study(replace(reported[0], labels=cropped), patient.studies[0]).pairs == (
        match_study(reported[0], patient.studies[0]).pairs
    )
    shifted_affine = labels.affine.copy()
    shifted_affine[:3, 3] += (0, 0, 20)
    shifted = type(labels)(labels.array, shifted_affine, "PATIENT")
    moved = tuple(
        replace(f, centroid_mm=(f.centroid_mm[0], f.centroid_mm[1], f.centroid_mm[2] + 20))
        for f in reported[0].findings
        if f.centroid_mm
    )
    assert not match_study(replace(reported[0], labels=shifted, findings=moved), patient.studies[0]).pairs


def test_study_without_results_misses_everything(patient: SyntheticPatient) -> None:
    nothing = tuple(
        StudyFindings(study_uid="1.2", study_date=study.study_date, findings=(), labels=None)
        for study in patient.studies
    )
    figures = figures_of(compare_patient(nothing, patient))
    assert (figures.found, figures.lesions, figures.volume_error_percent, figures.identities) == (0, 7, None, 0)
