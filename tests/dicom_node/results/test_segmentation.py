"""SEG written and read back: every voxel in its place, every lesion under its identity, the patient untouched."""

from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from highdicom.color import CIELabColor
from highdicom.legacy import LegacyConvertedEnhancedMRImage
from highdicom.seg import segread
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from dicom_node.errors import DeliveryError, InvalidGeometryError
from dicom_node.results.codes import MANUFACTURER
from dicom_node.results.segmentation import build_segmentation, segment_numbers
from tests.dicom_node.results.phantoms import (
    AXIAL,
    IDENTITY,
    MODEL,
    SAGITTAL,
    Patient,
    first_study,
    grid,
    mr_series,
    oblique,
    track,
    tracking_uid,
    with_balls,
)
from tracking.colour import lesion_colour_rgb
from tracking.comparison import Comparison
from tracking.measurement import measure_lesions
from tracking.track import TrackState

GRID = grid((24, 40, 32), (1.5, 0.9, 1.1), oblique(SAGITTAL))
LABELS = with_balls(GRID, [((6, 10, 9), 4.0), ((15, 28, 20), 6.0), ((20, 8, 26), 0.4)])


def written(result: Dataset) -> Dataset:
    """The result as a file, read again by pydicom."""
    file = BytesIO()
    result.save_as(file, enforce_file_format=True)
    file.seek(0)
    return dcmread(file)


def build(comparison: Comparison | None = None, patient: Patient | None = None) -> Dataset:
    result = build_segmentation(
        mr_series(GRID, patient), LABELS, comparison or first_study(LABELS), MODEL, identity=IDENTITY
    )
    assert result is not None
    return result


@pytest.mark.parametrize("axes", [AXIAL, oblique(AXIAL), SAGITTAL, oblique(SAGITTAL)], ids=str)
def test_voxels_come_back_where_they_were(axes: np.ndarray, tmp_path: Path) -> None:
    labels = with_balls(grid((24, 40, 32), (3.0, 0.9, 1.1), axes), [((6, 10, 9), 7.0), ((15, 28, 20), 4.0)])
    result = build_segmentation(mr_series(labels), labels, first_study(labels), MODEL, identity=IDENTITY)
    assert result is not None
    result.save_as(tmp_path / "seg.dcm")
    frames = dcmread(tmp_path / "seg.dcm")
    pixels = frames.pixel_array
    found = np.zeros_like(labels.array)
    inverse = np.linalg.inv(labels.affine)
    for frame, group in zip(pixels, frames.PerFrameFunctionalGroupsSequence, strict=True):
        position = [float(value) for value in group.PlanePositionSequence[0].ImagePositionPatient]
        index = inverse @ [*position, 1]
        assert index[:3] == pytest.approx([round(index[0]), 0, 0], abs=1e-3)
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        found[round(index[0])][frame > 0] = number
    assert np.array_equal(found, labels.array)


def test_empty_frames_are_left_out_and_the_others_name_their_image() -> None:
    result, images = written(build()), mr_series(GRID)
    expected = [(n, i) for n in (1, 2, 3) for i in range(24) if (LABELS.array[i] == n).any()]
    found = []
    for group in result.PerFrameFunctionalGroupsSequence:
        uid = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        index = [image.SOPInstanceUID for image in images].index(uid)
        found.append((group.SegmentIdentificationSequence[0].ReferencedSegmentNumber, index))
    assert sorted(found) == expected
    assert result.ReferencedSeriesSequence[0].SeriesInstanceUID == images[0].SeriesInstanceUID


def test_segments_carry_identity_codes_and_algorithm() -> None:
    for number, segment in enumerate(written(build()).SegmentSequence, start=1):
        assert (segment.SegmentNumber, segment.SegmentLabel) == (number, f"L{number}")
        assert (segment.TrackingID, segment.TrackingUID) == (f"L{number}", tracking_uid(f"L{number}"))
        assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
        assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "14799000"
        assert segment.AnatomicRegionSequence[0].CodeValue == "12738006"
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == (MODEL.name, MODEL.version)


