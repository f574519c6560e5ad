"""Slices with outlines as scalable pictures: pixels stay as acquired, outlines are drawn over them, never into them."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from contourpy import contour_generator
from highdicom import Volume
from numpy.typing import NDArray
from PIL import Image

from dicom_node.results.findings import Point

WINDOW_PERCENTILES = (2.0, 99.7)
DIRECTIONS = ("R", "L", "A", "P", "I", "S")  # towards -x, +x, -y, +y, -z, +z of LPS


@dataclass(frozen=True, kw_only=True)
class Outline:
    """Closed lines around one lesion in one slice.

    Attributes
    ----------
    number
        Label value.
    path
        SVG path data in mm from the top left corner of the slice.
    """

    number: int
    path: str


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One slice of a volume, ready to be shown.

    Attributes
    ----------
    index
        Along the first axis of the volume.
    png
        Data URI, 8 bits per pixel.
    width_mm, height_mm
        Outer edges of the pixels.
    left, right, top, bottom
        Anatomical directions of the edges.
    """

    index: int
    png: str
    width_mm: float
    height_mm: float
    left: str
    right: str
    top: str
    bottom: str


@dataclass(frozen=True, kw_only=True)
class Window:
    """Stored values that are shown as black and as white."""

    low: float
    high: float


def window_of(volume: Volume) -> Window:
    """Choose a window for a whole volume, so that all its slices can be compared by eye."""
    sample = volume.array[::2, ::4, ::4]
    inside = sample[sample > np.percentile(sample, 50)]
    low, high = np.percentile(inside if inside.size else sample, WINDOW_PERCENTILES)
    return Window(low=float(low) * 0.4, high=max(float(high), float(low) + 1))


def slice_index_at(volume: Volume, point_mm: Point) -> int:
    """Return the slice nearest to a point, LPS mm; the outermost slice for a point outside."""
    index = volume.inverse_affine @ np.array([*point_mm, 1.0])
    return int(np.clip(np.rint(index[0]), 0, volume.spatial_shape[0] - 1))


def place_in_slice(volume: Volume, point_mm: Point) -> tuple[float, float]:
    """Return where a point lies in its slice: mm to the right and down from the top left corner."""
    index = volume.inverse_affine @ np.array([*point_mm, 1.0])
    row_mm, column_mm = volume.spacing[1:]
    return float((index[2] + 0.5) * column_mm), float((index[1] + 0.5) * row_mm)


def slice_picture(volume: Volume, index: int, window: Window) -> Slice:
    """Render one slice as it is stored: rows downwards, columns to the right."""
    plane = volume.array[index].astype(np.float32)
    grey = np.clip((plane - window.low) / (window.high - window.low), 0, 1)
    rows, columns = plane.shape
    right, down = volume.unit_vectors()[2], volume.unit_vectors()[1]
    return Slice(
        index=index,
        png=_png(np.rint(grey * 255).astype(np.uint8)),
        width_mm=columns * volume.spacing[2],
        height_mm=rows * volume.spacing[1],
        left=_direction(-right),
        right=_direction(right),
        top=_direction(-down),
        bottom=_direction(down),
    )


def outlines(labels: Volume, index: int, numbers: Sequence[int]) -> tuple[Outline, ...]:
    """Trace the edges of labels in one slice.

    Parameters
    ----------
    labels
        On the grid of the image whose slice is shown.
    index
        Slice along the first axis.
    numbers
        Label values to trace; those without a voxel in this slice are left out.
    """
    plane = labels.array[index]
    present = set(np.unique(plane).tolist())
    spacing = labels.spacing[1:]
    return tuple(
        Outline(number=number, path=_path(plane == number, (spacing[0], spacing[1])))
        for number in numbers
        if number in present
    )


def _path(mask: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> str:
    rows, columns = np.nonzero(mask)
    top, left = rows.min() - 1, columns.min() - 1
    window = np.pad(mask[top + 1 : rows.max() + 1, left + 1 : columns.max() + 1], 1).astype(float)
    parts = []
    for line in contour_generator(z=window).lines(0.5):
        x_mm = (np.asarray(line)[:, 0] + left + 0.5) * spacing_mm[1]
        y_mm = (np.asarray(line)[:, 1] + top + 0.5) * spacing_mm[0]
        parts.append("M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in zip(x_mm, y_mm, strict=True)) + "Z")
    return "".join(parts)


def _png(pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _direction(vector: NDArray[np.float64]) -> str:
    axis = int(np.argmax(np.abs(vector)))
    return DIRECTIONS[2 * axis + (1 if vector[axis] > 0 else 0)]
