"""One synthetic training example: a whole head on a 1 mm grid with known lesions."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from inference.synthesis import chance
from inference.synthesis.acquisition import acquire
from inference.synthesis.axes import blur
from inference.synthesis.confusers import add_confusers
from inference.synthesis.heads import draw_head
from inference.synthesis.lesions import Grid, Lesion, Patch, draw_volume_mm3, dress, make_shape
from inference.synthesis.painting import edema_halo, fits, occupy, paint_body, push_away, pushes
from inference.synthesis.tissues import Anatomy

MOST_LESIONS = 30
WITHOUT_LESIONS = 0.25
INFRATENTORIAL = 0.18
TRIES = 6
# Nature's sizes (`draw_volume_mm3`) alone hold so few large lesions that the network learns to take them for anatomy.
LARGE = 0.2
LARGE_DIAMETERS_MM = (8.0, 35.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingHead:
    """A T1c head with lesions painted in, on cubic 1 mm voxels, after a simulated acquisition.

    Attributes
    ----------
    image
        float32 (i, j, k): intensities in arbitrary units, not yet normalised.
    brain
        bool (i, j, k): brain mask.
    lesions
        int16 (i, j, k): 0 background, n the n-th lesion (enhancing tissue and necrosis).
    ignore
        bool (i, j, k): where nothing is known (a real glioma); counts neither as lesion nor as background.
    """

    image: Tensor
    brain: Tensor
    lesions: Tensor
    ignore: Tensor


def from_real_head(t1c: Tensor, brain: Tensor, abnormality: Tensor, *, generator: Generator) -> TrainingHead:
    """Paint random lesions and confusers into a real head and scan it again.

    Parameters
    ----------
    t1c
        float32 (i, j, k), 1 mm cubic voxels, i from inferior to superior.
    brain, abnormality
        bool (i, j, k): brain mask, and where a real abnormality makes the truth unknown.
    generator
        Source of every random choice.

    Raises
    ------
    ValueError
        If the brain mask is empty or the shapes differ.
    """
    if t1c.shape != brain.shape or t1c.shape != abnormality.shape or not bool(brain.any()):
        raise ValueError(
            f"T1c {tuple(t1c.shape)}, brain {tuple(brain.shape)} and abnormality {tuple(abnormality.shape)} must have "
            "one shape and the brain must not be empty; resample all three to one grid."
        )
    image = (t1c.float() - _background(t1c.float())).clamp_min(0)
    white = float(image[brain.bool()][::7].quantile(0.65))
    anatomy = _real_anatomy(image, brain.bool(), white)
    ignore = blur(abnormality.float(), 1.5) > 0.1
    thickness = chance.log_uniform(generator, 0.8, 7.0) if chance.happens(generator, 0.6) else 1.0
    return _finish(image, anatomy, ignore, thickness_mm=thickness, slice_axis=0, generator=generator)


def from_label_map(labels: Tensor, *, generator: Generator) -> TrainingHead:
    """Draw a random head from a label map, paint lesions and confusers into it and scan it.

    Parameters
    ----------
    labels
        Integer (i, j, k) SynthSeg labels with extra-cerebral tissue, 1 mm cubic voxels, i from inferior to superior.
    generator
        Source of every random choice.

    Raises
    ------
    ValueError
        If the map has no brain.
    """
    image, anatomy = draw_head(labels, generator=generator)
    thickness = chance.log_uniform(generator, 0.8, 7.0) if chance.happens(generator, 0.5) else 1.0
    axis = 0 if chance.happens(generator, 0.7) else chance.whole(generator, 1, 2)
    ignore = torch.zeros_like(anatomy.brain)
    return _finish(image, anatomy, ignore, thickness_mm=thickness, slice_axis=axis, generator=generator)


def _background(image: Tensor) -> float:
    """Return the noise floor of a magnitude image: what most of the air around the head stays below."""
    return float(image.flatten()[::31].quantile(0.15))


def _real_anatomy(image: Tensor, brain: Tensor, white: float) -> Anatomy:
    """Guess from a real image and its brain mask where things are."""
    depth = blur(brain.float(), 6.0)
    slices = brain.any(2).any(1).nonzero().flatten()
    low, high = int(slices[0]), int(slices[-1])
    tent = low + round(0.3 * (high - low))
    inferior = torch.zeros_like(brain)
    inferior[:tent] = True
    tissue = brain & (image > 0.6 * white)
    return Anatomy(
        brain=brain,
        tissue=tissue,
        junction=tissue & (depth > 0.68) & (depth < 0.93) & ~inferior,
        infratentorial=tissue & inferior,
        ventricles=brain & (depth > 0.97) & (image < 0.62 * white),
        white=white,
    )


def _finish(
    image: Tensor, anatomy: Anatomy, ignore: Tensor, *, thickness_mm: float, slice_axis: int, generator: Generator
) -> TrainingHead:
    """Add confusers and lesions to a head, then scan it."""
    add_confusers(image, anatomy, generator=generator)
    labels = _add_lesions(image, anatomy, ignore, generator)
    image = acquire(image, white=anatomy.white, thickness_mm=thickness_mm, slice_axis=slice_axis, generator=generator)
    return TrainingHead(image=image, brain=anatomy.brain, lesions=labels, ignore=ignore)


def _add_lesions(image: Tensor, anatomy: Anatomy, ignore: Tensor, generator: Generator) -> Tensor:
    """Paint 0 to 30 lesions in place and return their labels, int16 (i, j, k)."""
    labels = torch.zeros(image.shape, dtype=torch.int16, device=image.device)
    grid = Grid.millimetres(image.shape, image.device)
    lesions = _place_all(anatomy, ignore, grid, generator)
    for lesion in lesions:  # tissue is pushed before any lesion is painted, so that no painted lesion moves
        push_away(image, lesion.body, strength=pushes(lesion, generator), grid=grid)
    number = 0
    for lesion in lesions:
        painted = _paint(image, lesion, anatomy, grid, generator)
        if painted is None:
            continue
        patch, filled = painted
        inside = (filled >= 0.5) & anatomy.brain[patch.slices] & (labels[patch.slices] == 0)
        if bool(inside.any()):
            number += 1
            labels[patch.slices][inside] = number
    return labels


def _place_all(anatomy: Anatomy, ignore: Tensor, grid: Grid, generator: Generator) -> list[Lesion]:
    """Draw the lesions of a head and find a place for each, largest first."""
    if chance.happens(generator, WITHOUT_LESIONS):
        return []
    count = 1 + int((MOST_LESIONS - 1) * chance.uniform(generator, 0, 1) ** 1.5)
    volumes = sorted((_draw_volume_mm3(generator) for _ in range(count)), reverse=True)
    taken, lesions = ignore.clone(), []
    for volume in volumes:
        lesion = _place(volume, anatomy, taken, grid, generator)
        if lesion is not None:
            occupy(lesion.body, taken, grid)
            lesions.append(lesion)
    return lesions


def _draw_volume_mm3(generator: Generator) -> float:
    if not chance.happens(generator, LARGE):
        return draw_volume_mm3(generator)
    return math.pi / 6 * chance.log_uniform(generator, *LARGE_DIAMETERS_MM) ** 3


def _place(volume_mm3: float, anatomy: Anatomy, taken: Tensor, grid: Grid, generator: Generator) -> Lesion | None:
    """Find a free place for a lesion of this volume, or None after a few tries."""
    shape = make_shape(volume_mm3, torch.zeros(3), generator=generator)
    for _ in range(TRIES):
        found = chance.voxels(generator, _region(anatomy, generator), 1)
        if not len(found):
            continue
        within = torch.rand(3, generator=generator, device=generator.device) - 0.5
        shape = replace(shape, centre_mm=found[0] + within)
        if fits(shape, grid, allowed=anatomy.brain, taken=taken):
            return dress(shape, generator=generator)
    return None


def _paint(
    image: Tensor, lesion: Lesion, anatomy: Anatomy, grid: Grid, generator: Generator
) -> tuple[Patch, Tensor] | None:
    """Paint a lesion and its edema, in place; return what the lesion fills, as `paint_body` does."""
    halo = edema_halo(lesion, grid, generator=generator)
    if halo is not None:
        patch, edema = halo
        image[patch.slices] *= 1 - lesion.edema_loss * edema * anatomy.tissue[patch.slices]
    wall, core = anatomy.white * (1 + lesion.enhancement), anatomy.white * lesion.core
    return paint_body(image, lesion, grid, wall=wall, core=core, generator=generator)


def _region(anatomy: Anatomy, generator: Generator) -> Tensor:
    """Choose where a lesion may lie: below the tentorium, at the grey-white junction, or anywhere."""
    if chance.happens(generator, INFRATENTORIAL) and bool(anatomy.infratentorial.any()):
        return anatomy.infratentorial
    if chance.happens(generator, 0.65) and bool(anatomy.junction.any()):
        return anatomy.junction
    return anatomy.tissue
