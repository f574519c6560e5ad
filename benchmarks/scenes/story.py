"""What happens to a patient's lesions: bodies in the reference space of one head, study after study.

Every body is made of atoms. A part that breaks off gets the atom of the whole with a further step ("3" becomes "3.0"
and "3.1"), so two bodies at two times are one lesion exactly if an atom of one is a beginning of an atom of the other.
"""

from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from benchmarks.scenes.assumptions import Assumptions
from benchmarks.scenes.shapes import Shape, ball, library

FloatArray = NDArray[np.float64]
Atom = tuple[int, ...]

BRAIN_MM = np.array([66.0, 82.0, 58.0])  # half axes
MEDIAN_MM3, LOG_SPREAD = 60.0, 1.6  # of the volumes at first sight: half of them between 20 and 180 mm³
SMALLEST_MM3, LARGEST_MM3 = 8.0, 15_000.0
WAISTED = 6.0  # lesions with a waist are so many times larger, or their parts would be lost
SMALLEST_PART_MM3 = 5.0  # of a lesion that breaks
LARGEST_LOG_CHANGE = 2.2
APART_MM = 2.5  # lesions are put no nearer to each other than this, or they would be one on most grids
BESIDE_RESOLVED_MM = 0.5  # from where one has vanished, a new one may be as near as this
CLOSE_MM = 8.0  # up to here a pair is close
ATTEMPTS = 200
FORMS_SEED = 7
REAL_FORMS = Path(__file__).resolve().parents[3] / "shared" / "data" / "lesion_shapes"


@dataclass(frozen=True, kw_only=True, eq=False)
class Body:
    """One solid lesion at one time, in reference space.

    Attributes
    ----------
    atom
        What it is made of.
    number
        Stands for it in random draws, the same at all times.
    """

    atom: Atom
    number: int
    shape: Shape
    turn: FloatArray
    centre_mm: FloatArray
    volume_mm3: float
    swollen_mm: float = 0.0

    @property
    def scale(self) -> float:
        """Millimetres per voxel of the shape's cube."""
        return float(np.cbrt(self.volume_mm3 / self.shape.volume))

    @property
    def reach_mm(self) -> float:
        """No point of the body is farther from its centre."""
        return self.scale * self.shape.reach + self.swollen_mm

    @property
    def radius_mm(self) -> float:
        """Radius of the sphere with its volume, swelling included."""
        return float(np.cbrt(3 * self.volume_mm3 / 4 / np.pi)) + self.swollen_mm

    def distance_mm(self, points_mm: FloatArray) -> FloatArray:
        """Signed distance of points (n, 3) to the surface, negative inside."""
        local = (points_mm - self.centre_mm) @ self.turn / self.scale
        return self.scale * self.shape.at(local) - self.swollen_mm


@dataclass(kw_only=True, eq=False)
class _Patient:
    """The present, while a story is being told."""

    rng: np.random.Generator
    rules: Assumptions
    shapes: tuple[Shape, ...]
    present: list[Body] = field(default_factory=list)
    away: list[Body] = field(default_factory=list)  # vanished, may return
    drawn: int = 0


def tell(rng: np.random.Generator, rules: Assumptions, *, lesions: int, studies: int) -> list[tuple[Body, ...]]:
    """Tell a patient's story.

    Returns
    -------
    list of tuple of Body
        What is there at each study.
    """
    patient = _Patient(rng=rng, rules=rules, shapes=_shapes(rules))
    for _ in range(lesions):
        _appear(patient, _neighbour(patient))
    story = [tuple(patient.present)]
    for _ in range(studies - 1):
        _live_on(patient)
        story.append(tuple(patient.present))
    return story


@cache
def _shapes(rules: Assumptions) -> tuple[Shape, ...]:
    """Forms of a world: drawn once, as they take longer than a story."""
    if rules.forms == "balls":
        return (ball(),)
    return library(np.random.default_rng(FORMS_SEED), REAL_FORMS if rules.forms == "real" else None)


def _neighbour(patient: _Patient) -> Body | None:
    if not patient.present or patient.rng.random() >= patient.rules.crowding:
        return None
    return patient.present[patient.rng.integers(len(patient.present))]


def _appear(patient: _Patient, beside: Body | None = None, *, apart_mm: float = APART_MM) -> None:
    """Add a lesion anywhere in the brain, or so close to another; nothing if there is no room."""
    body = _draw(patient)
    for _ in range(ATTEMPTS):
        centre_mm = _anywhere(patient.rng) if beside is None else _close_to(patient.rng, body, beside, apart_mm)
        placed = replace(body, centre_mm=centre_mm)
        clear = beside is None or gap_mm(placed, beside) >= apart_mm
        if clear and _in_brain(centre_mm) and all(gap_mm(placed, other) >= APART_MM for other in patient.present):
            patient.present.append(placed)
            return


def _draw(patient: _Patient) -> Body:
    patient.drawn += 1
    rng = patient.rng
    shape = patient.shapes[rng.integers(len(patient.shapes))]
    usual_mm3 = MEDIAN_MM3 * (WAISTED if shape.parts else 1.0)
    return Body(
        atom=(patient.drawn,),
        number=patient.drawn,
        shape=shape,
        turn=Rotation.random(random_state=rng).as_matrix(),
        centre_mm=np.zeros(3),
        volume_mm3=float(np.clip(usual_mm3 * np.exp(rng.normal(0, LOG_SPREAD)), SMALLEST_MM3, LARGEST_MM3)),
    )


