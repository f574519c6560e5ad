"""The demonstration's result for programs: plain JSON, units in the names, reported and true values side by side."""

from dataclasses import asdict
from typing import Any

from dicom_node import __version__
from dicom_node.demo.followup import Row, StudyResult
from dicom_node.demo.outcome import DemoOutcome
from dicom_node.demo.truth import Pair
from dicom_node.results.findings import Finding


def lesions_document(outcome: DemoOutcome) -> dict[str, Any]:
    """Return everything that was found, missed and measured as values that JSON can hold."""
    return {
        "notice": "synthetic patient; automatic result, not verified; not for diagnostic use",
        "version": __version__,
        "seed": outcome.seed,
        "patient_id": outcome.patient_id,
        "figures": asdict(outcome.figures),
        "timings_s": dict(outcome.timings_s),
        "studies": [_study(result) for result in outcome.results],
    }


def _study(result: StudyResult) -> dict[str, Any]:
    pairs = {pair.finding.tracking_uid: pair for pair in result.match.pairs}
    return {
        "study_uid": result.findings.study_uid,
        "study_date": result.truth.study_date.isoformat(),
        "result_uids": dict(result.findings.objects),
        "remarks": list(result.findings.remarks),
        "course": list(result.findings.course),
        "lesions": [
            _reported(row.finding) | {"truth": _truth(row, pairs.get(row.finding.tracking_uid))}
            for row in result.rows
            if row.finding
        ],
        "not_reported": [_truth(row, None) for row in result.rows if row.finding is None],
    }


def _reported(finding: Finding) -> dict[str, Any]:
    return {
        "tracking_id": finding.tracking_id,
        "tracking_uid": finding.tracking_uid,
        "state": finding.state,
        "volume_mm3": finding.volume_mm3,
        "prior_volume_mm3": finding.prior_volume_mm3,
        "change_percent": finding.change_percent,
        "longest_diameter_mm": finding.longest_diameter_mm,
        "perpendicular_diameter_mm": finding.perpendicular_diameter_mm,
        "centroid_mm": list(finding.centroid_mm) if finding.centroid_mm else None,
        "colour": finding.colour,
    }


def _truth(row: Row, pair: Pair | None) -> dict[str, Any]:
    """Return the true lesion of a row; ``names`` is empty for a false positive."""
    values: dict[str, Any] = {
        "verdict": row.verdict,
        "names": list(row.names),
        "state": row.expected_state or None,
        "volume_mm3": row.true_volume_mm3,
        "prior_volume_mm3": row.true_prior_volume_mm3,
        "change_percent": row.true_change_percent,
        "longest_diameter_mm": row.true_diameter_mm,
    }
    if pair:
        values |= {
            "centroid_mm": list(pair.truth.centroid_mm),
            "dice": pair.dice,
            "distance_mm": pair.distance_mm,
        }
    return values
