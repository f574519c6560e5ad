"""DICOM SEG of one study: segment by segment the lesions that are there today, under the identity they keep."""

from collections.abc import Sequence

import numpy as np
from highdicom import AlgorithmIdentificationSequence, Volume
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_node.errors import DeliveryError
from dicom_node.results import codes
from dicom_node.results.provenance import ResultIdentity, complete, equipment, slim_headers
from dicom_node.results.sources import locate_slices
from inference.tissue_model import ModelDescription
from tracking.colour import lesion_colour_rgb
from tracking.comparison import Comparison
from tracking.lesion import Lesion
from tracking.track import LesionTrack

SERIES_NUMBER = 9101
SERIES_DESCRIPTION = "Brain metastases: segmentation"
VOLUME_TOLERANCE = 1e-3  # relative; the report's volumes are the segments' volumes


def build_segmentation(
    source_images: Sequence[Dataset],
    lesions: Volume,
    comparison: Comparison,
    model: ModelDescription,
    *,
    identity: ResultIdentity,
) -> Segmentation | None:
    """Write the lesions of a study as a binary SEG, one segment per lesion.

    A track that has split has one segment per part; all of them carry its tracking identifier and UID.
    Frames without a voxel of their segment are left out.

    Parameters
    ----------
    source_images
        The T1c that ``lesions`` was drawn on: single-frame images in slice order, or one multi-frame image.
    lesions
        Integer volume (i = slice, j = row, k = column), LPS mm: 0 background, n the lesion with number n.
    comparison
        The study's tracks; every lesion of ``lesions`` belongs to exactly one of them.
    model
        The model that found them.
    identity
        From which the UIDs are derived.

    Returns
    -------
    Segmentation or None
        None when the study has no lesion: a SEG must have a segment (PS3.3 C.8.20.2), and one of anything else would
        look like a finding. The report says then that none was found.

    Raises
    ------
    InvalidGeometryError
        When images and lesions lie on different grids or in different frames of reference.
    DeliveryError
        When lesions and tracks do not belong together, or a lesion's volume is not the sum of its voxels.
    """
    series = locate_slices(source_images, lesions)
    numbers = segment_numbers(comparison)
    _check_lesions(lesions, comparison)
    if not numbers:
        return None
    study_uid = str(source_images[0].StudyInstanceUID)
    result = Segmentation(
        source_images=slim_headers(series),
        pixel_array=lesions.with_array(_renumber(lesions.array, numbers)),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _describe(numbers[lesion.number], lesion, track, model) for track, lesion in _current(comparison)
        ],
        series_instance_uid=identity.uid("SEG series", study_uid, model),
        series_number=SERIES_NUMBER,
        series_description=SERIES_DESCRIPTION,
        sop_instance_uid=identity.uid("SEG", study_uid, model),
        content_label="METASTASES",
        content_description="Brain metastases, one segment per lesion",
        omit_empty_frames=True,
        coding_schemes=[codes.IHE_CODING_SCHEME],
        **equipment(identity, model),
    )
    complete(result, source_images[0], identity=identity, model=model)
    _derive_dimension_uid(result, identity.uid("SEG dimensions", study_uid, model))
    return result


def segment_numbers(comparison: Comparison) -> dict[int, int]:
    """Return the segment number of each lesion number: consecutive from 1 in order of the lesion numbers."""
    return {lesion.number: place for place, (_, lesion) in enumerate(_current(comparison), start=1)}


def _current(comparison: Comparison) -> list[tuple[LesionTrack, Lesion]]:
    pairs = [(track, lesion) for track in comparison.tracks for lesion in track.current]
    return sorted(pairs, key=lambda pair: pair[1].number)


def _check_lesions(lesions: Volume, comparison: Comparison) -> None:
    counts = np.bincount(lesions.array.ravel())
    drawn = [int(number) for number in np.flatnonzero(counts) if number]
    named = [lesion.number for _, lesion in _current(comparison)]
    if drawn != named:
        raise DeliveryError(
            f"The label volume shows the lesions {drawn}, but the tracks name {named}; each lesion that is drawn must"
            " belong to exactly one track."
        )
    for _, lesion in _current(comparison):
        volume_mm3 = float(counts[lesion.number]) * lesions.voxel_volume
        if abs(volume_mm3 - lesion.total_volume_mm3) > VOLUME_TOLERANCE * volume_mm3:
            raise DeliveryError(
                f"Lesion {lesion.number} was measured as {lesion.total_volume_mm3:.2f} mm3, but its voxels sum up to"
                f" {volume_mm3:.2f} mm3; report and segmentation would contradict each other."
            )


def _renumber(labels: NDArray[np.integer], numbers: dict[int, int]) -> NDArray[np.uint16]:
    table = np.zeros(max(numbers) + 1, np.uint16)
    table[list(numbers)] = list(numbers.values())
    renumbered: NDArray[np.uint16] = table[labels]
    return renumbered


def _describe(segment_number: int, lesion: Lesion, track: LesionTrack, model: ModelDescription) -> SegmentDescription:
    # The label names the lesion at every date; what became of it is the report's to say.
    part = f" part {track.current.index(lesion) + 1}" if len(track.current) > 1 else ""
    return SegmentDescription(
        segment_number=segment_number,
        segment_label=f"{track.tracking_id}{part}"[:64],
        segmented_property_category=codes.ABNORMAL_STRUCTURE,
        segmented_property_type=codes.METASTASIS,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=model.name, family=codes.ARTIFICIAL_INTELLIGENCE, version=model.version, source=codes.MANUFACTURER
        ),
        tracking_uid=track.tracking_uid,
        tracking_id=track.tracking_id,
        anatomic_regions=[codes.BRAIN],
        display_color=CIELabColor.from_rgb(*lesion_colour_rgb(track.tracking_id)),
    )


def _derive_dimension_uid(result: Segmentation, uid: str) -> None:
    """Replace the drawn Dimension Organization UID, the only UID that highdicom does not let us choose."""
    for item in (*result.DimensionOrganizationSequence, *result.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
