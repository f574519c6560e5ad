"""What the matcher is given of a patient, and the truth beside it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

import cc3d
import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from benchmarks.scenes.assumptions import Assumptions
from benchmarks.scenes.misalignment import ErrorKind, Misalignment
from benchmarks.scenes.story import BRAIN_MM, Atom, Body, tell
from tracking.timepoint import Timepoint

FloatArray = NDArray[np.float64]

FIELD_MM = BRAIN_MM + 12.0
SPURIOUS_MM3 = (8.0, 60.0)
FIRST_DAY = date(2024, 1, 15)
EDGE_WAVE_MM = 5.0
EDGE_MARGIN_MM = 3.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """A patient's studies.

    Attributes
    ----------
    studies
        Label volumes: 26-connected components in random order.
    to_prior
        For each study but the first the rigid matrix (4 × 4, LPS mm) from it to the one before, as registration
        found it: off by ``error_mm`` (root mean square).
    atoms
        For each study what every lesion number is made of; empty for a false detection.
    """

    studies: tuple[Timepoint, ...]
    to_prior: tuple[FloatArray, ...]
    error_mm: float
    atoms: tuple[dict[int, frozenset[Atom]], ...]
    lesions: int


@dataclass(frozen=True, kw_only=True, eq=False)
class _View:
    """How one study sees the reference space."""

    pose: FloatArray
    grid: Volume
    errors: tuple[Misalignment, ...]
    seed: int


def draw_scene(seed: int, rules: Assumptions, *, error_mm: float, lesions: int) -> Scene:
    """Draw a patient with that many lesions at first, and studies that are registered that badly."""
    rng = np.random.default_rng(seed)
    story = tell(rng, rules, lesions=lesions, studies=int(rng.integers(rules.studies[0], rules.studies[1] + 1)))
    views = _views(rng, rules, error_mm, len(story))
    seen = [_detected(rng, rules, _render(view, bodies, rules)) for view, bodies in zip(views, story, strict=True)]
    studies = [
        Timepoint(
            study_uid=f"1.2.826.0.{seed}.{place}",
            study_date=FIRST_DAY + timedelta(days=90 * place),
            images={},
            lesions=labels,
        )
        for place, (labels, _) in enumerate(seen)
    ]
    return Scene(
        studies=tuple(studies),
        to_prior=tuple(before.pose @ np.linalg.inv(now.pose) for before, now in pairwise(views)),
        error_mm=error_mm,
        atoms=tuple(atoms for _, atoms in seen),
        lesions=lesions,
    )


def _views(rng: np.random.Generator, rules: Assumptions, error_mm: float, studies: int) -> list[_View]:
    # Two independent errors differ by √2 times their size; scattered ones of one lesion too.
    own_mm = error_mm if rules.drifting else error_mm / np.sqrt(2)
    errors: list[Misalignment] = []
    views = []
    for place in range(studies):
        if place or not rules.drifting:
            errors.append(_error(rng, rules, own_mm))
        pose = _pose(rng) if rules.turned else np.eye(4)
        used = tuple(errors) if rules.drifting else (errors[-1],)
        views.append(_View(pose=pose, grid=_grid(rules), errors=used, seed=int(rng.integers(2**31))))
    return views


def _error(rng: np.random.Generator, rules: Assumptions, rms_mm: float) -> Misalignment:
    return Misalignment(
        kind=ErrorKind(rules.error),
        rms_mm=rms_mm,
        seed=int(rng.integers(2**31)),
        correlation_mm=rules.correlation_mm,
        brain_mm=BRAIN_MM,
    )


def _pose(rng: np.random.Generator) -> FloatArray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(rng.normal(0, np.deg2rad(5), 3)).as_matrix()
    pose[:3, 3] = rng.normal(0, 4, 3)
    return pose


def _grid(rules: Assumptions) -> Volume:
    """Axial slices (i), rows (j), columns (k) about the origin."""
    spacing_mm = np.array(rules.spacing_mm)
    shape = np.ceil(2 * FIELD_MM[::-1] / spacing_mm).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = np.array([(0, 0, 1), (0, 1, 0), (1, 0, 0)]) * spacing_mm
    affine[:3, 3] = -affine[:3, :3] @ ((shape - 1) / 2)
    return Volume(np.zeros(shape, np.uint16), affine, "PATIENT")


def _render(view: _View, bodies: Sequence[Body], rules: Assumptions) -> tuple[Volume, dict[int, frozenset[Atom]]]:
    """Draw the bodies; a lesion is a component, made of the bodies that have most of their voxels in it."""
    drawn = [(body, _voxels(view, body, rules)) for body in bodies]
    mask = view.grid.array.astype(bool)
    for _, voxels in drawn:
        mask[tuple(voxels.T)] = True
    labels = cc3d.connected_components(mask, connectivity=26)
    atoms: dict[int, set[Atom]] = defaultdict(set)
    for body, voxels in drawn:
        if len(voxels):
            atoms[int(np.bincount(labels[tuple(voxels.T)]).argmax())].add(body.atom)
    return view.grid.with_array(labels.astype(np.uint16)), {number: frozenset(parts) for number, parts in atoms.items()}


def _voxels(view: _View, body: Body, rules: Assumptions) -> NDArray[np.int64]:
    """Return the indices of the grid inside a body as this study shows it."""
    points_mm, indices = _around(view, body)
    distance_mm = body.distance_mm(_misplaced(view, body, points_mm))
    distance_mm += _edge_noise(view, body, points_mm) * rules.edge_noise_mm
    return np.asarray(indices[distance_mm < 0])


def _around(view: _View, body: Body) -> tuple[FloatArray, NDArray[np.int64]]:
    """Points of the reference space in which the body can appear, and their indices of the grid."""
    centre_mm = 2 * body.centre_mm - _misplaced(view, body, body.centre_mm[None])[0]
    native_mm = view.pose[:3, :3] @ centre_mm + view.pose[:3, 3]
    reach_mm = 1.1 * body.reach_mm + EDGE_MARGIN_MM
    middle = view.grid.inverse_affine[:3, :3] @ native_mm + view.grid.inverse_affine[:3, 3]
    reach = reach_mm / np.array(view.grid.spacing)
    first = np.maximum(np.floor(middle - reach), 0).astype(int)
    last = np.minimum(np.ceil(middle + reach) + 1, view.grid.spatial_shape).astype(int)
    indices = np.stack(np.meshgrid(*map(np.arange, first, last), indexing="ij"), axis=-1).reshape(-1, 3)
    points_mm = indices @ view.grid.affine[:3, :3].T + view.grid.affine[:3, 3]
    points_mm = (points_mm - view.pose[:3, 3]) @ view.pose[:3, :3]
    near = np.linalg.norm(points_mm - centre_mm, axis=1) <= reach_mm
    return points_mm[near], indices[near]


def _misplaced(view: _View, body: Body, points_mm: FloatArray) -> FloatArray:
    """Where the reference space really is, at points where registration thinks it is."""
    for error in view.errors:
        points_mm = points_mm + error.at(points_mm, body.number)
    return points_mm


def _edge_noise(view: _View, body: Body, points_mm: FloatArray) -> FloatArray:
    """Smooth noise of unit variance that is this reader's outline of this body."""
    rng = np.random.default_rng((view.seed, body.number))
    waves = rng.normal(0, 1 / EDGE_WAVE_MM, (6, 3))
    phases = rng.uniform(0, 2 * np.pi, 6)
    return np.asarray(np.cos(points_mm @ waves.T + phases).sum(axis=1) / np.sqrt(3))