def test_series_and_equipment_are_told() -> None:
    result = written(build())
    assert (result.Modality, result.Manufacturer, result.SeriesNumber) == ("SEG", MANUFACTURER, 9101)
    assert result.DeviceSerialNumber == IDENTITY.device_serial_number
    algorithm = result.ContributingEquipmentSequence[-1]
    assert algorithm.PurposeOfReferenceCodeSequence[0].CodeValue == "Newcode1"
    retrained = replace(MODEL, sha256="cd" * 32)
    other = build_segmentation(mr_series(GRID), LABELS, first_study(LABELS), retrained, identity=IDENTITY)
    assert other is not None
    assert other.ContributingEquipmentSequence[-1].DeviceUID != algorithm.DeviceUID


def test_the_parts_of_a_split_lesion_share_its_identity() -> None:
    one, two, three = measure_lesions(LABELS)
    tracks = (track("L1", TrackState.SPLIT, [one], [one, three]), track("L2", TrackState.PERSISTENT, [two], [two]))
    comparison = replace(first_study(LABELS), tracks=tracks)
    segments = build(comparison=comparison).SegmentSequence
    assert [segment.SegmentLabel for segment in segments] == ["L1 part 1", "L2", "L1 part 2"]
    assert segments[0].TrackingUID == segments[2].TrackingUID == tracking_uid("L1")


def test_gaps_in_the_lesion_numbers_do_not_matter() -> None:
    gapped = LABELS.with_array(np.where(LABELS.array == 2, 7, LABELS.array).astype(np.uint16))
    assert segment_numbers(first_study(gapped)) == {1: 1, 3: 2, 7: 3}
    result = build_segmentation(mr_series(GRID), gapped, first_study(gapped), MODEL, identity=IDENTITY)
    assert result is not None
    assert [segment.TrackingID for segment in result.SegmentSequence] == ["L1", "L3", "L7"]


def test_a_study_without_lesions_has_no_segmentation() -> None:
    assert build_segmentation(mr_series(GRID), GRID, first_study(GRID), MODEL, identity=IDENTITY) is None


def test_the_same_input_gives_the_same_file() -> None:
    first, second = BytesIO(), BytesIO()
    build().save_as(first)
    build().save_as(second)
    assert first.getvalue() == second.getvalue()


def test_another_input_or_model_gives_other_uids() -> None:
    images, study = mr_series(GRID), first_study(LABELS)
    results = [
        build_segmentation(images, LABELS, study, MODEL, identity=IDENTITY),
        build_segmentation(images, LABELS, study, MODEL, identity=replace(IDENTITY, revision="late series")),
        build_segmentation(images, LABELS, study, replace(MODEL, version="2"), identity=IDENTITY),
    ]
    assert len({result.SOPInstanceUID for result in results if result}) == 3
    assert len({result.SeriesInstanceUID for result in results if result}) == 3
    later = replace(IDENTITY, created=IDENTITY.created + timedelta(days=1))
    again = build_segmentation(images, LABELS, study, MODEL, identity=later)
    assert again is not None
    assert results[0] is not None
    assert again.SOPInstanceUID == results[0].SOPInstanceUID


PATIENTS = {
    "german": Patient(name="Müßig^Jürgen^^Dr.", character_set="ISO_IR 100"),
    "japanese": Patient(name="Yamada^Tarou=山田^太郎=やまだ^たろう", character_set=["", "ISO 2022 IR 87"]),
    "utf-8": Patient(name="Łęcka^Zoë=山田^太郎", character_set="ISO_IR 192"),
    "unlabelled": Patient(name="Plain^Name", character_set=None),
}


@pytest.mark.parametrize("patient", PATIENTS.values(), ids=PATIENTS)
def test_patient_and_study_are_copied_byte_for_byte(patient: Patient) -> None:
    image = written(mr_series(GRID, patient)[0])
    result = written(build(patient=patient))
    for keyword in (
        "SpecificCharacterSet",
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "PatientSex",
        "PatientAge",
        "PatientWeight",
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "StudyDescription",
        "AccessionNumber",
        "ReferringPhysicianName",
    ):
        assert (keyword in result) == (keyword in image)
        if keyword in image:
            assert result.get_item(keyword).value == image.get_item(keyword).value, keyword
    assert str(result.PatientName) == patient.name


