"""SR written and read back as a plain content tree: nothing of the builder is used to read it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from highdicom.legacy import LegacyConvertedEnhancedMRImage
from pydicom import Dataset, dcmread

from dicom_node.errors import DeliveryError, InvalidGeometryError
from dicom_node.results.codes import MANUFACTURER
from dicom_node.results.report import Findings, build_report
from dicom_node.results.segmentation import build_segmentation
from dicom_node.studies.selection import SeriesDecision
from tests.dicom_node.results.phantoms import (
    IDENTITY,
    MODEL,
    SAGITTAL,
    Patient,
    first_study,
    follow_up,
    gone_from,
    grid,
    mr_series,
    oblique,
    track,
    tracking_uid,
    with_balls,
)
from tracking.detail import LesionDetail
from tracking.measurement import Place, Side, measure_lesions
from tracking.timepoint import MRSequence
from tracking.track import TrackState

GRID = grid((24, 40, 32), (1.5, 0.9, 1.1), oblique(SAGITTAL))
LABELS = with_balls(GRID, [((6, 10, 9), 4.0), ((15, 28, 20), 6.0), ((20, 8, 26), 0.4)])
SITE = (12.2, 30.25, 6.75)  # voxel indices of the lesion that has resolved
SITE_MM = tuple(float(value) for value in (GRID.affine @ [*SITE, 1.0])[:3])


def findings(images: Sequence[Dataset] | None = None, **changes: Any) -> Findings:
    """Three lesions today (one persistent, two new), one resolved whose site is known."""
    images = images or mr_series(GRID)
    comparison = changes.pop("comparison", follow_up(LABELS))
    labels = changes.pop("lesions", LABELS)
    return Findings(
        **{
            "source_images": images,
            "lesions": labels,
            "segmentation": build_segmentation(images, labels, comparison, MODEL, identity=IDENTITY),
            "comparison": comparison,
            "empty_sites": {tracking_uid("L4"): gone_from(SITE_MM)},
            **changes,
        }
    )


def report(images: Sequence[Dataset] | None = None, **changes: Any) -> Dataset:
    """The report as a file, read again by pydicom."""
    file = BytesIO()
    build_report(findings(images, **changes), MODEL, identity=IDENTITY).save_as(file)
    file.seek(0)
    return dcmread(file)


@cache
def standard_report() -> Dataset:
    """The report of the standard findings; tests only look at it."""
    return report()


def children(item: Dataset, meaning: str) -> list[Dataset]:
    """The direct children with this concept name."""
    return [c for c in item.get("ContentSequence", []) if c.ConceptNameCodeSequence[0].CodeMeaning == meaning]


def groups(document: Dataset) -> dict[str, Dataset]:
    """Measurement groups by tracking identifier."""
    (container,) = children(document, "Imaging Measurements")
    return {children(g, "Tracking Identifier")[0].TextValue: g for g in container.ContentSequence}


def number(item: Dataset, meaning: str) -> float:
    """The only number with this name."""
    (one,) = children(item, meaning)
    return float(one.MeasuredValueSequence[0].NumericValue)


def code(item: Dataset, meaning: str) -> str:
    """The only coded value with this name."""
    (one,) = children(item, meaning)
    return str(one.ConceptCodeSequence[0].CodeValue)


def texts(document: Dataset) -> list[str]:
    """Every text of the whole-study part."""
    (container,) = children(document, "Qualitative Evaluations")
    return [c.TextValue for c in container.ContentSequence if c.ValueType == "TEXT"]


def everything(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", []):
        yield child
        yield from everything(child)


def test_head_of_the_standard_report() -> None:
    document = standard_report()
    assert document.ConceptNameCodeSequence[0].CodeValue == "126000"
    assert document.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert (document.VerificationFlag, document.PreliminaryFlag, document.CompletionFlag) == (
        "UNVERIFIED",
        "PRELIMINARY",
        "COMPLETE",
    )
    assert (document.Modality, document.Manufacturer, document.SeriesNumber) == ("SR", MANUFACTURER, 9102)
    assert children(document, "Observer Type")[0].ConceptCodeSequence[0].CodeMeaning == "Device"
    assert code(document, "Procedure reported") == "25056-3"
    declared = [scheme.CodingSchemeDesignator for scheme in document.CodingSchemeIdentificationSequence]
    used = {
        c.CodingSchemeDesignator
        for item in everything(document)
        for c in (*item.get("ConceptNameCodeSequence", []), *item.get("ConceptCodeSequence", []))
        if c.CodingSchemeDesignator.startswith("99")
    }
    assert used < set(declared)


def test_every_lesion_has_its_group_with_the_values_that_were_measured() -> None:
    found = groups(standard_report())
    assert list(found) == ["L1", "L2", "L3", "L4"]
    for lesion in measure_lesions(LABELS):
        group = found[f"L{lesion.number}"]
        assert [item.UID for item in children(group, "Tracking Unique Identifier")] == [
            tracking_uid(f"L{lesion.number}")
        ]
        assert number(group, "Volume") == pytest.approx(lesion.total_volume_mm3, abs=5e-4)
        assert number(group, "Long axis") == pytest.approx(lesion.longest_diameter.length_mm, abs=5e-4)
        assert number(group, "Short axis") == pytest.approx(lesion.perpendicular_diameter.length_mm, abs=5e-4)
        assert code(group, "Finding") == "14799000"
        assert code(group, "Finding Site") == "12738006"
        assert code(group, "Measurement Method") == "126030"


def test_comparison_with_the_prior() -> None:
    found = groups(standard_report())
    assert number(found["L1"], "Volume in prior study") == pytest.approx(2000, abs=5e-4)
    change = 100 * (number(found["L1"], "Volume") / 2000 - 1)
    assert number(found["L1"], "Volume change from prior") == pytest.approx(change, abs=1e-3)
    assert number(found["L1"], "Confidence of match with prior") == 90
    assert code(found["L1"], "Difference in size") == "19776001"
    assert [code(found[name], "Lesion state since prior study") for name in found] == [
        "persistent",
        "new",
        "new",
        "resolved",
    ]
    assert not children(found["L2"], "Volume change from prior")
    assert not children(found["L2"], "Difference in size")
    assert [children(group, "Comment")[0].TextValue for group in found.values()] == [
        "L1: persistent; verify: prior is 6 mm away",
        "L2: new",
        "L3: new",
        "L4: resolved",
    ]


def test_a_change_within_the_measurement_error_is_none() -> None:
    one, *_ = measure_lesions(LABELS)
    same = replace(one, volume_mm3={t: 1.05 * v for t, v in one.volume_mm3.items()})
    comparison = follow_up(LABELS)
    steady = replace(comparison.tracks[0], prior=(same,))
    document = report(comparison=replace(comparison, tracks=(steady, *comparison.tracks[1:])))
    assert code(groups(document)["L1"], "Difference in size") == "129723006"


def test_the_slices_of_the_prior_study_count_too() -> None:
    one, *_ = measure_lesions(LABELS)
    smaller = replace(one, volume_mm3={t: v / 3 for t, v in one.volume_mm3.items()})
    first, *others = follow_up(LABELS).tracks
    tracks = (replace(first, prior=(smaller,)), *others)
    for prior_slice_spacing_mm, expected in ((1.5, "15454001"), (7.0, "129723006")):
        comparison = replace(follow_up(LABELS), tracks=tracks, prior_slice_spacing_mm=prior_slice_spacing_mm)
        assert code(groups(report(comparison=comparison))["L1"], "Difference in size") == expected


def test_the_place_of_a_lesion_is_coded_and_told() -> None:
    details = {
        tracking_uid("L1"): LesionDetail(
            place=Place(side=Side.LEFT, region="cerebellar cortex", infratentorial=True), notes=("a note",)
        ),
        tracking_uid("L2"): LesionDetail(place=Place(side=Side.MIDLINE, region="septum pellucidum")),
        tracking_uid("L3"): LesionDetail(
            place=Place(side=Side.MIDLINE, region="cerebral hemisphere near the midline", infratentorial=False)
        ),
        tracking_uid("L4"): LesionDetail(place=Place(side=Side.RIGHT, region="thalamus")),
    }
    found = groups(report(details=details))
    sites = {name: children(group, "Finding Site")[0] for name, group in found.items()}
    assert {name: item.ConceptCodeSequence[0].CodeValue for name, item in sites.items()} == {
        "L1": "25991003",
        "L2": "12738006",  # no code for it, so the brain
        "L3": "372073000",
        "L4": "119406000",
    }
    assert code(sites["L1"], "Laterality") == "7771000"
    assert code(sites["L4"], "Laterality") == "24028007"
    assert not children(sites["L2"], "Laterality")
    (told,) = (item.TextValue for item in children(found["L1"], "Comment"))
    assert told == "L1: persistent; left cerebellar cortex, infratentorial; verify: prior is 6 mm away; a note"


def test_axes_are_drawn_on_their_image_where_they_were_measured() -> None:
    images = mr_series(GRID)
    found = groups(report(images))
    for lesion in measure_lesions(LABELS):
        for name, axis in (("Long axis", lesion.longest_diameter), ("Short axis", lesion.perpendicular_diameter)):
            flat, solid = children(found[f"L{lesion.number}"], name)[0].ContentSequence
            assert (flat.ValueType, flat.GraphicType, solid.ValueType) == ("SCOORD", "POLYLINE", "SCOORD3D")
            image = images[axis.slice_index]
            assert flat.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
            ends_mm = [in_patient(image, flat.GraphicData[i : i + 2]) for i in (0, 2)]
            assert np.array(ends_mm) == pytest.approx(np.array([axis.start_mm, axis.end_mm]), abs=1e-3)
            assert solid.GraphicData == pytest.approx([*axis.start_mm, *axis.end_mm], abs=1e-4)
            assert solid.ReferencedFrameOfReferenceUID == "1.2.3.4"


def in_patient(image: Dataset, pixel: Sequence[float]) -> np.ndarray:
    """Image coordinates (column, row; 0.5 is the first pixel's centre) to LPS mm by PS3.3 C.7.6.2.1.1."""
    position, orientation = np.array(image.ImagePositionPatient, float), np.array(image.ImageOrientationPatient, float)
    row_spacing, column_spacing = (float(value) for value in image.PixelSpacing)
    return np.asarray(
        position
        + orientation[:3] * column_spacing * (pixel[0] - 0.5)
        + orientation[3:] * row_spacing * (pixel[1] - 0.5)
    )


def test_a_resolved_lesion_points_to_its_site() -> None:
    images = mr_series(GRID)
    group = groups(report(images))["L4"]
    assert group.ContentTemplateSequence[0].TemplateIdentifier == "1501"
    assert number(group, "Volume") == 0
    assert number(group, "Volume when last seen") == pytest.approx(904.8)
    flat, solid = children(group, "Volume in prior study")[0].ContentSequence
    assert (flat.GraphicType, solid.GraphicType) == ("POINT", "POINT")
    assert flat.GraphicData == pytest.approx([SITE[2] + 0.5, SITE[1] + 0.5], abs=1e-3)
    reference = flat.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert reference == images[12].SOPInstanceUID
    assert solid.GraphicData == pytest.approx(SITE_MM, abs=1e-4)


@pytest.mark.parametrize(
    ("sites", "words"), [({}, "not known"), ({tracking_uid("L4"): gone_from((0.0, 900.0, 0.0))}, "not in the images")]
)
def test_a_resolved_lesion_without_a_site_is_told_in_words(sites: dict[str, Any], words: str) -> None:
    document = report(empty_sites=sites)
    assert list(groups(document)) == ["L1", "L2", "L3"]
    (told,) = [text for text in texts(document) if text.startswith("L4: resolved")]
    assert words in told
    assert "905 mm3 in the prior study" in told


def test_a_lesion_that_could_not_be_assessed_is_not_called_gone() -> None:
    comparison = follow_up(LABELS)
    *others, gone = comparison.tracks
    unseen = replace(gone, state=TrackState.NOT_ASSESSED)
    document = report(comparison=replace(comparison, tracks=(*others, unseen)))
    assert list(groups(document)) == ["L1", "L2", "L3"]
    (container,) = children(document, "Qualitative Evaluations")
    (item,) = children(container, "Lesion that no image of this study shows")
    assert code(item, "Lesion state since prior study") == "not-assessed"
    assert number(item, "Volume in prior study") == pytest.approx(904.8)
    assert not children(item, "Volume")
    assert not children(item, "Volume change from prior")
    assert "not found today" not in texts(document)[0]
    assert texts(document)[0].endswith("1 known from before not assessed: not in the images.")


@pytest.mark.parametrize("state", TrackState)
def test_every_state_has_its_code(state: TrackState) -> None:
    comparison = follow_up(LABELS)
    changed = [replace(one, state=state) for one in comparison.tracks]
    document = report(comparison=replace(comparison, tracks=tuple(changed)))
    assert code(groups(document)["L1"], "Lesion state since prior study") == state.value.replace(" ", "-")


def test_every_group_has_a_coordinate_on_an_image() -> None:
    # One group without empties the whole viewport of OHIF.
    for group in groups(standard_report()).values():
        assert any(item.ValueType == "SCOORD" for item in everything(group))


def test_lesions_refer_to_their_segments() -> None:
    segmentation = findings().segmentation
    assert segmentation is not None
    for place, name in enumerate(("L1", "L2", "L3"), start=1):
        (reference,) = children(groups(standard_report())[name], "Referenced Segment")
        assert reference.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == segmentation.SOPInstanceUID
        assert reference.ReferencedSOPSequence[0].ReferencedSegmentNumber == place


def test_a_split_lesion_is_one_group_with_all_its_parts() -> None:
    one, two, three = measure_lesions(LABELS)
    tracks = (track("L1", TrackState.SPLIT, [one], [one, three]), track("L2", TrackState.PERSISTENT, [two], [two]))
    found = groups(report(comparison=replace(follow_up(LABELS), tracks=tracks), empty_sites={}))
    (reference,) = children(found["L1"], "Referenced Segment")
    assert list(reference.ReferencedSOPSequence[0].ReferencedSegmentNumber) == [1, 3]
    whole = one.total_volume_mm3 + three.total_volume_mm3
    assert number(found["L1"], "Volume") == pytest.approx(whole, abs=5e-4)


def test_whole_study_part() -> None:
    decisions = (
        SeriesDecision(
            series_uid="1.2.5",
            series_number=5,
            description="T1 MPRAGE Schädel",
            role=MRSequence.T1C,
            reason="Gradient echo with contrast agent.",
        ),
        SeriesDecision(series_uid="1.2.6", series_number=None, description="", role=None, reason="Three slices only."),
    )
    document = report(series=decisions)
    (container,) = children(document, "Qualitative Evaluations")
    assert number(container, "Lesions in this study") == 3
    total = float(np.count_nonzero(LABELS.array)) * LABELS.voxel_volume
    assert number(container, "Total lesion volume") == pytest.approx(total, abs=5e-4)
    assert (
        texts(document)[0]
        == f"3 brain metastases found by the model, in total {total:.0f} mm3. 1 known from before not found today."
    )
    prior = children(container, "Prior study compared with")
    assert prior[0].TextValue.startswith("Study of 2024-02-01, 95 days earlier")
    assert prior[1].UID == "1.2.3.9"
    assert "Leptomeningeal disease is not assessed." in texts(document)
    assert "Series 5 (T1 MPRAGE Schädel): T1c. Gradient echo with contrast agent." in texts(document)
    assert "Series without number: not used. Three slices only." in texts(document)


def test_without_a_prior_the_report_says_so() -> None:
    document = report(comparison=first_study(LABELS), empty_sites={})
    assert "No prior study to compare with." in texts(document)
    assert code(groups(document)["L1"], "Lesion state since prior study") == "baseline"


def test_without_any_lesion_the_report_is_a_page_of_text() -> None:
    document = report(lesions=GRID, comparison=first_study(GRID), segmentation=None, empty_sites={})
    assert document.ConceptNameCodeSequence[0].CodeValue == "126001"
    (container,) = children(document, "Qualitative Evaluations")
    assert number(container, "Lesions in this study") == 0
    assert texts(document) == ["No brain metastases found by the model.", "No prior study to compare with."]


def test_only_slices_that_are_drawn_on_are_in_the_image_library() -> None:
    images = mr_series(GRID)
    (library,) = children(report(images), "Image Library")
    shown = {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in everything(library)
        if item.ValueType == "IMAGE"
    }
    expected = {lesion.longest_diameter.slice_index for lesion in measure_lesions(LABELS)} | {12}
    assert shown == {images[index].SOPInstanceUID for index in expected}


def test_the_same_input_gives_the_same_file() -> None:
    first, second = BytesIO(), BytesIO()
    build_report(findings(), MODEL, identity=IDENTITY).save_as(first)
    build_report(findings(), MODEL, identity=IDENTITY).save_as(second)
    assert first.getvalue() == second.getvalue()


def test_a_new_version_names_what_it_replaces() -> None:
    first = build_report(findings(), MODEL, identity=IDENTITY)
    second = build_report(findings(replaces=(first,)), MODEL, identity=replace(IDENTITY, revision="late series"))
    assert second.SOPInstanceUID != first.SOPInstanceUID
    named = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == first.SOPInstanceUID


def test_time_point() -> None:
    document = report(days_since_baseline=95)
    assert document.ClinicalTrialTimePointID == "D95"
    assert (document.LongitudinalTemporalOffsetFromEvent, document.LongitudinalTemporalEventType) == (95, "BASELINE")
    images = mr_series(GRID)
    for image in images:
        image.ClinicalTrialTimePointID = "V3"
    assert report(images, days_since_baseline=95).ClinicalTrialTimePointID == "V3"
    assert "ClinicalTrialTimePointID" not in standard_report()


def test_texts_keep_to_the_character_set_of_the_patients_name() -> None:
    patient = Patient(name="Yamada^Tarou=山田^太郎=やまだ^たろう", character_set=["", "ISO 2022 IR 87"])
    decision = SeriesDecision(
        series_uid="1.2.5", series_number=5, description="Schädel Łódź 頭部", role=None, reason="Localizer."
    )
    document = report(mr_series(GRID, patient), series=(decision,))
    assert str(document.PatientName) == patient.name
    assert "Series 5 (Schadel ?odz 頭部): not used. Localizer." in texts(document)


def test_a_multi_frame_image_is_reported_by_frame() -> None:
    multi = LegacyConvertedEnhancedMRImage(mr_series(GRID)[::-1], "1.2.9.1", 7, "1.2.9.2", 1)
    group = groups(report([multi]))["L4"]
    flat, _ = children(group, "Volume in prior study")[0].ContentSequence
    reference = flat.ContentSequence[0].ReferencedSOPSequence[0]
    frame = multi.PerFrameFunctionalGroupsSequence[reference.ReferencedFrameNumber - 1]
    expected = (GRID.affine @ [12, 0, 0, 1])[:3]
    assert list(frame.PlanePositionSequence[0].ImagePositionPatient) == pytest.approx(expected, abs=1e-4)


def test_lesions_without_a_segmentation_are_refused() -> None:
    with pytest.raises(DeliveryError, match="no segmentation was given"):
        report(segmentation=None)


def test_a_diameter_in_another_slice_is_refused() -> None:
    comparison = follow_up(LABELS)
    lesion = comparison.tracks[1].current[0]
    axis = replace(lesion.longest_diameter, slice_index=lesion.longest_diameter.slice_index + 2)
    wrong = replace(comparison.tracks[1], current=(replace(lesion, longest_diameter=axis),))
    with pytest.raises(DeliveryError, match="said to lie in slice"):
        report(comparison=replace(comparison, tracks=(comparison.tracks[0], wrong, *comparison.tracks[2:])))


def test_images_of_another_frame_of_reference_are_refused() -> None:
    other = mr_series(grid((24, 40, 32), (1.5, 0.9, 1.1), oblique(SAGITTAL), frame_of_reference_uid="1.2.3.5"))
    with pytest.raises(InvalidGeometryError, match=r"1\.2\.3\.5"):
        build_report(replace(findings(), source_images=other), MODEL, identity=IDENTITY)
