"""Balls of known volume, contoured by formula, written as RTSTRUCT and read back: volumes, holes, names and refusals.

Not covered: structure sets of real planning systems; none can be had here.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicom_node.errors import InvalidGeometryError, InvalidStudyError
from dicom_node.studies.rtstruct import ImportedContours, import_lesions, read_rtstruct
from dicom_node.studies.volumes import SeriesVolume
from tests.dicom_node.studies.scanners import AXIAL, grid, turned
from tests.dicom_node.studies.structures import (
    Roi,
    ball_contours,
    circle,
    read_series,
    save_structures,
    slab_volume_mm3,
    structure_set,
)

DIAMETERS_MM = (3.0, 4.5, 6.0, 8.0, 12.5, 16.0, 20.0)
OFF_CENTRE_MM = (0.13, -0.21)


def images(folder: Path, *, slice_mm: float = 1.0, pixel_mm: float = 1.0, directions: Any = AXIAL) -> SeriesVolume:
    shape = (round(36 / slice_mm), round(40 / pixel_mm), round(40 / pixel_mm))
    return read_series(grid(shape, (slice_mm, pixel_mm, pixel_mm), directions), folder)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> SeriesVolume:
    return images(tmp_path_factory.mktemp("series"))


def imported(rois: list[Roi], series: SeriesVolume, names: str = ".") -> ImportedContours:
    return import_lesions(structure_set(rois, series), series, names=names)


def ball_mm3(diameter_mm: float) -> float:
    return float(np.pi * diameter_mm**3 / 6)


def centroid_mm(result: ImportedContours, number: int = 1) -> Any:
    indices = np.argwhere(result.volume.array == number).mean(0)
    return result.volume.map_indices_to_reference(indices[None])[0]


@pytest.mark.parametrize("pixel_mm", [0.5, 1.0])
@pytest.mark.parametrize("slice_mm", [1.0, 3.0])
def test_defect_7_volumes_are_those_of_the_contours_and_not_inflated(
    tmp_path: Path, slice_mm: float, pixel_mm: float
) -> None:
    series = images(tmp_path, slice_mm=slice_mm, pixel_mm=pixel_mm)
    voxel_mm3 = series.volume.voxel_volume
    for diameter in DIAMETERS_MM:
        for share in (0.0, 0.4):
            centre = (*OFF_CENTRE_MM, share * slice_mm)
            slabs = slab_volume_mm3(series.volume, centre, diameter / 2)
            contours = ball_contours(series.volume, centre, diameter / 2)
            if not contours:
                assert diameter <= slice_mm
                continue
            path = save_structures(structure_set([Roi(name="GTV", contours=contours)], series), tmp_path / "rtstruct")
            lesion = import_lesions(read_rtstruct(path), series, names="GTV").lesions[0]
            assert lesion.contour_volume_mm3 == pytest.approx(slabs, rel=0.01)
            assert abs(lesion.volume_mm3 - lesion.contour_volume_mm3) <= voxel_mm3 / 2 + 1e-6


def test_defect_7_balls_on_slices_of_1_mm_keep_their_volume(series: SeriesVolume) -> None:
    for diameter in DIAMETERS_MM:
        for height in (-0.5, 0.1):
            contours = ball_contours(series.volume, (*OFF_CENTRE_MM, height), diameter / 2)
            volume = imported([Roi(name="GTV", contours=contours)], series).lesions[0].volume_mm3
            truth = ball_mm3(diameter)
            tolerance = 0.02 if truth > 1000 else 0.1 if truth > 100 else 0.15
            assert volume == pytest.approx(truth, rel=tolerance), (diameter, height)


def test_defect_7_on_slices_of_3_mm_balls_are_right_on_average(tmp_path: Path) -> None:
    # One set of slices holds no more: the slabs of a ball of 12.5 mm are 3 % off by where the slices happen to lie.
    series = images(tmp_path, slice_mm=3)
    for diameter in DIAMETERS_MM:
        truth, volumes = ball_mm3(diameter), []
        for height in np.arange(0, 3, 0.375):
            contours = ball_contours(series.volume, (*OFF_CENTRE_MM, float(height)), diameter / 2)
            volumes.append(
                imported([Roi(name="GTV", contours=contours)], series).lesions[0].volume_mm3 if contours else 0
            )
        assert np.mean(volumes) == pytest.approx(truth, rel=0.02 if truth > 1000 else 0.05)
        assert max(volumes) < 1.55 * truth
        if diameter >= 16:
            assert np.abs(np.array(volumes) / truth - 1).max() < 0.02


@pytest.mark.parametrize("directions", [AXIAL, turned((20, -35, 12))])
def test_a_ball_lands_where_it_is(tmp_path: Path, directions: np.ndarray) -> None:
    series = images(tmp_path, directions=directions)
    centre = series.volume.direction @ np.array([4.3, -6.2, 7.4])
    result = imported([Roi(name="GTV", contours=ball_contours(series.volume, centre, 5))], series)
    assert result.volume.array.dtype == np.uint16
    assert result.volume.frame_of_reference_uid == series.volume.frame_of_reference_uid
    np.testing.assert_allclose(centroid_mm(result), centre, atol=0.15)
    points = result.volume.map_indices_to_reference(np.argwhere(result.volume.array == 1).astype(float))
    assert np.linalg.norm(points - centre, axis=1).max() < 5 + 0.9


def test_every_roi_is_a_lesion_with_its_name_and_colour(series: SeriesVolume) -> None:
    def ball(name: str, place: float, colour: tuple[int, int, int] | None) -> Roi:
        return Roi(name=name, contours=ball_contours(series.volume, (place, 0, 0), 3), colour=colour)

    rois = [ball("Brainstem", 0, (9, 9, 9)), ball("met 1 L frontal", -10, (1, 2, 3)), ball("MET 2", 10, None)]
    result = imported(rois, series, "^met")
    assert [(one.number, one.name, one.roi_number) for one in result.lesions] == [
        (1, "met 1 L frontal", 4),
        (2, "MET 2", 5),
    ]
    assert [one.colour_rgb for one in result.lesions] == [(1, 2, 3), None]
    for lesion, place in zip(result.lesions, (-10, 10), strict=True):
        assert centroid_mm(result, lesion.number)[0] == pytest.approx(place, abs=0.1)
        assert lesion.volume_mm3 == (result.volume.array == lesion.number).sum()


def test_contours_on_every_second_or_third_slice_stand_for_all(series: SeriesVolume) -> None:
    for every in (2, 3):
        contours = ball_contours(series.volume, (0, 0, 0), 8, every=every)
        lesion = imported([Roi(name="GTV", contours=contours)], series).lesions[0]
        assert lesion.contour_spacing_mm == pytest.approx(every)
        assert lesion.contour_volume_mm3 == pytest.approx(
            slab_volume_mm3(series.volume, (0, 0, 0), 8, every=every), rel=0.003
        )
        assert lesion.volume_mm3 == pytest.approx(lesion.contour_volume_mm3, abs=0.5)
        assert lesion.gaps == 0


def test_an_roi_of_one_plane_is_as_thick_as_the_others_contours_are_apart(series: SeriesVolume) -> None:
    large = Roi(name="GTV 1", contours=ball_contours(series.volume, (-8, 0, 0), 6, every=3))
    small = Roi(name="GTV 2", contours=[circle(series.volume, (8, 0, 0), 18, 2)])
    lesion = imported([large, small], series).lesions[1]
    assert lesion.contour_volume_mm3 == pytest.approx(np.pi * 4 * 3, rel=0.02)
    assert imported([small], series).lesions[0].contour_volume_mm3 == pytest.approx(np.pi * 4, rel=0.02)


def test_nothing_is_drawn_between_planes_that_are_farther_apart(series: SeriesVolume) -> None:
    contours = [circle(series.volume, (0, 0, 0), index, 4) for index in (10, 11, 12, 20, 21)]
    result = imported([Roi(name="GTV", contours=contours)], series)
    assert result.lesions[0].gaps == 1
    assert sorted(set(np.nonzero(result.volume.array)[0])) == [10, 11, 12, 20, 21]


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_a_contour_within_another_is_a_hole_and_one_within_that_an_island(series: SeriesVolume, kind: str) -> None:
    contours = [circle(series.volume, (0, 0, 0), 18, radius) for radius in (4, 12, 8)]
    lesion = imported([Roi(name="GTV", contours=contours, kind=kind)], series).lesions[0]
    assert lesion.contour_volume_mm3 == pytest.approx(np.pi * (144 - 64 + 16), rel=0.005)


def test_a_keyhole_is_a_hole(series: SeriesVolume) -> None:
    outer, inner = circle(series.volume, (0, 0, 0), 18, 12), circle(series.volume, (0, 0, 0), 18, 6)
    keyhole = np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])
    lesion = imported([Roi(name="GTV", contours=[keyhole])], series).lesions[0]
    assert lesion.contour_volume_mm3 == pytest.approx(np.pi * (144 - 36), rel=0.005)


def test_parts_side_by_side_are_joined_and_copies_count_once(series: SeriesVolume) -> None:
    left, right = (circle(series.volume, (x, 0, 0), 18, 5) for x in (-7, 7))
    lesion = imported([Roi(name="GTV", contours=[left, right, left])], series).lesions[0]
    assert lesion.contour_volume_mm3 == pytest.approx(np.pi * 50, rel=0.005)
    near = circle(series.volume, (-1, 0, 0), 18, 5)  # overlaps the left one: a union, not an exclusive or
    joined = imported([Roi(name="GTV", contours=[left, near])], series).lesions[0].contour_volume_mm3
    lens = 2 * 25 * np.arccos(0.6) - 3 * np.sqrt(100 - 36)
    assert joined == pytest.approx(np.pi * 50 - lens, rel=0.01)


def test_a_lesion_smaller_than_a_voxel_does_not_vanish(tmp_path: Path) -> None:
    series = images(tmp_path, slice_mm=3, pixel_mm=2)
    lesion = imported([Roi(name="GTV", contours=[circle(series.volume, (0.4, 0.3, 0), 6, 0.7)])], series).lesions[0]
    assert lesion.volume_mm3 == pytest.approx(12)
    assert lesion.contour_volume_mm3 == pytest.approx(np.pi * 0.49 * 3, rel=0.05)


def test_a_voxel_between_two_lesions_goes_to_the_one_that_covers_it_more(series: SeriesVolume) -> None:
    def box(columns: tuple[float, float]) -> np.ndarray:
        rows = (9.5, 13.5)
        corners = [
            [18, rows[0], columns[0]],
            [18, rows[1], columns[0]],
            [18, rows[1], columns[1]],
            [18, rows[0], columns[1]],
        ]
        return series.volume.map_indices_to_reference(np.array(corners, float))

    # Column 20 is covered by nine tenths and by six tenths; the smaller part would claim two of its four voxels.
    for more, less, first in (((16.5, 20.4), (19.9, 23.5), 1), ((19.6, 23.5), (16.5, 20.1), 2)):
        boxes = [box(more), box(less)] if first == 1 else [box(less), box(more)]
        result = imported([Roi(name="GTV", contours=[one]) for one in boxes], series)
        assert (result.volume.array[18, 10:14, 20] == first).all()
        assert sorted(one.volume_mm3 for one in result.lesions) == pytest.approx([12, 16])


def test_contours_of_less_than_three_points_are_counted_and_left_out(series: SeriesVolume) -> None:
    contours = [*ball_contours(series.volume, (0, 0, 0), 4), np.array([[0.0, 0, 12.5]])]
    structures = structure_set([Roi(name="GTV", contours=contours)], series)
    assert import_lesions(structures, series, names="GTV").lesions[0].ignored_contours == 1


def test_dciodvfy_finds_no_error_in_what_these_tests_read(series: SeriesVolume, tmp_path: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is missing: install dicom3tools")
    roi = Roi(name="GTV", contours=ball_contours(series.volume, (0, 0, 0), 4))
    path = save_structures(structure_set([roi], series), tmp_path / "rtstruct.dcm")
    run = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
    assert "RTStructureSet" in run.stderr
    assert not [line for line in run.stderr.splitlines() if line.startswith("Error")]


def shifted(by_mm: float) -> Callable[[Dataset], None]:
    def change(structures: Dataset) -> None:
        for contour in structures.ROIContourSequence[0].ContourSequence:
            contour.ContourData = [float(v) + by_mm * (n % 3 == 2) for n, v in enumerate(contour.ContourData)]

    return change


def tilted(structures: Dataset) -> None:
    for contour in structures.ROIContourSequence[0].ContourSequence:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        points[:, 2] += 0.2 * points[:, 0]
        contour.ContourData = [f"{value:.4f}" for value in points.ravel()]


def first_contour(keyword: str, value: Any) -> Callable[[Dataset], None]:
    def change(structures: Dataset) -> None:
        setattr(structures.ROIContourSequence[0].ContourSequence[0], keyword, value)

    return change


def elsewhere(structures: Dataset) -> None:
    structures.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "1.2.3"


def of_another_series(structures: Dataset) -> None:
    for contour in structures.ROIContourSequence[0].ContourSequence:
        contour.ContourImageSequence[0].ReferencedSOPInstanceUID = "1.2.4"


def without_contours(structures: Dataset) -> None:
    del structures.ROIContourSequence[0].ContourSequence


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (elsewhere, InvalidGeometryError, "'GTV' lies in the frame of reference 1.2.3, the series in "),
        (of_another_series, InvalidGeometryError, "'GTV' was drawn on another series: its image 1.2.4 is not among"),
        (shifted(0.4), InvalidGeometryError, "lies between the slices: 0.40 mm from the nearest one (spacing 1.00 mm)"),
        (shifted(30), InvalidGeometryError, "'GTV' reaches outside the image"),
        (tilted, InvalidGeometryError, "is not parallel to the slices"),
        (first_contour("ContourOffsetVector", [0, 0, 1]), InvalidGeometryError, "Contour Offset Vector"),
        (first_contour("ContourGeometricType", "POINT"), InvalidStudyError, "type 'POINT', which encloses no volume"),
        (first_contour("NumberOfContourPoints", 7), InvalidStudyError, "coordinates for 7 points; it is damaged"),
        (without_contours, InvalidStudyError, "'GTV' has no contours"),
    ],
)
def test_contours_that_do_not_belong_to_the_series_are_refused(
    series: SeriesVolume, change: Callable[[Dataset], None], error: type[Exception], words: str
) -> None:
    structures = structure_set([Roi(name="GTV", contours=ball_contours(series.volume, (0, 0, 0), 4))], series)
    change(structures)
    with pytest.raises(error, match=re.escape(words)):
        import_lesions(structures, series, names="GTV")


def test_a_contour_beside_the_image_is_refused(series: SeriesVolume) -> None:
    roi = Roi(name="GTV", contours=ball_contours(series.volume, (19, 0, 0), 4))
    with pytest.raises(InvalidGeometryError, match="reaches outside the image"):
        imported([roi], series)


def test_contours_within_the_rounding_of_dicom_are_taken(series: SeriesVolume) -> None:
    structures = structure_set([Roi(name="GTV", contours=ball_contours(series.volume, (0, 0, 0), 4))], series)
    shifted(0.05)(structures)
    assert import_lesions(structures, series, names="GTV").lesions[0].volume_mm3 == pytest.approx(ball_mm3(8), rel=0.03)


def test_a_gtv_and_its_ptv_are_not_two_lesions(series: SeriesVolume) -> None:
    rois = [Roi(name=name, contours=ball_contours(series.volume, (0, 0, 0), r)) for name, r in (("GTV", 4), ("PTV", 6))]
    with pytest.raises(InvalidStudyError, match="'GTV' and 'PTV' are largely the same place: 100% of the smaller"):
        imported(rois, series, "tv")
    assert len(imported(rois, series, "gtv").lesions) == 1


def test_names_that_match_nothing_are_answered_with_those_that_are_there(series: SeriesVolume) -> None:
    roi = Roi(name="Cochlea", contours=ball_contours(series.volume, (0, 0, 0), 4))
    with pytest.raises(InvalidStudyError, match=r"No ROI's name matches 'gtv'; the RTSTRUCT has: 'Cochlea'\."):
        imported([roi], series, "gtv")
    with pytest.raises(InvalidStudyError, match="is no regular expression"):
        imported([roi], series, "(gtv")


def test_contours_without_area_are_refused(series: SeriesVolume) -> None:
    place = series.volume.map_indices_to_reference(np.array([[18.0, 20, 20]]))
    line = place + np.array([[0, 0, 0], [2, 0, 0], [4, 0, 0]])
    with pytest.raises(InvalidStudyError, match="encloses nothing: its contours have no area"):
        imported([Roi(name="GTV", contours=[line])], series)
    with pytest.raises(InvalidStudyError, match="none of its 1 contours has 3 points"):
        imported([Roi(name="GTV", contours=[line[:2]])], series)


def test_other_files_are_refused(series: SeriesVolume, tmp_path: Path) -> None:
    with pytest.raises(InvalidStudyError, match="is no RTSTRUCT but MR Image Storage"):
        read_rtstruct(series.paths[0])
    (tmp_path / "notes.txt").write_text("not DICOM")
    with pytest.raises(InvalidStudyError, match=r"cannot be read: notes\.txt is not a DICOM file"):
        read_rtstruct(tmp_path / "notes.txt")


def test_a_frame_of_reference_alone_is_enough(series: SeriesVolume) -> None:
    structures = structure_set([Roi(name="GTV", contours=ball_contours(series.volume, (0, 0, 0), 4))], series)
    for contour in structures.ROIContourSequence[0].ContourSequence:
        del contour.ContourImageSequence
    structures.SOPInstanceUID = generate_uid()
    assert len(import_lesions(structures, series, names="GTV").lesions) == 1
