"""One lesion at one time: where it is and how large, measured in the native space of its image."""

from collections.abc import Mapping
from dataclasses import dataclass

from tracking.timepoint import Tissue

Point = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A straight measurement in one plane of the image, both ends in LPS mm.

    Attributes
    ----------
    start_mm, end_mm
        Ends in patient space, lying in the image plane of index ``slice_index`` along the first array axis.
    length_mm
        Distance between the ends.
    slice_index
        Index along the first axis (i) of the native volume.
    """

    start_mm: Point
    end_mm: Point
    length_mm: float
    slice_index: int


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A connected lesion of one study.

    Attributes
    ----------
    number
        Its label in the study's lesion volume, from 1.
    centroid_mm
        Centre of mass, LPS mm.
    volume_mm3
        Native-space volume per tissue; a whole lesion without a tissue split is ``Tissue.ENHANCING`` alone.
    longest_diameter, perpendicular_diameter
        In-plane axes as RANO-BM measures them, on the same slice.
    confidence
        How sure the model is that this is a lesion (0 to 1); None when not from a model.
    """

    number: int
    centroid_mm: Point
    volume_mm3: Mapping[Tissue, float]
    longest_diameter: Axis
    perpendicular_diameter: Axis
    confidence: float | None = None

    @property
    def total_volume_mm3(self) -> float:
        """Volume of enhancing tissue and necrosis, mm³ (edema is not part of a lesion)."""
        return self.volume_mm3.get(Tissue.ENHANCING, 0.0) + self.volume_mm3.get(Tissue.NECROSIS, 0.0)
