"""What lesions do between the visits of a synthetic patient, and how each visit's images show them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from inference.synthesis import chance
from inference.synthesis.deformation import rotation, sample, voxel_positions
from inference.synthesis.lesions import (
    LARGEST_MM3,
    SMALLEST_MM3,
    Grid,
    Lesion,
    Shape,
    draw_volume_mm3,
    dress,
    make_shape,
    resized,
)
from inference.synthesis.painting import edema_halo, fits, occupy, paint_body, push_away, pushes
from inference.synthesis.scanner import LESION_LOOK
from inference.synthesis.tissues import Anatomy
from tracking.timepoint import MRSequence, Tissue

MOST_LESIONS = 30
WITHOUT_LESIONS = 0.25
INFRATENTORIAL = 0.18
TRIES = 6
# Nature's sizes (`draw_volume_mm3`) alone hold so few large lesions that the network learns to take them for anatomy.
LARGE = 0.2
LARGE_DIAMETERS_MM = (8.0, 35.0)
CHANGE = 0.9
NEW = 0.12
RESOLVED = 0.12
LOOK_CHANGE = 0.15
SHIFT_MM = 3.0
TURN_DEG = 3.0
EDEMA_AMOUNT = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """One lesion through all visits.

    Attributes
    ----------
    largest
        The lesion when it is largest: it decides where there is room.
    volumes_mm3
        Volume at each visit; None where it is not there.
    looks
        Factor on its enhancement at each visit.
    """

    largest: Lesion
    volumes_mm3: tuple[float | None, ...]
    looks: tuple[float, ...]

    def at(self, visit: int) -> Lesion | None:
        """Return the lesion at one visit, or None where it is not there."""
        volume, shape = self.volumes_mm3[visit], self.largest.body
        if volume is None or not isinstance(shape, Shape):
            return None
        if len(self.volumes_mm3) == 1:
            return self.largest
        body = resized(shape, volume)
        thin = self.largest.wall_mm is not None and 2 * body.radius_mm < 6  # as in `dress`: no necrosis below 6 mm
        return replace(
            self.largest,
            body=body,
            enhancement=self.largest.enhancement * self.looks[visit],
            wall_mm=None if thin else self.largest.wall_mm,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What was painted at one visit.

    Attributes
    ----------
    lesions
        int16 (i, j, k): 0 background, n the n-th course's lesion.
    tissue
        uint8 (i, j, k): `tracking.timepoint.Tissue`.
    """

    lesions: Tensor
    tissue: Tensor


def draw_courses(anatomy: Anatomy, ignore: Tensor, *, visits: int, generator: Generator) -> list[Course]:
    """Draw 0 to 30 lesions with a place each, and what becomes of them; largest first.

    Parameters
    ----------
    anatomy
        Of the head, 1 mm voxels.
    ignore
        bool (i, j, k): where no lesion may lie.
    visits
        Number of visits: ln V changes by N(0, 0.9) from each to the next, 12 % are new at a later visit and 12 %
        resolve.
    """
    if chance.happens(generator, WITHOUT_LESIONS):
        return []
    count = 1 + int((MOST_LESIONS - 1) * chance.uniform(generator, 0, 1) ** 1.5)
    volumes = sorted((_draw_volume_mm3(generator) for _ in range(count)), reverse=True)
    grid = Grid.millimetres(ignore.shape, ignore.device)
    taken, courses = ignore.clone(), []
    for volume in volumes:
        history = _history(volume, visits, generator)
        lesion = _place(max(v for v in history if v is not None), anatomy, taken, grid, generator)
        if lesion is not None:
            occupy(lesion.body, taken, grid)
            looks = tuple(math.exp(LOOK_CHANGE * chance.normal(generator)) for _ in range(visits) if visits > 1)
            courses.append(Course(largest=lesion, volumes_mm3=history, looks=looks))
    return courses


def _history(volume_mm3: float, visits: int, generator: Generator) -> tuple[float | None, ...]:
    """Return the volume at each visit; ``volume_mm3`` at the last, unless the lesion is gone by then."""
    history: list[float | None] = [volume_mm3]
    for _ in range(visits - 1):
        earlier = math.exp(math.log(history[0] or volume_mm3) + CHANGE * chance.normal(generator))
        history.insert(0, min(max(earlier, SMALLEST_MM3), LARGEST_MM3))
    if visits > 1 and chance.happens(generator, NEW):
        first = chance.whole(generator, 1, visits - 1)
        history[:first] = [None] * first
    elif visits > 1 and chance.happens(generator, RESOLVED):
        last = chance.whole(generator, 1, visits - 1)
        history[last:] = [None] * (visits - last)
    return tuple(history)


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


