"""What happens to a patient's lesions from study to study, and where they lie in the head."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from inference.synthesis import chance
from inference.synthesis.lesions import Grid, Lesion, Shape, dress, make_shape, resized
from inference.synthesis.painting import fits, occupy

TRIES = 400
ROUGHNESS = 0.12
MERGING_GROWTH = 4.0
CLEARANCE_MM = 5.0
CLEAR_MM = 1.0
FAINTEST = 0.45  # of white matter: what a radiologist would see in a patient
BESIDE = 0.8  # distance of two centres that merge, as a part of the sum of their largest radii


@dataclass(frozen=True, kw_only=True)
class LesionCourse:
    """One lesion through time.

    Attributes
    ----------
    name
        A short name, unique in the patient.
    volumes_mm3
        One value per study; 0 where the lesion is not there.
    region
        Where it lies: ``"junction"`` (grey-white junction), ``"infratentorial"`` or ``"tissue"`` (anywhere).
    joins
        Name of a lesion that it lies so near to that the two merge when both are at their largest.
    """

    name: str
    volumes_mm3: tuple[float, ...]
    region: str = "junction"
    joins: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedCourse:
    """A course with its place and its look; the shape has the largest volume of the course.

    Attributes
    ----------
    course
        Its volumes.
    largest
        Its shape at its largest, in mm of the patient's head.
    look
        How it looks when it is at its largest.
    """

    course: LesionCourse
    largest: Shape
    look: Lesion

    def shape_at(self, study: int) -> Shape | None:
        """Return the lesion's shape in one study, or None when it is not there."""
        volume = self.course.volumes_mm3[study]
        return resized(self.largest, volume) if volume > 0 else None


def default_courses(studies: int, *, generator: Generator) -> tuple[LesionCourse, ...]:
    """Return lesions of 3 to 27 mm of which some grow, shrink, stay, appear, vanish and merge.

    Parameters
    ----------
    studies
        Number of studies. In the third, the one that has vanished comes back, the shrinking one is gone, those that
        have merged part again, and one more appears: every state that a lesion can have is there.
    """

    def about(volume: float) -> float:
        return volume * chance.log_uniform(generator, 0.8, 1.25)

    def course(name: str, first: float, factor: float, region: str = "junction") -> LesionCourse:
        start = about(first)
        return LesionCourse(
            name=name, volumes_mm3=tuple(min(start * factor**n, 20_000) for n in range(studies)), region=region
        )

    def late(name: str, volume: float, study: int = 1) -> LesionCourse:
        later = about(volume)
        volumes = tuple(later * 1.8 ** (n - study) if n >= study else 0.0 for n in range(studies))
        return LesionCourse(name=name, volumes_mm3=volumes)

    def merging(name: str, volume: float, joins: str | None = None) -> LesionCourse:
        start = about(volume)
        volumes = tuple(start * (MERGING_GROWTH if n == 1 else 1.0) for n in range(studies))
        return LesionCourse(name=name, volumes_mm3=volumes, joins=joins)

    gone, shrinking = about(60), about(900)
    return (
        course("A", 5200, 1.35),
        course("B", 700, 1.9, "tissue"),
        course("C", 120, 2.6),
        LesionCourse(name="D", volumes_mm3=tuple(shrinking * 0.35**n if n < 2 else 0.0 for n in range(studies))),
        course("E", 260, 1.04, "infratentorial"),
        course("F", 45, 2.2),
        LesionCourse(name="G", volumes_mm3=tuple(0.0 if n == 1 else gone for n in range(studies))),
        merging("H", 420),
        merging("I", 340, joins="H"),
        late("J", 230),
        late("K", 40),
        *([late("L", 150, study=2)] if studies > 2 else []),
    )


