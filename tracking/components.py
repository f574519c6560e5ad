"""From a mask to lesions: 26-connected components in native space, and known lesions that only touch kept apart."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import cc3d
import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from scipy.sparse.csgraph import connected_components

from tracking.matching.sites import Site

FloatArray = NDArray[np.float64]
Box = tuple[slice, slice, slice]

CONNECTIVITY: Final = 26
LARGEST_NECK = 0.5  # of the smaller part's own cross-section: a wider contact is a merge
SMALLEST_SHARE = 0.5  # of a known lesion's site that must lie in a component for it to be one of its parts


def number_components(mask: Volume, *, minimum_mm3: float = 0.0) -> Volume:
    """Give the 26-connected components of a mask numbers, the largest first.

    Parameters
    ----------
    mask
        Booleans, or anything that is 0 outside lesions.
    minimum_mm3
        Smaller components are left out.

    Returns
    -------
    Volume
        uint32 on the same grid: 0 background, n the component with the n-th largest volume.
    """
    components = cc3d.connected_components(mask.array != 0, connectivity=CONNECTIVITY)
    counts = np.bincount(components.ravel())
    counts[0] = 0
    order = np.argsort(-counts, kind="stable")
    kept = [number for number in order if counts[number] and counts[number] * mask.voxel_volume >= minimum_mm3]
    table = np.zeros(len(counts), np.uint32)
    table[kept] = np.arange(1, len(kept) + 1)
    return mask.with_array(table[components])


def without_smaller(labels: Volume, minimum_mm3: float) -> Volume:
    """Return numbered lesions without those below a volume; the others keep their numbers."""
    numbers, counts = np.unique(labels.array, return_counts=True)
    small = numbers[counts * labels.voxel_volume < minimum_mm3]
    return labels.with_array(np.where(np.isin(labels.array, small), 0, labels.array)) if len(small) else labels


def separate_touching(labels: Volume, known: Sequence[Site]) -> Volume:
    """Divide lesions of today that are two known ones in touch: every voxel goes to the nearest known lesion.

    Two lesions touch if the contact between their parts is less than half the cross-section of the smaller part, seen
    as a ball; where it is wider they have merged and stay one.

    Parameters
    ----------
    labels
        Integers, index order (i, j, k): 0 background, n the lesion with number n.
    known
        Lesions of the prior study at their sites in this study's space (see `tracking.matching.sites.sites_of`).

    Returns
    -------
    Volume
        Labels of the same type; the part nearest to the first site keeps the number, the others follow the highest.
    """
    array = labels.array.copy()
    members = _members(labels, known)
    free = int(array.max(initial=0)) + 1
    for number, box in enumerate(find_objects(array.astype(np.int32, copy=False)), start=1):
        if len(members.get(number, ())) < 2 or box is None:
            continue
        inside = array[box] == number
        parts = _parts(inside, _points_mm(inside, box, labels), members[number])
        parts = _joined_where_wide(parts, np.asarray(labels.spacing))
        for part in range(2, int(parts.max()) + 1):
            array[box][parts == part] = free
            free += 1
    return labels.with_array(array)


def _members(labels: Volume, known: Sequence[Site]) -> dict[int, list[Site]]:
    """Known lesions by the number of today's lesion that holds most of their site."""
    found: dict[int, list[Site]] = defaultdict(list)
    for site in known:
        indices = np.rint(site.points @ labels.inverse_affine[:3, :3].T + labels.inverse_affine[:3, 3]).astype(int)
        indices = indices[((indices >= 0) & (indices < labels.spatial_shape)).all(axis=1)]
        counts = np.bincount(labels.array[tuple(indices.T)].astype(np.int64), minlength=1)
        counts[0] = 0
        if counts.max() >= SMALLEST_SHARE * len(site.points):
            found[int(counts.argmax())].append(site)
    return found


def _points_mm(inside: NDArray[np.bool_], box: Box, labels: Volume) -> FloatArray:
    indices = np.argwhere(inside) + [axis.start for axis in box]
    points: FloatArray = indices @ labels.affine[:3, :3].T + labels.affine[:3, 3]
    return points


def _parts(inside: NDArray[np.bool_], points_mm: FloatArray, sites: Sequence[Site]) -> NDArray[np.int64]:
    """Give every voxel inside the number, from 1, of the nearest site; where sites overlap the nearer centre wins."""
    nearness = [
        site.distances_mm(points_mm) + 0.1 * np.linalg.norm(points_mm - site.centroid_mm, axis=1) / site.radius_mm
        for site in sites
    ]
    parts = np.zeros(inside.shape, np.int64)
    parts[inside] = np.argmin(nearness, axis=0) + 1
    return parts


def _joined_where_wide(parts: NDArray[np.int64], spacing_mm: FloatArray) -> NDArray[np.int64]:
    """Give parts in wide contact one number; numbers go from 1 without gaps."""
    count = int(parts.max())
    volumes_mm3 = np.bincount(parts.ravel(), minlength=count + 1) * np.prod(spacing_mm)
    sections_mm2 = np.pi * np.cbrt(3 * volumes_mm3 / (4 * np.pi)) ** 2
    contacts_mm2 = _contacts_mm2(parts, spacing_mm)
    wide = contacts_mm2 >= LARGEST_NECK * np.minimum.outer(sections_mm2, sections_mm2)
    wide[0], wide[:, 0] = False, False
    _, groups = connected_components(wide, directed=False)
    return np.asarray(np.unique(groups[parts], return_inverse=True)[1].reshape(parts.shape))


def _contacts_mm2(parts: NDArray[np.int64], spacing_mm: FloatArray) -> FloatArray:
    """Area of contact between each two parts: the voxel faces of an even area are its projections on the axes."""
    count = int(parts.max()) + 1
    areas = np.zeros((3, count, count))
    for axis in range(3):
        first, second = np.moveaxis(parts, axis, 0)[:-1], np.moveaxis(parts, axis, 0)[1:]
        np.add.at(areas[axis], (first.ravel(), second.ravel()), np.prod(np.delete(spacing_mm, axis)))
    contacts: FloatArray = np.linalg.norm(areas + areas.swapaxes(1, 2), axis=0)
    return contacts
