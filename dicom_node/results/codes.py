"""Every coded concept that results use, in one place; what no standard scheme has is in a declared private scheme."""

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.sr.coding import Code

from tracking.measurement import Side
from tracking.track import TrackState
from tracking.visit import Presence

MANUFACTURER = "brainmets-dicom-node"  # (0008,0070) of every result; routing rules know results by it
MODEL_NAME = "Brain metastasis follow-up"  # (0008,1090)

PRIVATE_SCHEME = "99BRAINMETS"
IHE_SCHEME = "99IHE"

# Segments (PS3.16 CID 7150, 7159, 4031, 7162)
ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
METASTASIS = Code("14799000", "SCT", "Neoplasm, Secondary")
BRAIN = Code("12738006", "SCT", "Brain")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")

# Where in the brain (PS3.16 CID 7140, 7151, 244), by the names of `inference.anatomy` and `tracking.measurement`
REGIONS = {
    "cerebral hemisphere": Code("372073000", "SCT", "Cerebral hemisphere"),
    "cerebellum": Code("113305005", "SCT", "Cerebellum"),
    "cerebral white matter": Code("68523003", "SCT", "Cerebral White Matter"),
    "cerebral cortex": Code("40146001", "SCT", "Cerebral Gray Matter"),
    "lateral ventricle": Code("66720007", "SCT", "Lateral Ventricle"),
    "cerebellar white matter": Code("33060004", "SCT", "Cerebellar White Matter"),
    "cerebellar cortex": Code("25991003", "SCT", "Cerebellar Cortex"),
    "thalamus": Code("119406000", "SCT", "Thalamus"),
    "caudate nucleus": Code("11000004", "SCT", "Caudate Nucleus"),
    "putamen": Code("89278009", "SCT", "Putamen"),
    "pallidum": Code("14738005", "SCT", "Globus Pallidus"),
    "hippocampus": Code("5366008", "SCT", "Hippocampus"),
    "amygdala": Code("4958002", "SCT", "Amygdala"),
    "nucleus accumbens": Code("427667007", "SCT", "Nucleus Accumbens"),
    "ventral diencephalon": Code("110700", "DCM", "Ventral Diencephalon"),
    "third ventricle": Code("49841001", "SCT", "Third ventricle"),
    "fourth ventricle": Code("35918002", "SCT", "Fourth Ventricle"),
    "brain stem": Code("119238007", "SCT", "Brain Stem"),
}
SIDES = {Side.LEFT: Code("7771000", "SCT", "Left"), Side.RIGHT: Code("24028007", "SCT", "Right")}

# Report (PS3.16 TID 1500, TID 1411)
MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")
TEXT_REPORT = Code("126001", "DCM", "Oncology Measurement Report")
MRI_PROCEDURE = Code("25056-3", "LN", "MRI Unspecified Body Region")  # CID 100 has none that says head
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
IMAGING_MEASUREMENTS = Code("126010", "DCM", "Imaging Measurements")
MEASUREMENT_GROUP = Code("125007", "DCM", "Measurement Group")
TRACKING_IDENTIFIER = Code("112039", "DCM", "Tracking Identifier")
TRACKING_UID = Code("112040", "DCM", "Tracking Unique Identifier")
SUMMARY = Code("121111", "DCM", "Summary")
COMMENT = Code("121106", "DCM", "Comment")
VOLUME = Code("118565006", "SCT", "Volume")
MEASUREMENT_METHOD = Code("370129005", "SCT", "Measurement Method")
VOXEL_SUM = Code("126030", "DCM", "Sum of segmented voxel method for volume")
LONG_AXIS = Code("103339001", "SCT", "Long axis")
SHORT_AXIS = Code("103340004", "SCT", "Short axis")
SIZE_CHANGE = Code("129806009", "SCT", "Difference in size")
INCREASE = Code("15454001", "SCT", "Increase in size")
DECREASE = Code("19776001", "SCT", "Decrease in size")
NO_SIGNIFICANT_CHANGE = Code("129723006", "SCT", "No significant changes")
PROCESSING_ALGORITHM = Code("Newcode1", IHE_SCHEME, "Processing Algorithm")

# Units (UCUM)
CUBIC_MILLIMETER = Code("mm3", "UCUM", "cubic millimeter")
MILLIMETER = Code("mm", "UCUM", "millimeter")
PERCENT = Code("%", "UCUM", "percent")
RATIO = Code("1", "UCUM", "no units")

