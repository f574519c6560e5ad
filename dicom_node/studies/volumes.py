"""From a series to a volume in patient space, or a refusal with values: nothing is interpolated, guessed or dropped."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from highdicom import Volume
from pydicom.dataset import Dataset, FileDataset

from dicom_node.errors import InvalidGeometryError
from dicom_node.studies.enhanced import is_enhanced
from dicom_node.studies.headers import UnreadableHeaderError, read_headers, text
from dicom_node.studies.slices import PLACE_TOLERANCE, Slice, SliceStack, stack_slices
from dicom_node.studies.study import Series


@dataclass(frozen=True, kw_only=True, eq=False)
class SeriesVolume:
    """A series as a volume, and where each of its slices came from.

    Attributes
    ----------
    volume
        float32 after rescaling; index order (slice, row, column), LPS mm; slices rise along the normal.
    paths
        DICOM file of every slice index; the same file throughout for a multi-frame instance.
    sop_instance_uids
        SOP Instance UID of every slice index.
    frame_numbers
        Frame (from 1) of every slice index; 1 throughout for classic series.
    """

    volume: Volume
    paths: tuple[Path, ...]
    sop_instance_uids: tuple[str, ...]
    frame_numbers: tuple[int, ...]


def series_label(series: Series) -> str:
    """Name a series for a person: number and description."""
    number = "without number" if series.series_number is None else str(series.series_number)
    return f"Series {number} {series.description!r}" if series.description else f"Series {number}"


def read_volume(series: Series) -> SeriesVolume:
    """Read all pixels of a series; compressed transfer syntaxes are decoded.

    Returns
    -------
    SeriesVolume
        float32 volume (slice, row, column) with modality rescaling applied, and the file of every slice.

    Raises
    ------
    InvalidGeometryError
        The series is no regular volume (see `dicom_node.studies.slices`), or pixel data is truncated or cannot be
        decoded; the message names series, instance and values.
    """
    try:
        stack = stack_slices(read_headers(series.instance_paths))
        datasets = _read_pixels(stack)
        volume = _multi_frame(datasets[0]) if is_enhanced(datasets[0]) else _single_frames(datasets)
    except (InvalidGeometryError, UnreadableHeaderError) as error:
        raise InvalidGeometryError(f"{series_label(series)} cannot be read as a volume: {error}") from error
    slices = _in_order_of(volume, stack)
    return SeriesVolume(
        volume=volume,
        paths=tuple(one.path for one in slices),
        sop_instance_uids=tuple(one.sop_instance_uid for one in slices),
        frame_numbers=tuple(one.frame_number for one in slices),
    )


def _read_pixels(stack: SliceStack) -> list[FileDataset]:
    """Read and decode every file once, in the order of the slices."""
    datasets = []
    for path in dict.fromkeys(one.path for one in stack.slices):
        dataset = pydicom.dcmread(path)
        _check_photometry(dataset)
        _decode(dataset)
        datasets.append(dataset)
    return datasets


def _check_photometry(dataset: Dataset) -> None:
    interpretation = text(dataset, "PhotometricInterpretation")
    if interpretation not in {"MONOCHROME1", "MONOCHROME2"}:
        uid = text(dataset, "SOPInstanceUID")
        raise InvalidGeometryError(f"instance {uid} is no grey-scale image: its pixels are {interpretation!r}.")


def _decode(dataset: FileDataset) -> None:
    """Decode the pixels now, so that a failure can name its instance; the dataset keeps them."""
    try:
        dataset.pixel_array  # noqa: B018 - pydicom decodes on access and caches
    except (AttributeError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        # pydicom and its decoders have no common error class.
        uid, syntax = text(dataset, "SOPInstanceUID"), dataset.file_meta.TransferSyntaxUID.name
        first_line = str(error).splitlines()[0]
        raise InvalidGeometryError(
            f"the pixels of instance {uid} ({syntax}) cannot be decoded: {first_line}"
        ) from error


def _single_frames(datasets: Sequence[FileDataset]) -> Volume:
    first = datasets[0]
    for dataset in datasets:  # they agree within the tolerances of `slices`; highdicom asks for equal texts
        dataset.PixelSpacing = first.PixelSpacing
        dataset.ImageOrientationPatient = first.ImageOrientationPatient
    # The stack has been checked more strictly than highdicom's own limits, which are opened so as not to bind.
    return hd.get_volume_from_series(
        datasets,
        dtype=np.float32,
        apply_real_world_transform=False,
        rtol=4 * PLACE_TOLERANCE,
        perpendicular_tol=0.01,
    )


def _multi_frame(dataset: FileDataset) -> Volume:
    image = hd.Image.from_dataset(dataset, copy=False)
    return image.get_volume(
        dtype=np.float32,
        apply_real_world_transform=False,
        rtol=4 * PLACE_TOLERANCE,
        perpendicular_tol=0.01,
    )


def _in_order_of(volume: Volume, stack: SliceStack) -> list[Slice]:
    """Return the slices in the volume's own order, whichever way along the normal that runs."""
    positions = np.array([one.position_mm for one in stack.slices])
    indices = np.round(volume.map_reference_to_indices(positions)[:, 0]).astype(int)
    if sorted(indices) != list(range(volume.spatial_shape[0])):
        raise InvalidGeometryError("The slices of the volume do not match its instances; this is a defect of the node.")
    return [stack.slices[i] for i in np.argsort(indices)]
