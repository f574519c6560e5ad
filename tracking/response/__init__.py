"""Response of brain metastases by the imaging part of RANO-BM (Lin et al., Lancet Oncol 2015): numbers in, verdict out.

`rules` is the decision table, without any memory; `course` applies it to a patient's visits; `wording` says the result
with all its numbers. Steroids and the clinical state are part of RANO-BM too, but not known here.
"""

from tracking.response.course import Assessment, TargetSize, assess_course
from tracking.response.rules import (
    Measurability,
    NewLesions,
    NonTargetStatus,
    Overall,
    Sums,
    TargetStatus,
    measurability,
    non_target_status,
    overall_response,
    target_status,
    volumetric_status,
)
from tracking.response.targets import Criteria, choose_targets
from tracking.response.wording import NOT_KNOWN, describe

__all__ = [
    "NOT_KNOWN",
    "Assessment",
    "Criteria",
    "Measurability",
    "NewLesions",
    "NonTargetStatus",
    "Overall",
    "Sums",
    "TargetSize",
    "TargetStatus",
    "assess_course",
    "choose_targets",
    "describe",
    "measurability",
    "non_target_status",
    "overall_response",
    "target_status",
    "volumetric_status",
]