# What no standard scheme names
VOLUME_CHANGE = Code("volume-change", PRIVATE_SCHEME, "Volume change from prior")
PRIOR_VOLUME = Code("prior-volume", PRIVATE_SCHEME, "Volume in prior study")
MATCH_CONFIDENCE = Code("match-confidence", PRIVATE_SCHEME, "Confidence of match with prior")
FINDING_CONFIDENCE = Code("finding-confidence", PRIVATE_SCHEME, "Confidence of model that this is a lesion")
LESION_STATE = Code("lesion-state", PRIVATE_SCHEME, "Lesion state since prior study")
LESION_COUNT = Code("lesion-count", PRIVATE_SCHEME, "Lesions in this study")
TOTAL_VOLUME = Code("total-volume", PRIVATE_SCHEME, "Total lesion volume")
PRIOR_STUDY = Code("prior-study", PRIVATE_SCHEME, "Prior study compared with")
SERIES_ROLE = Code("series-role", PRIVATE_SCHEME, "Use of series")
UNSHOWN_LESION = Code("unshown-lesion", PRIVATE_SCHEME, "Lesion that no image of this study shows")
EMPTY_SITE = Code("empty-site", PRIVATE_SCHEME, "Place where part of lesion was")
LAST_SITE = Code("last-site", PRIVATE_SCHEME, "Last known site")
REMARK = Code("remark", PRIVATE_SCHEME, "Remark for the reader")
COURSE = Code("course", PRIVATE_SCHEME, "Course over all studies")
LAST_VOLUME = Code("last-volume", PRIVATE_SCHEME, "Volume when last seen")

# The record of each visit, from which a later study tells the course (`results.course_record`)
PRIOR_REPORT = Code("prior-report", PRIVATE_SCHEME, "Report of prior study that identities come from")
VISIT = Code("visit", PRIVATE_SCHEME, "Record of visit")
STUDY_DATE = Code("111060", "DCM", "Study Date")
SLICE_SPACING = Code("112226", "DCM", "Spacing between slices")
INADEQUATE = Code("inadequate", PRIVATE_SCHEME, "Reason why sizes must not be judged")
SIGHTING = Code("sighting", PRIVATE_SCHEME, "Record of lesion")
PRESENCE = Code("presence", PRIVATE_SCHEME, "Presence of lesion")
SLICE_COUNT = Code("slice-count", PRIVATE_SCHEME, "Slices in which lesion is seen")
PLANE_COUNT = Code("plane-count", PRIVATE_SCHEME, "Orthogonal planes in which lesion is seen")
MERGED_INTO = Code("merged-into", PRIVATE_SCHEME, "Lesion that it has become part of")
DOUBT = Code("doubt", PRIVATE_SCHEME, "Doubt")
TO_VERIFY = Code("to-verify", PRIVATE_SCHEME, "Finding or identity to be verified")
ONSET_NOT_KNOWN = Code("onset-not-known", PRIVATE_SCHEME, "May be older than first seen")

STATES = {
    TrackState.NEW: Code("new", PRIVATE_SCHEME, "New lesion"),
    TrackState.PERSISTENT: Code("persistent", PRIVATE_SCHEME, "Lesion also in prior study"),
    TrackState.RESOLVED: Code("resolved", PRIVATE_SCHEME, "Lesion no longer found"),
    TrackState.RECURRENT: Code("recurrent", PRIVATE_SCHEME, "Lesion found again after it had resolved"),
    TrackState.MERGED: Code("merged", PRIVATE_SCHEME, "Lesions of prior study have merged"),
    TrackState.SPLIT: Code("split", PRIVATE_SCHEME, "Lesion of prior study has split"),
    TrackState.BASELINE: Code("baseline", PRIVATE_SCHEME, "First study of lesion"),
    TrackState.NOT_ASSESSED: Code("not-assessed", PRIVATE_SCHEME, "Site of lesion not shown, nothing can be said"),
}

PRESENCES = {
    Presence.PRESENT: Code("present", PRIVATE_SCHEME, "Lesion is seen"),
    Presence.ABSENT: Code("absent", PRIVATE_SCHEME, "Lesion is not seen"),
    Presence.MERGED: Code("merged", PRIVATE_SCHEME, "Lesions of prior study have merged"),
    Presence.NOT_SHOWN: Code("not-shown", PRIVATE_SCHEME, "Site of lesion is not in images"),
}

IHE_CODING_SCHEME = CodingSchemeIdentificationItem(
    designator=IHE_SCHEME, name="IHE provisional codes", responsible_organization="IHE Radiology"
)
PRIVATE_CODING_SCHEME = CodingSchemeIdentificationItem(
    designator=PRIVATE_SCHEME, name="Concepts of brainmets-dicom-node", responsible_organization=MANUFACTURER
)
