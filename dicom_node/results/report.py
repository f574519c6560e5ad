"""DICOM SR of one study (TID 1500): every lesion ever followed, and everything the reader must know to trust it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from highdicom import Volume, sr
from highdicom.seg import Segmentation
from pydicom import Dataset
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from dicom_node.results import codes
from dicom_node.results.course_record import EarlierReport, prior_report_item, visit_item
from dicom_node.results.lesion_groups import (
    Anchors,
    Group,
    absent_group,
    comment,
    empty_site_item,
    longest,
    present_group,
    unshown_item,
)
from dicom_node.results.provenance import (
    ResultIdentity,
    complete,
    encodable,
    equipment,
    library_headers,
    slim_headers,
)
from dicom_node.results.segmentation import segment_numbers
from dicom_node.results.sources import locate_slices
from dicom_node.results.uids import derive_uid
from dicom_node.studies.selection import SeriesDecision
from inference.tissue_model import ModelDescription
from tracking.comparison import Comparison
from tracking.detail import LesionDetail
from tracking.measurement import Place
from tracking.track import EmptySite, LesionTrack, TrackState
from tracking.visit import Visit

SERIES_NUMBER = 9102
SERIES_DESCRIPTION = "Brain metastases: report"
NO_DETAIL = LesionDetail(place=Place())


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What the report of one study is made from.

    Attributes
    ----------
    source_images
        The T1c: single-frame images in slice order, or one multi-frame image.
    lesions
        Label volume on their grid, as the SEG was built from; all 0 when there is no lesion.
    segmentation
        The SEG; None when there is no lesion.
    comparison
        Tracks and remarks.
    series
        The role of every series of the study, or the reason why it has none.
    empty_sites
        By tracking UID where lesions, or parts of them, were that are not there today, in the current frame of
        reference. A lesion without a site (registration failed) or outside the images is told in words.
    days_since_baseline
        Days since the first study of the series of follow-ups; None when unknown.
    replaces
        Earlier reports of the same study that this one supersedes.
    details
        By tracking UID where each lesion lies, and notes.
    course
        Sentences on all studies together: response, and how fast things go.
    visits
        To be recorded: this study's, and those before it that have no report of their own.
    prior_report
        The report that the identities come from.
    """

    source_images: Sequence[Dataset]
    lesions: Volume
    segmentation: Segmentation | None
    comparison: Comparison
    series: tuple[SeriesDecision, ...] = ()
    empty_sites: Mapping[str, tuple[EmptySite, ...]] = field(default_factory=dict)
    days_since_baseline: int | None = None
    replaces: tuple[Dataset, ...] = ()
    details: Mapping[str, LesionDetail] = field(default_factory=dict)
    course: tuple[str, ...] = ()
    visits: tuple[Visit, ...] = ()
    prior_report: EarlierReport | None = None


def build_report(findings: Findings, model: ModelDescription, *, identity: ResultIdentity) -> sr.Comprehensive3DSR:
    """Write the Comprehensive 3D SR of a study.

    A report with at least one lesion that can be shown has the title that viewers draw (126000); one without any has
    the title that they print as text (126001), so that its remarks are read.

    Parameters
    ----------
    findings
        What was found.
    model
        The model that found it.
    identity
        From which the UIDs are derived.

    Raises
    ------
    InvalidGeometryError
        When images and lesions lie on different grids or in different frames of reference.
    DeliveryError
        When a lesion has no segment, or its diameters do not lie in their image.
    """
    series = locate_slices(findings.source_images, findings.lesions)
    anchors = Anchors(
        series=series,
        segmentation=findings.segmentation,
        segment_numbers=segment_numbers(findings.comparison),
    )
    groups = _groups(findings, anchors, model)
    source, study_uid = findings.source_images[0], str(findings.source_images[0].StudyInstanceUID)
    content = sr.MeasurementReport(
        title=codes.MEASUREMENT_REPORT if groups else codes.TEXT_REPORT,
        observation_context=_observer(identity),
        procedure_reported=codes.MRI_PROCEDURE,
        imaging_measurements=groups or [_nothing_shown(findings.comparison)],
        referenced_images=library_headers(series, _shown_slices(findings, anchors)),
    )
    content[0].ContentSequence.append(_whole_study(findings, anchors))
    _make_encodable(content, source)
    report = sr.Comprehensive3DSR(
        evidence=[*slim_headers(series), *([findings.segmentation] if findings.segmentation else [])],
        content=content,
        series_instance_uid=identity.uid("SR series", study_uid, model),
        series_number=SERIES_NUMBER,
        series_description=SERIES_DESCRIPTION,
        sop_instance_uid=identity.uid("SR", study_uid, model),
        is_complete=True,
        is_verified=False,
        previous_versions=list(findings.replaces) or None,
        coding_schemes=[codes.PRIVATE_CODING_SCHEME, codes.IHE_CODING_SCHEME],
        **equipment(identity, model),
    )
    complete(report, source, identity=identity, model=model)
    _add_time_point(report, findings.days_since_baseline)
    return report


