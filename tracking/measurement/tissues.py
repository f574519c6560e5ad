"""Enhancing tumour, tumour core and whole tumour of each lesion; every edema voxel belongs to one lesion or to none."""

from collections.abc import Mapping
from dataclasses import dataclass

import cc3d
import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy.spatial import KDTree

from tracking.lesion import Lesion
from tracking.measurement.label_map import check_labels, same_grid
from tracking.timepoint import Tissue


@dataclass(frozen=True, kw_only=True, eq=False)
class EdemaSplit:
    """Which lesion each edema voxel belongs to.

    Attributes
    ----------
    owner
        On the grid of the labels (i, j, k): the number of the lesion that a voxel of edema belongs to, else 0.
    volume_mm3
        Edema of each lesion that has some, by its number.
    unassigned_mm3
        Edema that touches no lesion, directly or through other edema.
    """

    owner: NDArray[np.uint32]
    volume_mm3: Mapping[int, float]
    unassigned_mm3: float


def split_edema(labels: Volume, tissues: Volume) -> EdemaSplit:
    """Give each voxel of edema to the nearest lesion of its component.

    A component is edema and lesions that touch (26 neighbours); so edema never goes to a lesion across healthy
    tissue, however near that lesion is.

    Parameters
    ----------
    labels
        Integers (i, j, k): 0 background, n the lesion with number n.
    tissues
        `Tissue` values on the same grid; edema inside a lesion's label is not looked at.

    Raises
    ------
    ValueError
        If the labels are not integers, or the grids differ.
    """
    check_labels(labels)
    same_grid(tissues, labels, "Tissues")
    lesion = labels.array > 0
    edema = (tissues.array == Tissue.EDEMA) & ~lesion
    owner = np.zeros(labels.spatial_shape, np.uint32)
    if lesion.any() and edema.any():
        owner[edema] = _nearest_in_component(labels, lesion, edema)
    counts = np.bincount(owner[edema])
    return EdemaSplit(
        owner=owner,
        volume_mm3={n: float(counts[n] * labels.voxel_volume) for n in np.flatnonzero(counts).tolist() if n},
        unassigned_mm3=float((owner[edema] == 0).sum() * labels.voxel_volume),
    )


def _nearest_in_component(
    labels: Volume, lesion: NDArray[np.bool_], edema: NDArray[np.bool_]
) -> NDArray[np.unsignedinteger]:
    components = cc3d.connected_components(lesion | edema, connectivity=26)
    spacing_mm = np.asarray(labels.spacing)
    farther_than_any_mm = 2 * float(np.linalg.norm(spacing_mm * labels.spatial_shape))

    def places_mm(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        # The component as a fourth coordinate: other components are farther away than any two points of the volume.
        return np.column_stack((np.argwhere(mask) * spacing_mm, components[mask] * farther_than_any_mm))

    numbers = np.append(labels.array[lesion], 0).astype(np.uint32)  # the last for voxels with no lesion in reach
    _, nearest = KDTree(places_mm(lesion)).query(places_mm(edema), distance_upper_bound=farther_than_any_mm / 1.5)
    owners: NDArray[np.unsignedinteger] = numbers[nearest]
    return owners


@dataclass(frozen=True, kw_only=True)
class RegionVolumes:
    """Volumes of the nested regions of one lesion, mm³; None is not known, which differs from 0.

    Attributes
    ----------
    enhancing_mm3
        Enhancing tumour (ET).
    core_mm3
        Tumour core (TC): enhancing tumour and necrosis. This is "the lesion" everywhere else.
    whole_mm3
        Whole tumour (WT): core and edema.
    necrosis_to_enhancing, edema_to_enhancing
        Ratios of volumes, as in the Yale open data set; None also where nothing enhances.
    """

    enhancing_mm3: float | None
    core_mm3: float
    whole_mm3: float | None
    necrosis_to_enhancing: float | None
    edema_to_enhancing: float | None


def region_volumes(lesion: Lesion) -> RegionVolumes:
    """Return the nested regions of a lesion from its volumes per tissue."""
    enhancing_mm3 = lesion.volume_mm3.get(Tissue.ENHANCING)
    necrosis_mm3, edema_mm3 = lesion.volume_mm3.get(Tissue.NECROSIS), lesion.volume_mm3.get(Tissue.EDEMA)
    return RegionVolumes(
        enhancing_mm3=enhancing_mm3 if necrosis_mm3 is not None else None,
        core_mm3=lesion.total_volume_mm3,
        whole_mm3=lesion.total_volume_mm3 + edema_mm3 if edema_mm3 is not None else None,
        necrosis_to_enhancing=_ratio(necrosis_mm3, enhancing_mm3),
        edema_to_enhancing=_ratio(edema_mm3, enhancing_mm3) if necrosis_mm3 is not None else None,
    )


def _ratio(part_mm3: float | None, enhancing_mm3: float | None) -> float | None:
    return part_mm3 / enhancing_mm3 if part_mm3 is not None and enhancing_mm3 else None
