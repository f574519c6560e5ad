"""Images and volume must be one and the same grid; every way of not being it has its own sentence."""

from collections.abc import Callable

import numpy as np
import pytest
from highdicom.legacy import LegacyConvertedEnhancedMRImage
from pydicom import Dataset

from dicom_node.errors import InvalidGeometryError
from dicom_node.results.sources import locate_slices
from tests.dicom_node.results.phantoms import SAGITTAL, grid, mr_series, oblique

VOLUME = grid((12, 20, 16), (2.5, 0.9, 1.1), oblique(SAGITTAL))


def test_every_slice_is_found() -> None:
    images = mr_series(VOLUME)
    series = locate_slices(images, VOLUME)
    assert [s.sop_instance_uid for s in series.slices] == [image.SOPInstanceUID for image in images]
    point = VOLUME.affine @ [3, 4, 5, 1]
    assert series.indices(point[None, :3]) == pytest.approx(np.array([[3, 4, 5]]), abs=1e-9)


def test_frames_of_a_multi_frame_image_may_come_in_any_order() -> None:
    shuffled = [mr_series(VOLUME)[index] for index in np.random.default_rng(0).permutation(12)]
    multi = LegacyConvertedEnhancedMRImage(shuffled, "1.2.9.1", 7, "1.2.9.2", 1)
    positions = [
        list(frame.PlanePositionSequence[0].ImagePositionPatient) for frame in multi.PerFrameFunctionalGroupsSequence
    ]
    series = locate_slices([multi], VOLUME)
    for index, one in enumerate(series.slices):
        assert one.frame_number is not None
        expected = (VOLUME.affine @ [index, 0, 0, 1])[:3]
        assert positions[one.frame_number - 1] == pytest.approx(expected, abs=1e-4)


def _other_frame_of_reference(images: list[Dataset]) -> None:
    images[3].FrameOfReferenceUID = "1.2.3.5"


def _one_missing(images: list[Dataset]) -> None:
    del images[5]


def _twice(images: list[Dataset]) -> None:
    images[5].ImagePositionPatient = images[4].ImagePositionPatient


def _reversed(images: list[Dataset]) -> None:
    images.reverse()


def _shifted(images: list[Dataset]) -> None:
    images[5].ImagePositionPatient = [value + 0.5 for value in images[5].ImagePositionPatient]


def _turned(images: list[Dataset]) -> None:
    row_x, row_y, row_z, *column = images[0].ImageOrientationPatient
    images[0].ImageOrientationPatient = [-row_x, -row_y, -row_z, *column]


def _other_spacing(images: list[Dataset]) -> None:
    images[0].PixelSpacing = [0.9, 0.9]


def _other_matrix(images: list[Dataset]) -> None:
    images[0].Rows = 21


def _none(images: list[Dataset]) -> None:
    images.clear()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_other_frame_of_reference, "frame of reference 1.2.3.4, 1.2.3.5"),
        (_one_missing, "11 slices, but the volume has 12"),
        (_twice, "Two images or frames show slice 4"),
        (_reversed, "slice order"),
        (_shifted, "Image 5 lies"),
        (_turned, "Image 0 lies"),
        (_other_spacing, "Image 0 lies"),
        (_other_matrix, "21 x 16 pixels"),
        (_none, "No source images"),
    ],
)
def test_other_images_are_refused(spoil: Callable[[list[Dataset]], None], message: str) -> None:
    images = mr_series(VOLUME)
    spoil(images)
    with pytest.raises(InvalidGeometryError, match=message):
        locate_slices(images, VOLUME)


def test_a_volume_of_another_frame_of_reference_is_refused() -> None:
    other = grid((12, 20, 16), (2.5, 0.9, 1.1), oblique(SAGITTAL), frame_of_reference_uid="1.2.3.5")
    with pytest.raises(InvalidGeometryError, match=r"but the volume has 1\.2\.3\.5"):
        locate_slices(mr_series(VOLUME), other)


def test_rounding_of_scanners_is_not_refused() -> None:
    images = mr_series(VOLUME)
    for image in images:
        image.ImageOrientationPatient = [round(float(value), 5) for value in image.ImageOrientationPatient]
        image.ImagePositionPatient = [round(float(value), 2) for value in image.ImagePositionPatient]
    assert len(locate_slices(images, VOLUME).slices) == 12