def _groups(findings: Findings, anchors: Anchors, model: ModelDescription) -> list[Group]:
    groups: list[Group] = []
    for track in findings.comparison.tracks:
        site = _site_in_images(track, findings, anchors)
        detail = findings.details.get(track.tracking_uid, NO_DETAIL)
        if track.current:
            groups.append(present_group(track, findings.comparison, detail, anchors, model))
        elif site is not None:
            groups.append(absent_group(track, site, detail, anchors))
    return groups


def _site_in_images(track: LesionTrack, findings: Findings, anchors: Anchors) -> EmptySite | None:
    """Return where to point for a lesion that is gone; None where nothing of it can be shown or said."""
    site = _site(track, findings)
    if track.state == TrackState.NOT_ASSESSED or site is None or not anchors.holds(site.site_mm):
        return None
    return site


def _site(track: LesionTrack, findings: Findings) -> EmptySite | None:
    """Return the place of a lesion that is gone; None if it is not known."""
    return next(iter(findings.empty_sites.get(track.tracking_uid, ())), None)


def _nothing_shown(comparison: Comparison) -> sr.MeasurementsAndQualitativeEvaluations:
    """Return the group of a report without any lesion to show; a report must have one (TID 1500)."""
    uid = derive_uid("nothing shown", comparison.current_study_uid)
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=uid, identifier="All brain metastases"),
        finding_type=codes.METASTASIS,
        finding_sites=[sr.FindingSite(anatomic_location=codes.BRAIN)],
        measurements=[sr.Measurement(name=codes.LESION_COUNT, value=0, unit=codes.RATIO)],
    )


def _whole_study(findings: Findings, anchors: Anchors) -> sr.ContainerContentItem:
    """Return what holds for the whole study; a group of measurements would empty the viewers' list of lesions."""
    comparison = findings.comparison
    container = sr.ContainerContentItem(name=codes.QUALITATIVE_EVALUATIONS, relationship_type="CONTAINS")
    container.ContentSequence = sr.ContentSequence(
        [
            _text(codes.SUMMARY, _summary(comparison)),
            _number(codes.LESION_COUNT, sum(len(track.current) for track in comparison.tracks), codes.RATIO),
            _number(codes.TOTAL_VOLUME, round(comparison.current_volume_mm3, 3), codes.CUBIC_MILLIMETER),
            *_prior_study(comparison),
            *([prior_report_item(findings.prior_report)] if findings.prior_report else []),
            *(_text(codes.COURSE, sentence) for sentence in findings.course),
            *(_text(codes.REMARK, remark) for remark in comparison.remarks),
            *_unshown(findings, anchors),
            *_empty_sites(findings, anchors),
            *(_text(codes.SERIES_ROLE, _series_words(decision)) for decision in findings.series),
            *(visit_item(visit) for visit in findings.visits),
        ]
    )
    return container


def _summary(comparison: Comparison) -> str:
    present = sum(len(track.current) for track in comparison.tracks)
    gone = sum(not track.current and track.state != TrackState.NOT_ASSESSED for track in comparison.tracks)
    unseen = sum(track.state == TrackState.NOT_ASSESSED for track in comparison.tracks)
    found = f"{present or 'No'} brain metastas{'i' if present == 1 else 'e'}s found by the model"
    sentences = [f"{found}, in total {comparison.current_volume_mm3:.0f} mm3." if present else f"{found}."]
    sentences += [f"{gone} known from before not found today."] if gone else []
    sentences += [f"{unseen} known from before not assessed: not in the images."] if unseen else []
    return " ".join(sentences)