def _region(anatomy: Anatomy, generator: Generator) -> Tensor:
    """Choose where a lesion may lie: below the tentorium, at the grey-white junction, or anywhere."""
    if chance.happens(generator, INFRATENTORIAL) and bool(anatomy.infratentorial.any()):
        return anatomy.infratentorial
    if chance.happens(generator, 0.65) and bool(anatomy.junction.any()):
        return anatomy.junction
    return anatomy.tissue


def paint_visit(
    images: Mapping[MRSequence, Tensor],
    white: Mapping[MRSequence, float],
    courses: Sequence[Course],
    anatomy: Anatomy,
    *,
    visit: int,
    generator: Generator,
) -> Truth:
    """Paint the lesions of one visit into its images, in place.

    Parameters
    ----------
    images
        float32 (i, j, k) on one grid of 1 mm voxels.
    white
        Brightness of white matter in each.
    courses
        From `draw_courses`.
    anatomy
        Of the head.
    visit
        Number of the visit, from 0.
    """
    first = next(iter(images.values()))
    numbers = torch.zeros(first.shape, dtype=torch.int16, device=first.device)
    tissue = torch.zeros(first.shape, dtype=torch.uint8, device=first.device)
    grid = Grid.millimetres(first.shape, first.device)
    present = [(n, lesion) for n, course in enumerate(courses, 1) if (lesion := course.at(visit)) is not None]
    for _, lesion in present:  # tissue is pushed before any lesion is painted, so that no painted lesion moves
        strength = pushes(lesion, generator)
        for image in images.values():
            push_away(image, lesion.body, strength=strength, grid=grid)
    for number, lesion in present:
        _paint(images, white, lesion, anatomy, Truth(lesions=numbers, tissue=tissue), number, generator)
    return Truth(lesions=numbers, tissue=tissue)


def _paint(  # noqa: PLR0913, PLR0917 - one lesion, all that it touches
    images: Mapping[MRSequence, Tensor],
    white: Mapping[MRSequence, float],
    lesion: Lesion,
    anatomy: Anatomy,
    truth: Truth,
    number: int,
    generator: Generator,
) -> None:
    """Paint one lesion with its edema into every sequence, and into the truth."""
    grid = Grid.millimetres(truth.lesions.shape, truth.lesions.device)
    halo = edema_halo(lesion, grid, generator=generator)
    for sequence, image in images.items():
        wall, core, factor = LESION_LOOK.get(sequence, (1 + lesion.enhancement, lesion.core, None))
        if halo is not None:
            patch, amount = halo
            change = (1 - lesion.edema_loss if factor is None else factor) - 1
            image[patch.slices] *= 1 + change * amount * anatomy.tissue[patch.slices]
        level = white[sequence]
        painted = paint_body(image, lesion, grid, wall=level * wall, core=level * core, generator=generator)
    if halo is not None:
        patch, amount = halo
        swollen = (amount >= EDEMA_AMOUNT) & anatomy.tissue[patch.slices] & (truth.tissue[patch.slices] == 0)
        truth.tissue[patch.slices][swollen] = int(Tissue.EDEMA)
    if painted is not None:
        here = painted.patch.slices
        inside = (painted.filled >= 0.5) & anatomy.brain[here] & (truth.lesions[here] == 0)
        necrotic = painted.necrosis >= 0.5
        truth.lesions[here][inside] = number
        truth.tissue[here][inside] = int(Tissue.ENHANCING)
        truth.tissue[here][inside & necrotic] = int(Tissue.NECROSIS)


def misplace(volumes: Mapping[str, Tensor], *, generator: Generator) -> dict[str, Tensor]:
    """Move volumes (i, j, k) as imperfect registration leaves them: at most 3 mm and 3° about the centre.

    Floating point volumes are interpolated linearly, whole numbers and masks take the nearest voxel.
    """
    shape = next(iter(volumes.values())).shape
    angles = [math.radians(TURN_DEG * chance.uniform(generator, -1, 1)) for _ in range(3)]
    shift = SHIFT_MM * chance.direction(generator) * chance.uniform(generator, 0, 1)
    centre = torch.tensor(shape, dtype=torch.float32) / 2
    positions = (
        (voxel_positions(tuple(shape)) - centre) @ rotation((angles[0], angles[1], angles[2])).T + centre + shift
    )
    return {
        name: sample(volume.float(), positions, nearest=not volume.is_floating_point(), edge=True).to(volume.dtype)
        for name, volume in volumes.items()
    }
