"""All that a report says of one lesion at one time, in one value."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from highdicom import Volume

from tracking.lesion import Lesion
from tracking.measurement.anatomy import Place, locate
from tracking.measurement.diameters import longest_diameter_3d_mm
from tracking.measurement.error import volume_interval_mm3
from tracking.measurement.label_map import LabelledBox, labelled_boxes
from tracking.measurement.tissues import RegionVolumes, region_volumes

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class LesionProfile:
    """A lesion with everything measured of it.

    Attributes
    ----------
    lesion
        Number, centre, volumes per tissue, in-plane axes.
    volume_interval_mm3
        95 % limits of its volume by measurement error.
    longest_diameter_3d_mm
        Largest distance between two of its points in any direction.
    slice_count
        Image planes in which it is seen.
    plane_count
        Of the three orthogonal planes (as acquired, and the two reformats at right angles to it) those in which its box
        is at least two voxels wide in both directions: 0, 1 or 3.
    regions
        Volumes of enhancing tumour, tumour core and whole tumour.
    place
        Side and region.
    """

    lesion: Lesion
    volume_interval_mm3: Interval
    longest_diameter_3d_mm: float
    slice_count: int
    plane_count: int
    regions: RegionVolumes
    place: Place


def profile_lesions(
    labels: Volume, lesions: Sequence[Lesion], *, atlas: Volume | None = None
) -> tuple[LesionProfile, ...]:
    """Complete what `measure_lesions` found.

    Parameters
    ----------
    labels, lesions
        The label volume (i, j, k) and the lesions measured on it.
    atlas
        Label map with SynthSeg's numbers in the same patient space (see `locate`); None: places are not known.

    Raises
    ------
    ValueError
        If a lesion is not in the label volume.
    """
    boxes = {part.number: part for part in labelled_boxes(labels)}
    missing = [lesion.number for lesion in lesions if lesion.number not in boxes]
    if missing:
        raise ValueError(f"Lesions {missing} are not in the label volume; measure them on the volume that is given.")
    return tuple(_profile(labels, lesion, boxes[lesion.number], atlas) for lesion in lesions)


def _profile(labels: Volume, lesion: Lesion, part: LabelledBox, atlas: Volume | None) -> LesionProfile:
    index = np.argwhere(part.mask) + part.corner
    points_mm = index @ labels.affine[:3, :3].T + labels.affine[:3, 3]
    return LesionProfile(
        lesion=lesion,
        volume_interval_mm3=volume_interval_mm3(lesion.total_volume_mm3, float(labels.spacing[0])),
        longest_diameter_3d_mm=longest_diameter_3d_mm(part.mask, labels.affine),
        slice_count=int(part.mask.any(axis=(1, 2)).sum()),
        plane_count=_plane_count(part.mask.shape),
        regions=region_volumes(lesion),
        place=locate(points_mm, atlas),
    )


def _plane_count(extent: tuple[int, ...]) -> int:
    wide = sum(length >= 2 for length in extent)
    return wide * (wide - 1) // 2
