"""The truth about a scene: which voxels each lesion fills, and its measures, counted on sub-voxels.

A voxel belongs to a lesion when at least half of it lies inside the lesion's surface. Volumes count sub-voxels of at
most 1 mm (0.34 mm for small lesions) inside the surface, not voxels. Bodies that touch are one lesion.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist
from torch import Tensor

from inference.synthesis.lesions import Grid, Patch, Shape, Union, cut_patch
from inference.synthesis.painting import fineness_mm

PLANE_STEP_MM = 0.3
CONNECTED_26 = np.ones((3, 3, 3))


@dataclass(frozen=True, kw_only=True, eq=False)
class Region:
    """One connected lesion on a grid.

    Attributes
    ----------
    names
        Names of the shapes it consists of.
    slices, mask
        Part of the grid and bool voxels within it.
    volume_mm3, longest_diameter_mm
        Volume, and longest straight line within one slice (planes of constant i).
    centroid_mm
        Centre of mass in mm of the grid.
    """

    names: tuple[str, ...]
    slices: tuple[slice, slice, slice]
    mask: NDArray[np.bool_]
    volume_mm3: float
    longest_diameter_mm: float
    centroid_mm: tuple[float, float, float]


def measure(shapes: Mapping[str, Shape], grid: Grid) -> list[Region]:
    """Return the connected lesions that a group of neighbouring shapes forms on a grid.

    Parameters
    ----------
    shapes
        Shapes by name, in mm of the grid's affine.
    grid
        The voxels.

    Raises
    ------
    ValueError
        If a shape lies outside the grid or is so small that it fills half of no voxel.
    """
    body = Union(shapes=tuple(shapes.values()))
    patch = cut_patch(grid, body.centre_mm, body.reach_mm, fine_mm=fineness_mm(body))
    if patch is None:
        raise ValueError(f"Lesion {', '.join(shapes)} lies outside the image; enlarge the field of view.")
    distances = torch.stack([shape.distance(patch.points_mm) for shape in shapes.values()])
    inside = distances.amin(0) < 0
    mask = (patch.pool(inside.float()) >= 0.5).numpy()
    components, count = ndimage.label(mask, CONNECTED_26)
    owners = _owners(components, distances, patch, tuple(shapes))
    nearest = distances.argmin(0)
    regions = []
    for number in range(1, count + 1):
        names = tuple(name for name, owner in owners.items() if owner == number)
        if not names:  # a crumb of a shape whose main part is another component belongs to no lesion of its own
            continue
        mine = inside & torch.isin(nearest, torch.tensor([list(shapes).index(name) for name in names]))
        regions.append(_region({name: shapes[name] for name in names}, components == number, mine, patch, grid))
    return regions


def _owners(components: NDArray[np.int32], distances: Tensor, patch: Patch, names: Sequence[str]) -> dict[str, int]:
    """Return for every shape the component that most of it lies in."""
    fine = components
    for axis, factor in enumerate(patch.factors):
        fine = fine.repeat(factor, axis)
    owners = {}
    for name, distance in zip(names, distances, strict=True):
        found = np.bincount(fine[(distance < 0).numpy()], minlength=2)[1:]
        if not found.any():
            raise ValueError(f"Lesion {name} fills half of no voxel; make it larger or the voxels smaller.")
        owners[name] = int(found.argmax()) + 1
    return owners


def _region(shapes: Mapping[str, Shape], mask: NDArray[np.bool_], mine: Tensor, patch: Patch, grid: Grid) -> Region:
    """Measure one component; ``mine`` are its sub-voxels."""
    cell_mm3 = float(np.prod(grid.spacing_mm)) / float(np.prod(patch.factors))
    centroid = patch.points_mm[mine].mean(0).tolist()
    return Region(
        names=tuple(shapes),
        slices=patch.slices,
        mask=mask,
        volume_mm3=float(mine.sum()) * cell_mm3,
        longest_diameter_mm=_longest_in_plane_mm(Union(shapes=tuple(shapes.values())), grid),
        centroid_mm=(centroid[0], centroid[1], centroid[2]),
    )


def _longest_in_plane_mm(body: Union, grid: Grid) -> float:
    """Return the longest straight line within the middle plane of any slice."""
    parts = [max(1, round(spacing / PLANE_STEP_MM)) for spacing in grid.spacing_mm[1:]]
    affine = grid.affine.clone()
    affine[:3, 1] /= parts[0]
    affine[:3, 2] /= parts[1]
    fine = Grid(shape=(grid.shape[0], grid.shape[1] * parts[0], grid.shape[2] * parts[1]), affine=affine)
    patch = cut_patch(fine, body.centre_mm, body.reach_mm, fine_mm=torch.inf)
    if patch is None:
        return 0.0
    step = np.array(fine.spacing_mm[1:])
    planes = (np.argwhere(plane) * step for plane in (body.distance(patch.points_mm) < 0).numpy())
    return max((_extent(points) + float(step.mean()) / 2 for points in planes if len(points) > 2), default=0.0)


def _extent(points: NDArray[np.float64]) -> float:
    """Return the greatest distance of any two points in a plane."""
    try:
        points = points[ConvexHull(points).vertices]
    except QhullError:  # all on one line: the ends are the extremes anyway
        points = points[[0, -1]]
    return float(pdist(points).max())