def _anywhere(rng: np.random.Generator) -> FloatArray:
    return np.asarray(rng.uniform(-1, 1, 3) * BRAIN_MM)


def _close_to(rng: np.random.Generator, body: Body, other: Body, apart_mm: float) -> FloatArray:
    direction = rng.normal(size=3)
    distance_mm = body.radius_mm + other.radius_mm + rng.uniform(apart_mm, CLOSE_MM)
    return np.asarray(other.centre_mm + direction / np.linalg.norm(direction) * distance_mm)


def _in_brain(centre_mm: FloatArray) -> bool:
    return bool(np.linalg.norm(centre_mm / BRAIN_MM) < 0.95)


def gap_mm(first: Body, second: Body) -> float:
    """Width of the narrowest free space between two bodies, to about half a millimetre; negative if they overlap."""
    between = second.centre_mm - first.centre_mm
    free_mm = float(np.linalg.norm(between)) - first.reach_mm - second.reach_mm
    if free_mm > CLOSE_MM:
        return free_mm
    small = min(first, second, key=lambda body: body.reach_mm)
    axis = np.linspace(-1, 1, 15) * (small.reach_mm + 2)
    grid = small.centre_mm + np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    line = first.centre_mm + np.linspace(0, 1, 60)[:, None] * between
    points = np.concatenate((grid, line))
    return float((first.distance_mm(points) + second.distance_mm(points)).min())


def _live_on(patient: _Patient) -> None:
    """From one study to the next."""
    before = list(patient.present)
    patient.present = [_changed(patient, body) for body in before]
    returned = _return(patient)
    resolved = _resolve(patient)
    _split(patient)
    _merge(patient)
    patient.away += resolved
    patient.present += returned
    count = patient.rng.poisson(max(patient.rules.appearing * len(before), 1 / 3))
    for _ in range(count):
        if resolved and patient.rng.random() < patient.rules.beside_resolved:
            _appear(patient, resolved[patient.rng.integers(len(resolved))], apart_mm=BESIDE_RESOLVED_MM)
        else:
            _appear(patient, _neighbour(patient))


def _changed(patient: _Patient, body: Body) -> Body:
    """Grow or shrink, a little to one side; what has swollen to touch a neighbour keeps it."""
    rng = patient.rng
    largest = 0.5 if body.swollen_mm else LARGEST_LOG_CHANGE
    change = float(np.clip(rng.normal(0, patient.rules.log_change), -largest, largest))
    volume_mm3 = float(np.clip(body.volume_mm3 * np.exp(change), SMALLEST_MM3, LARGEST_MM3))
    shift_mm = rng.normal(0, 0.08, 3) * body.radius_mm
    return replace(body, volume_mm3=volume_mm3, centre_mm=body.centre_mm + shift_mm)


def _return(patient: _Patient) -> list[Body]:
    """Bring back lesions that vanished, near their place and of another size."""
    returned = []
    for body in list(patient.away):
        near = replace(
            body,
            centre_mm=body.centre_mm + patient.rng.normal(0, 0.6, 3),
            volume_mm3=float(max(body.volume_mm3 * np.exp(patient.rng.normal(0, 0.7)), SMALLEST_MM3)),
            swollen_mm=0.0,
        )
        free = all(gap_mm(near, other) >= APART_MM for other in patient.present)
        if free and patient.rng.random() < patient.rules.returning:
            patient.away.remove(body)
            returned.append(near)
    return returned


def _resolve(patient: _Patient) -> list[Body]:
    resolved = [body for body in patient.present if patient.rng.random() < patient.rules.resolving]
    patient.present = [body for body in patient.present if body not in resolved]
    return resolved


def _split(patient: _Patient) -> None:
    """Erode some lesions until they break, if their form can and the parts would not be lost."""
    for body in list(patient.present):
        if patient.rng.random() >= patient.rules.splitting:
            continue
        parts = _parts(patient, body)
        if len(parts) > 1 and min(part.volume_mm3 for part in parts) >= SMALLEST_PART_MM3:
            patient.present.remove(body)
            patient.present += parts


def _parts(patient: _Patient, body: Body) -> list[Body]:
    parts = []
    for place, (shape, centre) in enumerate(body.shape.parts):
        patient.drawn += 1
        parts.append(
            replace(
                body,
                atom=(*body.atom, place),
                number=patient.drawn,
                shape=shape,
                centre_mm=body.centre_mm + body.turn @ centre * body.scale,
                volume_mm3=shape.volume * body.scale**3,
                swollen_mm=0.0,
            )
        )
    return parts


def _merge(patient: _Patient) -> None:
    """Let close pairs swell until they touch; a lesion joins one neighbour at a time."""
    free = list(range(len(patient.present)))
    while free:
        place = free.pop()
        for other in free:
            first, second = patient.present[place], patient.present[other]
            gap = gap_mm(first, second)
            if 0 < gap <= CLOSE_MM and patient.rng.random() < patient.rules.merging:
                share, grown_mm = patient.rng.uniform(0.1, 0.9), gap + patient.rng.uniform(1.0, 2.5)
                patient.present[place] = replace(first, swollen_mm=first.swollen_mm + share * grown_mm)
                patient.present[other] = replace(second, swollen_mm=second.swollen_mm + (1 - share) * grown_mm)
                free.remove(other)
                break