def _prior_study(comparison: Comparison) -> list[sr.ContentItem]:
    if comparison.prior_study_uid is None or comparison.prior_date is None:
        return [_text(codes.PRIOR_STUDY, "No prior study to compare with.")]
    words = (
        f"Study of {comparison.prior_date.isoformat()}, {comparison.interval_days} days earlier, with a total lesion"
        f" volume of {comparison.prior_volume_mm3:.0f} mm3."
    )
    uid = sr.UIDRefContentItem(name=codes.PRIOR_STUDY, value=comparison.prior_study_uid, relationship_type="CONTAINS")
    return [_text(codes.PRIOR_STUDY, words), uid]


def _unshown(findings: Findings, anchors: Anchors) -> list[sr.ContentItem]:
    """Return words, and the identity, of each lesion that no group shows."""
    items: list[sr.ContentItem] = []
    for track in findings.comparison.tracks:
        if not track.current and _site_in_images(track, findings, anchors) is None:
            site = _site(track, findings)
            place = "its place in this study is not known" if site is None else "its place is not in the images"
            before = f"; {track.prior_volume_mm3:.0f} mm3 in the prior study" if track.prior else ""
            items.append(_text(codes.REMARK, f"{comment(track)}{before}; {place}."))
            items.append(unshown_item(track, site, anchors))
    return items


def _empty_sites(findings: Findings, anchors: Anchors) -> list[sr.ContentItem]:
    """Return the places that nothing else in the report holds: those of parts of lesions."""
    items: list[sr.ContentItem] = []
    for track in findings.comparison.tracks:
        sites = findings.empty_sites.get(track.tracking_uid, ())
        items += [empty_site_item(track, site, anchors) for site in (sites if track.current else sites[1:])]
    return items


def _series_words(decision: SeriesDecision) -> str:
    number = "without number" if decision.series_number is None else str(decision.series_number)
    name = f"Series {number}" + (f" ({decision.description})" if decision.description else "")
    return f"{name}: {decision.role.value if decision.role else 'not used'}. {decision.reason}"


def _text(name: Code, value: str) -> sr.TextContentItem:
    return sr.TextContentItem(name=name, value=value, relationship_type="CONTAINS")


def _number(name: Code, value: float, unit: Code) -> sr.NumContentItem:
    return sr.NumContentItem(name=name, value=value, unit=unit, relationship_type="CONTAINS")


def _observer(identity: ResultIdentity) -> sr.ObservationContext:
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=derive_uid("device", identity.device_serial_number),
        name=codes.MANUFACTURER,
        manufacturer_name=codes.MANUFACTURER,
        model_name=codes.MODEL_NAME,
        serial_number=identity.device_serial_number,
    )
    context = sr.ObserverContext(observer_type=standard.DCM.Device, observer_identifying_attributes=device)
    return sr.ObservationContext(observer_device_context=context)


def _shown_slices(findings: Findings, anchors: Anchors) -> list[int]:
    """Return the slices that groups draw on; more of them in the image library only cost time."""
    shown = set()
    for track in findings.comparison.tracks:
        site = _site_in_images(track, findings, anchors)
        if track.current:
            shown.add(longest(track).longest_diameter.slice_index)
        elif site is not None:
            shown.add(anchors.slice_of(site.site_mm))
    return sorted(shown)


def _make_encodable(content: Sequence[Dataset], source: Dataset) -> None:
    for item in content:
        if "TextValue" in item:
            item.TextValue = encodable(item.TextValue, source)
        _make_encodable(item.get("ContentSequence", []), source)


def _add_time_point(report: Dataset, days_since_baseline: int | None) -> None:
    """Say when this study is, counted from the first (PS3.3 C.7.2.3), unless a clinical trial has said it."""
    if days_since_baseline is None or "ClinicalTrialTimePointID" in report:
        return
    report.ClinicalTrialTimePointID = f"D{days_since_baseline}"
    report.LongitudinalTemporalOffsetFromEvent = float(days_since_baseline)
    report.LongitudinalTemporalEventType = "BASELINE"
