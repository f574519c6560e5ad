"""Sequences of one study brought to its T1c: the patient may have moved between them, but nothing has grown.

Rigid only. T2 and FLAIR show the same tissue with another contrast, where any measure by correlation fails without a
word (30 mm and more on generated heads), so mutual information is used; a T1 without contrast agent looks enough like
the T1c for correlation in small neighbourhoods, which is then ten times as exact. Nothing is used that does not explain
the images better than the positions as they stand.
"""

from dataclasses import dataclass

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from tracking.geometry import isotropic_grid, resample_like, to_sitk
from tracking.registration.engine import ImagePair, RegistrationError
from tracking.registration.greedy import rigid_matrix
from tracking.registration.preparation import anti_aliased, centre_of_mass_mm, crop_to_brain
from tracking.registration.quality import mutual_information
from tracking.registration.transform import Transform
from tracking.timepoint import MRSequence

LARGEST_MOTION_MM = 40.0
SMALLEST_COVERAGE = 0.3
REACH_MM = 10.0  # how far beyond the brain's box the sequence is looked at
JUDGED_AT_MM = 2.0


@dataclass(frozen=True, kw_only=True)
class _Recipe:
    """Which measure on which voxels, up to how far outside the brain."""

    measure: str
    iterations: str
    spacing_mm: float
    beyond_brain_mm: float = 0.0


RECIPES = {
    MRSequence.T1: _Recipe(measure="NCC 3x3x3", iterations="100x30", spacing_mm=3.0),
    MRSequence.T2: _Recipe(measure="NMI", iterations="100x50", spacing_mm=2.0),
    # Fluid is dark in FLAIR as in T1c, so that inside the brain little tells them apart; skull and scalp help.
    MRSequence.FLAIR: _Recipe(measure="NMI", iterations="100x50", spacing_mm=2.0, beyond_brain_mm=8.0),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class SequenceAlignment:
    """One sequence brought to the T1c of its study.

    Attributes
    ----------
    transform
        From the T1c to the sequence, LPS mm; the identity where registration did not help.
    information_before, information_after
        Normalised mutual information inside the brain, 1 to 2, as the positions stand and as they are used.
    motion_mm
        How far the centre of the brain has moved.
    remarks
        Sentences for the radiologist: what failed, and what was used instead.
    """

    transform: Transform
    information_before: float
    information_after: float
    motion_mm: float
    remarks: tuple[str, ...] = ()


def align_sequence(
    t1c: Volume, image: Volume, brain: Volume, *, sequence: MRSequence, threads: int = 1
) -> SequenceAlignment:
    """Bring another sequence of the same study to the T1c.

    Parameters
    ----------
    t1c, image
        Images of one study, each on its own grid, LPS mm.
    brain
        Brain mask on the grid of the T1c.
    sequence
        What ``image`` is; it decides the measure.
    threads
        Processor threads.

    Raises
    ------
    ValueError
        If the brain mask is empty.
    """
    if not brain.array.any():
        raise ValueError(f"The brain mask is empty; find the brain before {sequence} is registered to the T1c.")
    recipe = RECIPES[sequence]
    judged = _on_cubes(t1c, brain, JUDGED_AT_MM)
    same = recipe.spacing_mm == JUDGED_AT_MM
    fixed, mask = judged if same else _on_cubes(t1c, brain, recipe.spacing_mm)
    before = _information(*judged, image, Transform(matrix=np.eye(4)))
    try:
        moved = Transform(matrix=_rigid(fixed, mask, image, recipe, threads))
    except RegistrationError as error:
        return _unmoved(before, f"{sequence} could not be registered to the T1c ({error})")
    motion_mm = _motion_mm(brain, moved)
    if motion_mm > LARGEST_MOTION_MM:
        return _unmoved(before, f"registration would move {sequence} by {motion_mm:.0f} mm")
    after = _information(*judged, image, moved)
    if after <= before:
        return _unmoved(before)
    return SequenceAlignment(transform=moved, information_before=before, information_after=after, motion_mm=motion_mm)


def _unmoved(information: float, reason: str = "") -> SequenceAlignment:
    return SequenceAlignment(
        transform=Transform(matrix=np.eye(4)),
        information_before=information,
        information_after=information,
        motion_mm=0.0,
        remarks=(f"Positions within the study are used as they stand: {reason}.",) if reason else (),
    )


def _rigid(fixed: Volume, mask: Volume, image: Volume, recipe: _Recipe, threads: int) -> NDArray[np.float64]:
    around = _grown(fixed, REACH_MM)
    moving = resample_like(anti_aliased(image, recipe.spacing_mm), around)
    steps = round(recipe.beyond_brain_mm / recipe.spacing_mm)
    looked_at = binary_dilation(mask.array, iterations=steps) if steps else mask.array
    everywhere = around.with_array(np.ones(around.spatial_shape, np.uint8))
    pair = ImagePair(
        fixed=to_sitk(fixed),
        moving=to_sitk(moving),
        fixed_mask=to_sitk(mask.with_array(looked_at)),
        moving_mask=to_sitk(everywhere),
    )
    return rigid_matrix(pair, measure=recipe.measure, iterations=recipe.iterations, threads=threads)


def _on_cubes(t1c: Volume, brain: Volume, spacing_mm: float) -> tuple[Volume, Volume]:
    """Sample the brain's box of image and mask on cubic voxels."""
    box = crop_to_brain(t1c, brain)
    grid = isotropic_grid(box, spacing_mm)
    mask = resample_like(brain.with_array(brain.array.astype(np.uint8)), grid, interpolation="nearest")
    return resample_like(anti_aliased(box, spacing_mm), grid), mask.with_array(mask.array > 0)


def _grown(grid: Volume, reach_mm: float) -> Volume:
    """Return an empty grid that reaches further to all sides."""
    steps = int(np.ceil(reach_mm / min(grid.spacing)))
    affine = grid.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ np.full(3, steps)
    shape = tuple(size + 2 * steps for size in grid.spatial_shape)
    return Volume(np.zeros(shape, np.uint8), affine, "PATIENT")


def _motion_mm(brain: Volume, transform: Transform) -> float:
    centre = centre_of_mass_mm(brain)
    return float(np.linalg.norm(transform.to_moving(centre)[0] - centre))


def _information(fixed: Volume, mask: Volume, image: Volume, transform: Transform) -> float:
    """Measure the agreement inside the brain; 1 where hardly any of it is covered."""
    warped = transform.warp(image, fixed, fill=np.nan).array
    inside = mask.array & np.isfinite(warped)
    if inside.sum() < SMALLEST_COVERAGE * mask.array.sum():
        return 1.0
    return mutual_information(fixed.array[inside], warped[inside])
