"""Which image, and which frame of it, shows slice i of a volume: verified here, since no library does it for us."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from highdicom import Volume, VolumeGeometry
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_node.errors import InvalidGeometryError

TOLERANCE_MM = 0.01  # twice the rounding of positions written with two decimals


@dataclass(frozen=True, kw_only=True)
class SourceSlice:
    """One slice as other objects refer to it; ``frame_number`` counts from 1 and is None in single-frame images."""

    sop_class_uid: str
    sop_instance_uid: str
    frame_number: int | None

    @property
    def frame_numbers(self) -> list[int] | None:
        """The frame as the list that highdicom wants, or None."""
        return None if self.frame_number is None else [self.frame_number]


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceSeries:
    """The images that a volume was made from.

    Attributes
    ----------
    images
        As given: single-frame images in slice order, or one multi-frame image.
    geometry
        Grid of the volume (i = slice, j = row, k = column), LPS mm, with its frame of reference.
    slices
        Reference to each slice, index i.
    """

    images: tuple[Dataset, ...]
    geometry: VolumeGeometry
    slices: tuple[SourceSlice, ...]

    def indices(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the continuous voxel indices (n, 3) of points (n, 3) in LPS mm."""
        inverse = np.linalg.inv(self.geometry.affine)
        return np.asarray(points_mm @ inverse[:3, :3].T + inverse[:3, 3])


def locate_slices(images: Sequence[Dataset], volume: Volume) -> SourceSeries:
    """Find the image or frame of each slice of ``volume`` and verify that geometry and frame of reference agree.

    Parameters
    ----------
    images
        Datasets of one series: single-frame images in slice order, or one multi-frame image (frames in any order).
    volume
        A volume on their grid, index order (i = slice, j = row, k = column), LPS mm.

    Raises
    ------
    InvalidGeometryError
        When number, frame of reference, matrix, spacing, orientation or position differ.
    """
    _check_frame_of_reference(images, volume)
    frames = [frame for image in images for frame in _frames(image)]
    if len(frames) != volume.spatial_shape[0]:
        raise InvalidGeometryError(
            f"The images have {len(frames)} slices, but the volume has {volume.spatial_shape[0]}; pass the images that"
            " the volume was made from."
        )
    places: dict[int, SourceSlice] = {}
    for number, frame in enumerate(frames):
        index = _slice_index(frame, volume, number)
        if index in places:
            raise InvalidGeometryError(f"Two images or frames show slice {index}; one series with one echo is needed.")
        places[index] = frame.reference
    if len(images) > 1 and list(places) != sorted(places):
        raise InvalidGeometryError("The images are not in the volume's slice order; sort them by position first.")
    slices = tuple(places[index] for index in range(len(frames)))
    return SourceSeries(images=tuple(images), geometry=volume.get_geometry(), slices=slices)


@dataclass(frozen=True, kw_only=True)
class _Frame:
    reference: SourceSlice
    position_mm: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    shape: tuple[int, int]


def _check_frame_of_reference(images: Sequence[Dataset], volume: Volume) -> None:
    # highdicom compares a volume's frame of reference with itself, so two different ones would pass there.
    if not images:
        raise InvalidGeometryError("No source images were given; pass those that the volume was made from.")
    found = {str(image.get("FrameOfReferenceUID", "")) for image in images}
    if found != {str(volume.frame_of_reference_uid)}:
        raise InvalidGeometryError(
            f"The images have the frame of reference {', '.join(sorted(found)) or 'none'}, but the volume has"
            f" {volume.frame_of_reference_uid}; results can only be written for one and the same."
        )


def _frames(image: Dataset) -> Iterator[_Frame]:
    shape = (int(image.Rows), int(image.Columns))
    if "PerFrameFunctionalGroupsSequence" not in image:
        yield _Frame(
            reference=_reference(image, None),
            position_mm=tuple(map(float, image.ImagePositionPatient)),
            orientation=tuple(map(float, image.ImageOrientationPatient)),
            spacing_mm=tuple(map(float, image.PixelSpacing)),
            shape=shape,
        )
        return
    shared = image.SharedFunctionalGroupsSequence[0]
    for number, own in enumerate(image.PerFrameFunctionalGroupsSequence, start=1):
        plane = _group(own, shared, "PlaneOrientationSequence").ImageOrientationPatient
        yield _Frame(
            reference=_reference(image, number),
            position_mm=tuple(map(float, _group(own, shared, "PlanePositionSequence").ImagePositionPatient)),
            orientation=tuple(map(float, plane)),
            spacing_mm=tuple(map(float, _group(own, shared, "PixelMeasuresSequence").PixelSpacing)),
            shape=shape,
        )


def _reference(image: Dataset, frame_number: int | None) -> SourceSlice:
    return SourceSlice(
        sop_class_uid=str(image.SOPClassUID), sop_instance_uid=str(image.SOPInstanceUID), frame_number=frame_number
    )


def _group(own: Dataset, shared: Dataset, keyword: str) -> Dataset:
    item: Dataset = (own if keyword in own else shared)[keyword].value[0]
    return item


def _slice_index(frame: _Frame, volume: Volume, number: int) -> int:
    """Return the index along the first axis; every other property must agree."""
    if frame.shape != volume.spatial_shape[1:]:
        raise InvalidGeometryError(
            f"Image {number} has {frame.shape[0]} x {frame.shape[1]} pixels, but the volume's slices have"
            f" {volume.spatial_shape[1]} x {volume.spatial_shape[2]}."
        )
    rows, columns = np.asarray(frame.orientation).reshape(2, 3)
    steps = np.column_stack([columns * frame.spacing_mm[0], rows * frame.spacing_mm[1]])
    drift_mm = np.abs(steps - volume.affine[:3, 1:3]).max() * max(frame.shape)
    index = np.linalg.inv(volume.affine) @ [*frame.position_mm, 1.0]
    nearest = round(float(index[0]))
    offset_mm = float(np.linalg.norm(volume.affine @ [nearest, 0, 0, 1.0] - [*frame.position_mm, 1.0]))
    # Scanners round cosines and spacings: half a tenth of a voxel over the whole slice is rounding, more is not.
    limit_mm = max(TOLERANCE_MM, 0.1 * min(volume.spacing))
    if max(drift_mm, offset_mm) > limit_mm or not 0 <= nearest < volume.spatial_shape[0]:
        raise InvalidGeometryError(
            f"Image {number} lies {offset_mm:.3f} mm from its slice of the volume and its far corner drifts"
            f" {drift_mm:.3f} mm; at most {limit_mm:.3f} mm is rounding. Pass the images that the volume was made from."
        )
    return nearest
