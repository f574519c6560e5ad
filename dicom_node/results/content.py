"""Walk the content tree of an SR (PS3.3 C.17.3): items are told by their concept name alone.

highdicom's ``find_content_items`` does the same for documents in which every item has a name; those of other programs
need not (PS3.3 table C.17-5 lets a SCOORD go without).
"""

from collections.abc import Iterator

from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import SegmentationStorage

SEGMENTATION_CLASSES = (
    SegmentationStorage,
    "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation Storage, younger than pydicom 3.0
)


def descendants(item: Dataset, name: Code | None = None) -> Iterator[Dataset]:
    """Yield the items below this one in the document's order; only those of a name where one is given."""
    for child in item.get("ContentSequence", []):
        if name is None or is_named(child, name):
            yield child
        yield from descendants(child, name)


def child_named(item: Dataset, name: Code) -> Dataset | None:
    """Return the first item of this name directly below, or None."""
    return next((child for child in item.get("ContentSequence", []) if is_named(child, name)), None)


def is_named(item: Dataset, name: Code) -> bool:
    """Return whether the item's concept name is this code, whatever its meaning says."""
    names = item.get("ConceptNameCodeSequence")
    return bool(names) and code_of(names[0]) == name


def code_of(item: Dataset) -> Code:
    """Return a coded entry; more than 16 characters stand in Long Code Value (PS3.3 table 8.8-1)."""
    value = item.get("CodeValue") or item.get("LongCodeValue") or ""
    return Code(str(value), str(item.get("CodingSchemeDesignator", "")), str(item.get("CodeMeaning", "")))


def measured(group: Dataset, name: Code) -> float | None:
    """Return the value of the measurement of this name directly below, or None."""
    item = child_named(group, name)
    values = item.get("MeasuredValueSequence") if item is not None else None
    return float(values[0].NumericValue) if values else None


def site_mm(group: Dataset) -> tuple[float, float, float] | None:
    """Return the point that a group marks as a lesion's site (LPS mm), or None."""
    point = next(filter(is_point_3d, descendants(group)), None)
    if point is None:
        return None
    x, y, z = point.GraphicData
    return float(x), float(y), float(z)


def is_point_3d(item: Dataset) -> bool:
    """Return whether the item is a single point in a frame of reference."""
    return (item.get("ValueType"), item.get("GraphicType")) == ("SCOORD3D", "POINT")


def described_segmentations(report: Dataset) -> frozenset[str]:
    """Return the SOP Instance UIDs of the segmentations that a report has as evidence (PS3.3 C.17.2)."""
    return frozenset(
        str(instance.ReferencedSOPInstanceUID)
        for study in report.get("CurrentRequestedProcedureEvidenceSequence", [])
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
        if instance.ReferencedSOPClassUID in SEGMENTATION_CLASSES
    )