def place_courses(
    courses: Sequence[LesionCourse], regions: Mapping[str, Tensor], grid: Grid, *, generator: Generator
) -> tuple[PlacedCourse, ...]:
    """Give every course a place in the head, largest first, clear of all others.

    Parameters
    ----------
    regions
        bool (i, j, k) on ``grid``: ``"brain"`` (no lesion leaves it), ``"tissue"`` (most of it lies there), and one
        mask per `LesionCourse.region` (its centre lies there).
    grid
        Grid in mm of the head.

    Raises
    ------
    ValueError
        If a lesion finds no place, or joins one that is not there.
    """
    names = {course.name for course in courses}
    for course in courses:
        if course.joins is not None and course.joins not in names:
            raise ValueError(f"Lesion {course.name} joins {course.joins!r}, which does not exist; name another lesion.")
    groups = [
        (course, *(other for other in courses if other.joins == course.name))
        for course in courses
        if course.joins is None
    ]
    groups.sort(key=lambda group: -sum(max(course.volumes_mm3) for course in group))
    taken = torch.zeros_like(regions["brain"])
    placed: dict[str, PlacedCourse] = {}
    for group in groups:
        for one in _place_group(group, regions, taken, grid, generator):
            placed[one.course.name] = one
    return tuple(placed[course.name] for course in courses)


def _place_group(
    group: Sequence[LesionCourse], regions: Mapping[str, Tensor], taken: Tensor, grid: Grid, generator: Generator
) -> list[PlacedCourse]:
    """Find a place for lesions that belong together, and mark it as taken."""
    zero = torch.zeros(3)
    shapes = [make_shape(max(c.volumes_mm3), zero, generator=generator, roughness=ROUGHNESS) for c in group]
    for centre in chance.voxels(generator, regions[group[0].region], TRIES):
        shapes = _arrange(shapes, centre @ grid.affine[:3, :3].T + grid.affine[:3, 3], generator)
        if all(_is_free(shape, regions, taken, grid) for shape in shapes) and _merge_clearly(group, shapes):
            for shape in shapes:
                occupy(shape, taken, grid)
            return [_placed(course, shape, generator) for course, shape in zip(group, shapes, strict=True)]
    raise ValueError(
        f"No place for lesion {group[0].name} ({max(group[0].volumes_mm3):.0f} mm³) in {group[0].region} after "
        f"{TRIES} tries; ask for fewer or smaller lesions, or another seed."
    )


def _arrange(shapes: Sequence[Shape], centre_mm: Tensor, generator: Generator) -> list[Shape]:
    """Put the first shape at a point and the others beside it, so near that they overlap."""
    arranged = [replace(shapes[0], centre_mm=centre_mm)]
    for shape in shapes[1:]:
        distance = BESIDE * (shape.radius_mm + shapes[0].radius_mm)
        arranged.append(replace(shape, centre_mm=centre_mm + distance * chance.direction(generator)))
    return arranged


def _is_free(shape: Shape, regions: Mapping[str, Tensor], taken: Tensor, grid: Grid) -> bool:
    """Say whether a shape lies inside the brain, mostly in tissue, and away from all others."""
    inside = fits(shape, grid, allowed=regions["brain"], taken=taken, share=0.99, clearance_mm=CLEARANCE_MM)
    return inside and fits(shape, grid, allowed=regions["tissue"], taken=taken, share=0.75)


def _merge_clearly(group: Sequence[LesionCourse], shapes: Sequence[Shape]) -> bool:
    """Say whether lesions that merge overlap plainly at their largest, and are plainly one or two in every study."""
    for course, shape in zip(group[1:], shapes[1:], strict=True):
        if overlap_mm(shapes[0], shape) < CLEAR_MM:
            return False
        for first, second in zip(group[0].volumes_mm3, course.volumes_mm3, strict=True):
            if min(first, second) > 0 and abs(overlap_mm(resized(shapes[0], first), resized(shape, second))) < CLEAR_MM:
                return False
    return True


def overlap_mm(first: Shape, second: Shape) -> float:
    """Return how deep two shapes lie in each other; negative: minus half the gap between them."""
    middle = (first.centre_mm + second.centre_mm) / 2
    reach = max(first.radius_mm, second.radius_mm) + 2
    line = torch.arange(-reach, reach, 0.5)
    points = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1) + middle
    deepest = torch.maximum(first.distance(points), second.distance(points)).min()
    return -float(deepest)


def _placed(course: LesionCourse, largest: Shape, generator: Generator) -> PlacedCourse:
    """Give a lesion its look, never so faint that it could not be seen."""
    look = dress(largest, generator=generator)
    return PlacedCourse(course=course, largest=largest, look=replace(look, enhancement=max(look.enhancement, FAINTEST)))
