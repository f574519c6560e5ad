"""One measurement group per lesion identity; each is anchored to a place in an image, or viewers show none at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from highdicom import sr
from highdicom.seg import Segmentation
from numpy.typing import NDArray
from pydicom.sr.coding import Code

from dicom_node.errors import DeliveryError
from dicom_node.results import codes
from dicom_node.results.sources import SourceSeries
from inference.anatomy import NEAR_MIDLINE
from inference.tissue_model import ModelDescription
from tracking.comparison import Comparison
from tracking.detail import LesionDetail
from tracking.lesion import Axis, Lesion, Point
from tracking.measurement import Place
from tracking.track import EmptySite, LesionTrack

Group = sr.VolumetricROIMeasurementsAndQualitativeEvaluations | sr.MeasurementsAndQualitativeEvaluations
Coordinates = list[sr.CoordinatesForMeasurement | sr.CoordinatesForMeasurement3D]


@dataclass(frozen=True, kw_only=True, eq=False)
class Anchors:
    """Where things are: the images and the SEG.

    Attributes
    ----------
    series
        The T1c.
    segmentation
        The study's SEG; None when there is no lesion.
    segment_numbers
        Segment number of each lesion number.
    """

    series: SourceSeries
    segmentation: Segmentation | None
    segment_numbers: Mapping[int, int]

    def holds(self, point_mm: Point) -> bool:
        """Tell whether a point (LPS mm) lies within the images."""
        index = self.series.indices(np.array([point_mm]))[0]
        return bool(np.all(index >= -0.5) and np.all(index <= np.array(self.series.geometry.spatial_shape) - 0.5))

    def slice_of(self, point_mm: Point) -> int:
        """Return the index of the slice nearest to a point (LPS mm) within the images."""
        index = round(float(self.series.indices(np.array([point_mm]))[0, 0]))
        return min(max(index, 0), len(self.series.slices) - 1)


def present_group(
    track: LesionTrack, comparison: Comparison, detail: LesionDetail, anchors: Anchors, model: ModelDescription
) -> sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    """Describe a lesion that is there today (TID 1411), with its axes drawn on their image.

    Parameters
    ----------
    track
        With at least one current lesion; of several the longest gives the axes, and the volume is their sum.
    comparison
        Which the track is from; it tells a real change from measurement error.
    detail
        Where it lies, and notes.
    anchors, model
        Images and SEG to refer to; the model that found the lesion.
    """
    lesion = longest(track)
    group = sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=track.tracking_uid, identifier=track.tracking_id),
        referenced_segment=_referenced_segment(track.current, anchors),
        finding_category=codes.ABNORMAL_STRUCTURE,
        finding_type=codes.METASTASIS,
        finding_sites=[_finding_site(detail.place)],
        algorithm_id=sr.AlgorithmIdentification(name=model.name, version=model.version),
        measurements=[
            _number(codes.VOLUME, track.current_volume_mm3, codes.CUBIC_MILLIMETER),
            _number(codes.LONG_AXIS, lesion.longest_diameter.length_mm, codes.MILLIMETER),
            _number(codes.SHORT_AXIS, lesion.perpendicular_diameter.length_mm, codes.MILLIMETER),
            *_comparison(track),
            *_confidence(lesion),
        ],
        qualitative_evaluations=[_state(track), *_size_change(track, comparison)],
    )
    # highdicom refuses coordinates of measurements in TID 1411, which the template allows (TID 1419), so they are
    # added to the finished items. Viewers draw the first SCOORD that they meet.
    _anchor(group, codes.LONG_AXIS, _axis_coordinates(lesion.longest_diameter, anchors.series))
    _anchor(group, codes.SHORT_AXIS, _axis_coordinates(lesion.perpendicular_diameter, anchors.series))
    # The method of the group, not of the volume: viewers leave out a number whose first child is a code, and dcmqi
    # reads the method here alone.
    _insert(group, sr.CodeContentItem(codes.MEASUREMENT_METHOD, codes.VOXEL_SUM, "HAS CONCEPT MOD"))
    _insert(group, sr.TextContentItem(codes.COMMENT, comment(track, detail), "CONTAINS"))
    return group


def absent_group(
    track: LesionTrack, site: EmptySite, detail: LesionDetail, anchors: Anchors
) -> sr.MeasurementsAndQualitativeEvaluations:
    """Describe a lesion that is not there today (TID 1501), anchored to the site where it was.

    A TID 1411 group must have a region, and there is none; a point on the image nearest to the site shows where.

    Parameters
    ----------
    track
        Without a current lesion.
    site
        Where it was, in the current frame of reference, within the images.
    detail
        The same in words.
    anchors
        Images to refer to.
    """
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=track.tracking_uid, identifier=track.tracking_id),
        finding_category=codes.ABNORMAL_STRUCTURE,
        finding_type=codes.METASTASIS,
        finding_sites=[_finding_site(detail.place)],
        measurements=[
            *_comparison(track),
            *([] if site.volume_mm3 is None else [_number(codes.LAST_VOLUME, site.volume_mm3, codes.CUBIC_MILLIMETER)]),
            sr.Measurement(codes.VOLUME, 0.0, codes.CUBIC_MILLIMETER, method=codes.VOXEL_SUM),
        ],
        qualitative_evaluations=[_state(track)],
    )
    anchored = codes.PRIOR_VOLUME if track.prior_volume_mm3 else codes.VOLUME
    at_slice = anchors.slice_of(site.site_mm)
    _anchor(group, anchored, _coordinates("POINT", np.array([site.site_mm]), at_slice, anchors.series))
    _insert(group, sr.TextContentItem(codes.COMMENT, comment(track, detail), "CONTAINS"))
    return group


def unshown_item(track: LesionTrack, site: EmptySite | None, anchors: Anchors) -> sr.ContainerContentItem:
    """Keep the identity of a lesion that no image can show: out of the field of view, or at an unknown place.

    It stands apart from the measurement groups, since viewers show none of these if one has no place in an image.
    """
    return _identified(
        codes.UNSHOWN_LESION,
        track,
        [
            sr.TextContentItem(codes.COMMENT, comment(track), "CONTAINS"),
            sr.CodeContentItem(codes.LESION_STATE, codes.STATES[track.state], "CONTAINS"),
            *_volume_item(codes.PRIOR_VOLUME, track.prior_volume_mm3 or None),
            *([] if site is None else _site_items(site, anchors)),
        ],
    )


def empty_site_item(track: LesionTrack, site: EmptySite, anchors: Anchors) -> sr.ContainerContentItem:
    """Keep a place where a part of a lesion was, so that the part is known if it returns."""
    return _identified(codes.EMPTY_SITE, track, _site_items(site, anchors))


def _identified(name: Code, track: LesionTrack, items: Sequence[sr.ContentItem]) -> sr.ContainerContentItem:
    container = sr.ContainerContentItem(name=name, relationship_type="CONTAINS")
    identity = (
        sr.TextContentItem(codes.TRACKING_IDENTIFIER, track.tracking_id, "HAS OBS CONTEXT"),
        sr.UIDRefContentItem(codes.TRACKING_UID, track.tracking_uid, "HAS OBS CONTEXT"),
    )
    container.ContentSequence = sr.ContentSequence([*identity, *items])
    return container


def _site_items(site: EmptySite, anchors: Anchors) -> list[sr.ContentItem]:
    frame = str(anchors.series.geometry.frame_of_reference_uid)
    point = sr.Scoord3DContentItem(codes.LAST_SITE, "POINT", np.array([site.site_mm]), frame)
    point.RelationshipType = "CONTAINS"
    return [point, *_volume_item(codes.LAST_VOLUME, site.volume_mm3)]


def _volume_item(name: Code, volume_mm3: float | None) -> list[sr.ContentItem]:
    if volume_mm3 is None:
        return []
    return [sr.NumContentItem(name, round(volume_mm3, 3), codes.CUBIC_MILLIMETER, None, "CONTAINS")]


def longest(track: LesionTrack) -> Lesion:
    """Return the current lesion of a track whose axes are reported; a lesion that has split has several."""
    return max(track.current, key=lambda lesion: lesion.longest_diameter.length_mm)


def comment(track: LesionTrack, detail: LesionDetail | None = None) -> str:
    """Return the line that names a lesion beside its measurements: identity, state, place, every doubt, and notes."""
    parts = [f"{track.tracking_id}: {track.state.value}"]
    if detail is not None and detail.place.region is not None:
        parts.append(f"{detail.place}, infratentorial" if detail.place.infratentorial else str(detail.place))
    return "; ".join([*parts, *track.remarks, *(detail.notes if detail else ())])


def _finding_site(place: Place) -> sr.FindingSite:
    side = None if place.side is None else codes.SIDES.get(place.side)
    region = (place.region or "").removesuffix(f" {NEAR_MIDLINE}")
    return sr.FindingSite(anatomic_location=codes.REGIONS.get(region, codes.BRAIN), laterality=side)


def _referenced_segment(lesions: Sequence[Lesion], anchors: Anchors) -> sr.ReferencedSegment:
    if anchors.segmentation is None:
        raise DeliveryError("The study has lesions, but no segmentation was given; build it first and pass it here.")
    numbers = [anchors.segment_numbers[lesion.number] for lesion in lesions]
    reference = sr.ReferencedSegment(
        sop_class_uid=anchors.segmentation.SOPClassUID,
        sop_instance_uid=anchors.segmentation.SOPInstanceUID,
        segment_number=numbers[0],
        # The series instead of each image: a third of the time and of the file with 60 lesions.
        source_series=sr.SourceSeriesForSegmentation(str(anchors.series.images[0].SeriesInstanceUID)),
    )
    reference[0].ReferencedSOPSequence[0].ReferencedSegmentNumber = numbers if len(numbers) > 1 else numbers[0]
    return reference


def _number(name: Code, value: float, unit: Code) -> sr.Measurement:
    return sr.Measurement(name=name, value=round(float(value), 3), unit=unit)


def _comparison(track: LesionTrack) -> list[sr.Measurement]:
    change = track.change_percent
    if change is None:
        return []
    return [
        _number(codes.VOLUME_CHANGE, change, codes.PERCENT),
        _number(codes.PRIOR_VOLUME, track.prior_volume_mm3, codes.CUBIC_MILLIMETER),
        _number(codes.MATCH_CONFIDENCE, 100 * track.confidence, codes.PERCENT),
    ]


def _confidence(lesion: Lesion) -> list[sr.Measurement]:
    if lesion.confidence is None:
        return []
    return [_number(codes.FINDING_CONFIDENCE, 100 * lesion.confidence, codes.PERCENT)]


def _state(track: LesionTrack) -> sr.QualitativeEvaluation:
    return sr.QualitativeEvaluation(name=codes.LESION_STATE, value=codes.STATES[track.state])


def _size_change(track: LesionTrack, comparison: Comparison) -> list[sr.QualitativeEvaluation]:
    if not track.prior_volume_mm3:
        return []
    change = codes.INCREASE if track.current_volume_mm3 > track.prior_volume_mm3 else codes.DECREASE
    value = change if comparison.has_changed(track) else codes.NO_SIGNIFICANT_CHANGE
    return [sr.QualitativeEvaluation(name=codes.SIZE_CHANGE, value=value)]


def _axis_coordinates(axis: Axis, series: SourceSeries) -> Coordinates:
    points_mm = np.array([axis.start_mm, axis.end_mm])
    indices = series.indices(points_mm)
    if np.abs(indices[:, 0] - axis.slice_index).max() > 0.5 or not 0 <= axis.slice_index < len(series.slices):
        raise DeliveryError(
            f"A diameter is said to lie in slice {axis.slice_index}, but its ends are in slices {indices[0, 0]:.1f} and"
            f" {indices[1, 0]:.1f}; lesions must be measured on the images that are reported."
        )
    return _coordinates("POLYLINE", points_mm, axis.slice_index, series)


def _coordinates(
    graphic_type: str, points_mm: NDArray[np.float64], slice_index: int, series: SourceSeries
) -> Coordinates:
    """Return the points on their image first and in patient space second; viewers read the first."""
    # Image coordinates are (column, row), with 0.5 the centre of the first pixel (PS3.3 C.18.6.1).
    pixels = series.indices(points_mm)[:, [2, 1]] + 0.5
    image = series.slices[slice_index]
    return [
        sr.CoordinatesForMeasurement(
            graphic_type=graphic_type,
            graphic_data=pixels,
            source_image=sr.SourceImageForRegion(image.sop_class_uid, image.sop_instance_uid, image.frame_numbers),
        ),
        sr.CoordinatesForMeasurement3D(
            graphic_type=graphic_type,
            graphic_data=points_mm,
            frame_of_reference_uid=str(series.geometry.frame_of_reference_uid),
        ),
    ]


def _anchor(group: Group, name: Code, coordinates: Coordinates) -> None:
    for item in group[0].ContentSequence:
        if item.ValueType == "NUM" and item.name == name:
            item.ContentSequence = sr.ContentSequence([*coordinates, *item.get("ContentSequence", [])])


def _insert(group: Group, item: sr.ContentItem) -> None:
    group[0].ContentSequence.insert(2, item)  # after the tracking identifier and UID
