"""Size, tissues and place of each lesion, on the voxels that the segmentation was made on, never on a warped mask.

`measure_lesions` gives what every later step needs; `profile_lesions` adds what a report says of a lesion.
"""

from tracking.measurement.anatomy import Place, Side, locate
from tracking.measurement.error import (
    EDGE_ERROR_MM,
    edge_error_mm,
    equivalent_diameter_mm,
    minimum_detectable_change_percent,
    volume_interval_mm3,
    within_measurement_error,
)
from tracking.measurement.lesions import measure_lesions
from tracking.measurement.profile import Interval, LesionProfile, profile_lesions
from tracking.measurement.tissues import RegionVolumes, region_volumes, split_edema

__all__ = [
    "EDGE_ERROR_MM",
    "Interval",
    "LesionProfile",
    "Place",
    "RegionVolumes",
    "Side",
    "edge_error_mm",
    "equivalent_diameter_mm",
    "locate",
    "measure_lesions",
    "minimum_detectable_change_percent",
    "profile_lesions",
    "region_volumes",
    "split_edema",
    "volume_interval_mm3",
    "within_measurement_error",
]
