"""Sizes of lesions, by volume and by the diameter of the sphere of equal volume; a limit belongs to the larger size."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from inference.evaluation.metrics import SIZE_LIMITS_MM, sphere_diameter_mm

Limits = Mapping[str, tuple[float, float]]

VOLUME_LIMITS_MM3: Limits = {
    "<10 mm³": (0.0, 10.0),
    "10-100 mm³": (10.0, 100.0),
    "100-1k mm³": (100.0, 1e3),
    "1k-10k mm³": (1e3, 1e4),
    ">10k mm³": (1e4, float("inf")),
}
# Sizes that do not overlap, as a test of independence needs them.
DIAMETER_LIMITS_MM: Limits = {name: SIZE_LIMITS_MM[name] for name in ("<3 mm", "3-6 mm", ">6 mm")}


def by_volume(volumes_mm3: NDArray[np.float64]) -> dict[str, NDArray[np.bool_]]:
    """Return which lesions have which volume."""
    return _sorted(volumes_mm3, VOLUME_LIMITS_MM3)


def by_diameter(volumes_mm3: NDArray[np.float64]) -> dict[str, NDArray[np.bool_]]:
    """Return which lesions have which diameter, from their volumes."""
    diameters_mm = np.array([sphere_diameter_mm(volume) for volume in volumes_mm3], float)
    return _sorted(diameters_mm, DIAMETER_LIMITS_MM)


def _sorted(sizes: NDArray[np.float64], limits: Limits) -> dict[str, NDArray[np.bool_]]:
    return {name: (low <= sizes) & (sizes < high) for name, (low, high) in limits.items()}
