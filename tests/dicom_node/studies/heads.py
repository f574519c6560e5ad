"""A head of ellipsoids whose intensities are known: enough anatomy to judge contrast agent by, and nothing more."""

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from tests.dicom_node.studies.scanners import AXIAL, grid

SCALP, BONE, GREY, WHITE, FLUID, VESSEL = 900.0, 60.0, 330.0, 480.0, 110.0, 800.0


def head(
    *,
    contrast_agent: bool,
    spacing_mm: tuple[float, float, float] = (4.0, 2.0, 2.0),
    directions: NDArray[np.float64] = AXIAL,
    gain: float = 1.0,
    seed: int = 0,
) -> Volume:
    """A T1-weighted head, about 200 × 160 × 190 mm, with coil sensitivity and noise; with vessels if so asked."""
    shape = tuple(int(np.ceil(extent / step)) for extent, step in zip((195, 230, 230), spacing_mm, strict=True))
    empty = grid(shape, spacing_mm, directions)  # type: ignore[arg-type]
    x, y, z = (axis.astype(np.float32) for axis in _coordinates(empty))
    image = np.zeros(shape, np.float32)
    for (a, b, c), value in (
        ((80, 98, 92), SCALP),
        ((73, 91, 85), BONE),
        ((66, 84, 78), GREY),
        ((60, 78, 72), WHITE),
    ):
        image[(x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2 < 1] = value
    for side in (-1, 1):
        image[((x - side * 12) / 7) ** 2 + ((y + 2) / 28) ** 2 + ((z - 10) / 10) ** 2 < 1] = FLUID
    if contrast_agent:
        _draw_vessels(image, (x, y, z), np.random.default_rng(seed))
    noise = np.random.default_rng(seed + 1).normal(0, 8, shape)
    image = gaussian_filter(image, [0.5 / step for step in spacing_mm]) * (1 + 0.002 * y) + noise
    return empty.with_array(np.clip(np.abs(image) * gain, 0, 4095).astype(np.uint16))


def _draw_vessels(
    image: NDArray[np.float32], axes: tuple[NDArray[np.float32], ...], random: np.random.Generator
) -> None:
    """Draw choroid plexus and forty straight veins of 2 to 3 mm radius."""
    x, y, z = axes
    for side in (-1, 1):
        image[((x - side * 12) / 4) ** 2 + ((y - 14) / 9) ** 2 + ((z - 8) / 4) ** 2 < 1] = VESSEL
    for _ in range(40):
        start = random.uniform(-35, 35, 3)
        along = random.normal(size=3)
        along /= np.linalg.norm(along)
        offset = [axis - place for axis, place in zip(axes, start, strict=True)]
        along_mm = sum(one * step for one, step in zip(offset, along, strict=True))
        squared_mm2 = sum(one**2 for one in offset) - along_mm**2
        image[(np.abs(along_mm) < 15) & (squared_mm2 < random.uniform(2, 3) ** 2)] = VESSEL


def _coordinates(volume: Volume) -> tuple[NDArray[np.float64], ...]:
    indices = np.indices(volume.spatial_shape).reshape(3, -1)
    places = volume.affine[:3, :3] @ indices + volume.affine[:3, 3:]
    return tuple(axis.reshape(volume.spatial_shape) for axis in places)