def test_attributes_that_an_anonymiser_removed_do_not_stop_the_result() -> None:
    images = mr_series(GRID)
    for image in images:
        for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyTime"):
            delattr(image, keyword)
    result = build_segmentation(images, LABELS, first_study(LABELS), MODEL, identity=IDENTITY)
    assert result is not None
    assert not written(result).PatientName


def test_an_odd_value_is_copied_and_not_judged() -> None:
    assert written(build(patient=Patient(sex="X"))).PatientSex == "X"


def test_optional_values_that_break_their_vr_are_left_out() -> None:
    images = mr_series(GRID)
    for tag, vr, value in ((0x00101010, "AS", b"42"), (0x00101030, "DS", b"70kg"), (0x00101020, "DS", b"1.7 ")):
        images[0][tag] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)
    result = build_segmentation(images, LABELS, first_study(LABELS), MODEL, identity=IDENTITY)
    assert result is not None
    assert "PatientAge" not in result
    assert "PatientWeight" not in result
    assert written(result).PatientSize == 1.7


def test_the_source_images_are_left_alone() -> None:
    images = mr_series(GRID)
    before = deepcopy(images)
    build_segmentation(images, LABELS, first_study(LABELS), MODEL, identity=IDENTITY)
    assert images == before


def test_a_multi_frame_image_is_segmented_too(tmp_path: Path) -> None:
    multi = LegacyConvertedEnhancedMRImage(mr_series(GRID)[::-1], "1.2.9.1", 7, "1.2.9.2", 1)
    result = build_segmentation([multi], LABELS, first_study(LABELS), MODEL, identity=IDENTITY)
    assert result is not None
    result.save_as(tmp_path / "seg.dcm")
    back = segread(tmp_path / "seg.dcm").get_volume(combine_segments=True).match_geometry(GRID, tol=1e-3)
    assert np.array_equal(back.array, LABELS.array)
    assert str(result.PatientName) == "Phantom^Ada"
    assert str(multi.PatientName) == "Phantom^Ada"


def test_labels_of_another_frame_of_reference_are_refused() -> None:
    other = LABELS.with_array(LABELS.array)
    images = mr_series(grid((24, 40, 32), (1.5, 0.9, 1.1), oblique(SAGITTAL), frame_of_reference_uid="1.2.3.5"))
    with pytest.raises(InvalidGeometryError, match=r"1\.2\.3\.5"):
        build_segmentation(images, other, first_study(LABELS), MODEL, identity=IDENTITY)


def test_a_lesion_without_a_track_is_refused() -> None:
    study = first_study(LABELS)
    with pytest.raises(DeliveryError, match=r"shows the lesions \[1, 2, 3\], but the tracks name \[1, 2\]"):
        build(comparison=replace(study, tracks=study.tracks[:2]))


def test_a_volume_that_is_not_the_sum_of_its_voxels_is_refused() -> None:
    study = first_study(LABELS)
    lesion = study.tracks[1].current[0]
    wrong = {tissue: 1.002 * volume for tissue, volume in lesion.volume_mm3.items()}
    spoilt = replace(study.tracks[1], current=(replace(lesion, volume_mm3=wrong),))
    with pytest.raises(DeliveryError, match="Lesion 2 was measured as"):
        build(comparison=replace(study, tracks=(study.tracks[0], spoilt, study.tracks[2])))


@given(st.integers(min_value=1).map(lambda n: f"L{n}") | st.text())
def test_colours_are_bright_and_lasting(tracking_id: str) -> None:
    colour = lesion_colour_rgb(tracking_id)
    assert colour == lesion_colour_rgb(tracking_id)
    assert all(0 <= part <= 255 for part in colour)
    assert max(colour) >= 200
    assert max(colour) - min(colour) >= 140


def test_the_colour_in_the_file_is_the_lesions() -> None:
    stored = build().SegmentSequence[0].RecommendedDisplayCIELabValue
    shown = CIELabColor.from_dicom_value(stored).to_rgb()
    assert shown == pytest.approx(lesion_colour_rgb("L1"), abs=2)
