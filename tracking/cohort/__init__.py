"""Survival of cohorts by the speed of their metastases: for groups in research, never a prognosis in a report.

Statistics are those of lifelines, which comes with the extra ``cohort``.
"""

from importlib.util import find_spec

if find_spec("lifelines") is None:
    raise ImportError(
        "Cohort statistics need lifelines, which is not installed; run: pip install 'brainmets-dicom-node[cohort]'."
    )

from tracking.cohort.regression import CoxModel, HazardRatio, Multivariable, multivariable, univariable
from tracking.cohort.subjects import Rate, Subject, read_subjects
from tracking.cohort.survival import SurvivalCurve, TestResult, kaplan_meier, log_rank, quartile_groups

__all__ = [
    "CoxModel",
    "HazardRatio",
    "Multivariable",
    "Rate",
    "Subject",
    "SurvivalCurve",
    "TestResult",
    "kaplan_meier",
    "log_rank",
    "multivariable",
    "quartile_groups",
    "read_subjects",
    "univariable",
]
