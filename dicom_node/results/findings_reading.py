"""What a study's SEG and SR say, read from the archive's files as any other program would have to read them."""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from highdicom import Volume
from highdicom.color import CIELabColor
from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_node.results import codes
from dicom_node.results.content import child_named, code_of, descendants, measured, site_mm
from dicom_node.results.findings import Finding, Point, StudyFindings
from tracking.colour import lesion_colour_rgb
from tracking.identity import tracking_order

_STATE_NAMES = {code: state.value for state, code in codes.STATES.items()}


def read_findings(archive_folder: Path, study_uid: str) -> StudyFindings:
    """Read the newest SEG and SR of ours in a study.

    Parameters
    ----------
    archive_folder
        ``<study UID>/<series UID>/<SOP instance UID>.dcm``.
    study_uid
        The study that carries them.

    Returns
    -------
    StudyFindings
        Without findings where there is no SR; without labels where there is no SEG.

    Raises
    ------
    FileNotFoundError
        When the archive has nothing of the study.
    """
    study_date, results = _own_results(archive_folder / study_uid)
    segmentation = hd.seg.segread(results["SEG"]) if "SEG" in results else None
    report = pydicom.dcmread(results["SR"]) if "SR" in results else None
    labels, numbers = _labels(segmentation) if segmentation is not None else (None, {})
    colours = _colours(segmentation) if segmentation is not None else {}
    groups = [_finding(group, numbers, colours, labels) for group in _groups(report)] if report is not None else []
    return StudyFindings(
        study_uid=study_uid,
        study_date=study_date,
        findings=tuple(sorted(groups, key=lambda finding: tracking_order(finding.tracking_id))),
        labels=labels,
        remarks=_texts(report, codes.REMARK),
        course=_texts(report, codes.COURSE),
        objects={kind: path.stem for kind, path in sorted(results.items())},
    )


def _texts(report: Dataset | None, name: Code) -> tuple[str, ...]:
    return () if report is None else tuple(str(item.TextValue) for item in descendants(report, name))


def _own_results(study_folder: Path) -> tuple[date, dict[str, Path]]:
    """Return the study's date and its newest results of ours by modality."""
    found: dict[str, tuple[str, Path]] = {}
    study_date = None
    for path in _first_of_each_series(study_folder):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        study_date = study_date or datetime.strptime(header.StudyDate, "%Y%m%d").date()  # noqa: DTZ007 - a date only
        if header.Manufacturer == codes.MANUFACTURER and header.Modality in ("SEG", "SR"):
            written = f"{header.ContentDate}{header.ContentTime}"
            found[header.Modality] = max(found.get(header.Modality, ("", path)), (written, path))
    if study_date is None:
        raise FileNotFoundError(f"the archive has no instance of the study in {study_folder}")
    return study_date, {modality: path for modality, (_, path) in found.items()}


def _first_of_each_series(study_folder: Path) -> Iterator[Path]:
    for series_folder in sorted(study_folder.glob("*/")):
        path = next(iter(sorted(series_folder.glob("*.dcm"))), None)
        if path:
            yield path


def _labels(segmentation: hd.seg.Segmentation) -> tuple[Volume, dict[str, int]]:
    """Return one label per tracking UID; a lesion in several parts has several segments and one UID."""
    uids = {
        number: str(segmentation.get_segment_description(number).tracking_uid)
        for number in segmentation.segment_numbers
    }
    numbers = {uid: place for place, uid in enumerate(dict.fromkeys(uids.values()), start=1)}
    segments = segmentation.get_volume(combine_segments=True, rescale_fractional=False)
    table = np.zeros(max(uids) + 1, np.uint16)
    for number, uid in uids.items():
        table[number] = numbers[uid]
    return segments.with_array(table[segments.array]), numbers


def _colours(segmentation: hd.seg.Segmentation) -> dict[str, str]:
    colours = {}
    for segment in segmentation.SegmentSequence:
        red, green, blue = CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue).to_rgb()
        colours[str(segment.TrackingUID)] = f"#{red:02x}{green:02x}{blue:02x}"
    return colours


def _groups(report: Dataset) -> list[Dataset]:
    """Return the measurement groups that describe a lesion."""
    return [group for group in descendants(report, codes.MEASUREMENT_GROUP) if child_named(group, codes.LESION_STATE)]


def _finding(group: Dataset, numbers: dict[str, int], colours: dict[str, str], labels: Volume | None) -> Finding:
    uid = str(child_named(group, codes.TRACKING_UID).UID)  # type: ignore[union-attr] # _groups chose those that have it
    number = numbers.get(uid, 0)
    identifier = child_named(group, codes.TRACKING_IDENTIFIER)
    tracking_id = str(identifier.TextValue) if identifier else uid
    state = child_named(group, codes.LESION_STATE)
    comment = child_named(group, codes.COMMENT)
    return Finding(
        tracking_uid=uid,
        tracking_id=tracking_id,
        state=_STATE_NAMES.get(code_of(state.ConceptCodeSequence[0]), "unknown") if state else "unknown",
        number=number,
        volume_mm3=measured(group, codes.VOLUME) or 0.0,
        longest_diameter_mm=measured(group, codes.LONG_AXIS) or 0.0,
        perpendicular_diameter_mm=measured(group, codes.SHORT_AXIS) or 0.0,
        prior_volume_mm3=measured(group, codes.PRIOR_VOLUME),
        change_percent=measured(group, codes.VOLUME_CHANGE),
        centroid_mm=_centroid(labels, number) if labels is not None and number else site_mm(group),
        colour=colours.get(uid) or "#{:02x}{:02x}{:02x}".format(*lesion_colour_rgb(tracking_id)),
        remarks=tuple(str(comment.TextValue).split("; ")[1:]) if comment else (),
    )


def _centroid(labels: Volume, number: int) -> Point:
    index = np.argwhere(labels.array == number).mean(axis=0)
    x, y, z = labels.affine[:3, :3] @ index + labels.affine[:3, 3]
    return float(x), float(y), float(z)
