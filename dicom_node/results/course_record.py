"""Visits as records in the SR: what a later study needs to tell the whole course without any earlier image.

A report holds the record of its own visit, and those of visits before it that have no report of their own. It names
the report before it, so the records of a patient form a chain.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from highdicom import sr
from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_node.errors import InvalidStudyError
from dicom_node.results import codes
from dicom_node.results.content import child_named, code_of, descendants, is_named, measured
from tracking.visit import Presence, Sighting, Visit

SIZES = {
    "volume_mm3": (codes.VOLUME, codes.CUBIC_MILLIMETER),
    "longest_diameter_mm": (codes.LONG_AXIS, codes.MILLIMETER),
    "perpendicular_diameter_mm": (codes.SHORT_AXIS, codes.MILLIMETER),
}
COUNTS = {"slice_count": codes.SLICE_COUNT, "plane_count": codes.PLANE_COUNT}
DOUBTS = {"certain": codes.TO_VERIFY, "onset_known": codes.ONSET_NOT_KNOWN}
LEAST = 0.001  # what is present has a size, whatever rounding says
_PRESENCE_OF = {code: presence for presence, code in codes.PRESENCES.items()}


@dataclass(frozen=True, kw_only=True)
class EarlierReport:
    """The report that a report goes back to."""

    study_uid: str
    sop_instance_uid: str


def visit_item(visit: Visit) -> sr.ContainerContentItem:
    """Write the record of a visit."""
    items: list[sr.ContentItem] = [
        sr.DateContentItem(codes.STUDY_DATE, visit.day, "CONTAINS"),
        sr.NumContentItem(codes.SLICE_SPACING, round(visit.slice_spacing_mm, 4), codes.MILLIMETER, None, "CONTAINS"),
        *(sr.TextContentItem(codes.INADEQUATE, reason, "CONTAINS") for reason in visit.inadequate),
        *(_sighting_item(sighting) for sighting in visit.sightings),
    ]
    return _container(codes.VISIT, items)


def read_visits(report: Dataset) -> tuple[Visit, ...]:
    """Read all records of a report, in order of date.

    Raises
    ------
    InvalidStudyError
        If a record is damaged.
    """
    try:
        return tuple(sorted((_visit(item) for item in descendants(report, codes.VISIT)), key=lambda one: one.day))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InvalidStudyError(f"a record of lesions in the report is damaged: {error}") from error


def prior_report_item(report: EarlierReport) -> sr.UIDRefContentItem:
    """Name the report that identities come from; its study is the prior study."""
    return sr.UIDRefContentItem(codes.PRIOR_REPORT, report.sop_instance_uid, "CONTAINS")


def earlier_report(report: Dataset) -> EarlierReport | None:
    """Return the report that this one goes back to; None for the first of a chain."""
    uids = {
        name: str(item.UID)
        for name in (codes.PRIOR_STUDY, codes.PRIOR_REPORT)
        for item in descendants(report, name)
        if "UID" in item
    }
    if len(uids) < 2:
        return None
    return EarlierReport(study_uid=uids[codes.PRIOR_STUDY], sop_instance_uid=uids[codes.PRIOR_REPORT])


def _container(name: Code, items: Sequence[sr.ContentItem]) -> sr.ContainerContentItem:
    container = sr.ContainerContentItem(name=name, relationship_type="CONTAINS")
    container.ContentSequence = sr.ContentSequence(items)
    return container


def _sighting_item(sighting: Sighting) -> sr.ContainerContentItem:
    items: list[sr.ContentItem] = [
        sr.TextContentItem(codes.TRACKING_IDENTIFIER, sighting.tracking_id, "HAS OBS CONTEXT"),
        sr.UIDRefContentItem(codes.TRACKING_UID, sighting.tracking_uid, "HAS OBS CONTEXT"),
        sr.CodeContentItem(codes.PRESENCE, codes.PRESENCES[sighting.presence], "CONTAINS"),
    ]
    if sighting.presence == Presence.PRESENT:
        items += _size_items(sighting)
    if sighting.merged_into is not None:
        items.append(sr.UIDRefContentItem(codes.MERGED_INTO, sighting.merged_into, "CONTAINS"))
    items += [
        sr.CodeContentItem(codes.DOUBT, doubt, "CONTAINS")
        for name, doubt in DOUBTS.items()
        if not getattr(sighting, name)
    ]
    return _container(codes.SIGHTING, items)


def _size_items(sighting: Sighting) -> Iterator[sr.ContentItem]:
    for keyword, (name, unit) in SIZES.items():
        size = max(round(float(getattr(sighting, keyword)), 3), LEAST)
        yield sr.NumContentItem(name, size, unit, None, "CONTAINS")
    for keyword, name in COUNTS.items():
        yield sr.NumContentItem(name, int(getattr(sighting, keyword)), codes.RATIO, None, "CONTAINS")


def _visit(item: Dataset) -> Visit:
    spacing_mm = measured(item, codes.SLICE_SPACING)
    if spacing_mm is None:
        raise ValueError("a visit has no slice spacing")
    return Visit(
        day=_date(_needed(item, codes.STUDY_DATE)),
        slice_spacing_mm=spacing_mm,
        sightings=tuple(_sighting(child) for child in item.ContentSequence if is_named(child, codes.SIGHTING)),
        inadequate=tuple(str(child.TextValue) for child in item.ContentSequence if is_named(child, codes.INADEQUATE)),
    )


def _sighting(item: Dataset) -> Sighting:
    merged_into = child_named(item, codes.MERGED_INTO)
    doubts = {code_of(child.ConceptCodeSequence[0]) for child in item.ContentSequence if is_named(child, codes.DOUBT)}
    return Sighting(
        tracking_uid=str(_needed(item, codes.TRACKING_UID).UID),
        tracking_id=str(_needed(item, codes.TRACKING_IDENTIFIER).TextValue),
        presence=_PRESENCE_OF[code_of(_needed(item, codes.PRESENCE).ConceptCodeSequence[0])],
        merged_into=None if merged_into is None else str(merged_into.UID),
        certain=codes.TO_VERIFY not in doubts,
        onset_known=codes.ONSET_NOT_KNOWN not in doubts,
        volume_mm3=measured(item, codes.VOLUME) or 0.0,
        longest_diameter_mm=measured(item, codes.LONG_AXIS) or 0.0,
        perpendicular_diameter_mm=measured(item, codes.SHORT_AXIS) or 0.0,
        slice_count=int(measured(item, codes.SLICE_COUNT) or 0),
        plane_count=int(measured(item, codes.PLANE_COUNT) or 0),
    )


def _needed(item: Dataset, name: Code) -> Dataset:
    child = child_named(item, name)
    if child is None:
        raise ValueError(f"{name.meaning} is missing")
    return child


def _date(item: Dataset) -> date:
    value = str(item.Date)
    return date(int(value[:4]), int(value[4:6]), int(value[6:8]))