def _detected(
    rng: np.random.Generator, rules: Assumptions, seen: tuple[Volume, dict[int, frozenset[Atom]]]
) -> tuple[Volume, dict[int, frozenset[Atom]]]:
    """Miss some lesions, add false ones, and number all at random."""
    volume, atoms = seen
    found = {number: parts for number, parts in atoms.items() if rng.random() >= rules.missed}
    labels = np.where(np.isin(volume.array, list(found)), volume.array, 0)
    top = max(int(volume.array.max()), 1)
    for extra in range(rng.poisson(rules.spurious)):
        number = top + 1 + extra
        if _add_spurious(rng, labels, volume, number):
            found[number] = frozenset()
    order = rng.permutation(len(found)) + 1
    table = np.zeros(max(found, default=0) + 1, np.uint16)
    table[list(found)] = order
    numbers = dict(zip(found, order.tolist(), strict=True))
    return volume.with_array(table[labels]), {numbers[number]: parts for number, parts in found.items()}


def _add_spurious(rng: np.random.Generator, labels: NDArray[np.uint16], volume: Volume, number: int) -> bool:
    """Draw a small ellipsoid somewhere in the brain; False if the place is taken."""
    centre_mm = rng.normal(size=3)
    centre_mm *= rng.random() ** (1 / 3) / np.linalg.norm(centre_mm) * BRAIN_MM
    radii_mm = np.cbrt(3 * rng.uniform(*SPURIOUS_MM3) / 4 / np.pi) * rng.uniform(0.8, 1.25, 3)
    middle = np.rint(volume.inverse_affine[:3, :3] @ centre_mm + volume.inverse_affine[:3, 3]).astype(int)
    reach = np.ceil(8 / np.array(volume.spacing)).astype(int)
    first, last = np.maximum(middle - reach, 0), np.minimum(middle + reach + 1, labels.shape)
    box = tuple(slice(int(low), int(high)) for low, high in zip(first, last, strict=True))
    indices = np.stack(np.meshgrid(*map(np.arange, first, last), indexing="ij"), axis=-1)
    points_mm = indices @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    inside = np.linalg.norm((points_mm - centre_mm) / radii_mm, axis=-1) < 1
    region = labels[box]
    if region.any() or not inside.any():
        return False
    region[inside] = number
    return True
