"""Real heads scanned again: lesions with a known story in tissue whose motion is known at every point.

A point of a study is turned and shifted into the head, bent gently, and pushed as a mass has grown or sunk in; no
volume changes by the push. All lesions live in the head, so every study shows them where their tissue is.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import cc3d
import nibabel as nib
import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from benchmarks.scenes.assumptions import WORLDS
from benchmarks.scenes.scene import SPURIOUS_MM3, Scene
from benchmarks.scenes.shapes import ball
from benchmarks.scenes.story import Atom, Body, gap_mm, tell
from inference.preprocessing import ORIENTATION
from tracking.timepoint import MRSequence, Timepoint

FloatArray = NDArray[np.float64]
Parts = dict[int, frozenset[Atom]]

SLICE_MM = 4.0
ENHANCEMENT, CAVITY = 1.9, 0.35  # brightness of a metastasis and of a cavity, in that of white matter
MASS_RADII_MM = (4.0, 11.0, 7.0)  # at each study; at the last one it is a cavity
BEND_MM = 1.5
RULES = replace(WORLDS["real forms"], splitting=0.8, resolving=0.15, returning=0.5)  # more of what is rare
LESIONS = 16  # at first; those that would lie outside this head's brain or in the mass are left out
DEEP_MM = 3.0  # every centre lies so far below the brain's surface
CLEAR_OF_MASS_MM = 6.0


def read_head(stem: Path) -> tuple[Volume, Volume]:
    """Read a head: its T1c, and the mask of its brain, both with the first index along the slices."""
    image, brain = (Volume.from_nibabel(nib.load(f"{stem}_{kind}.nii.gz")) for kind in ("t1c", "brain"))
    image, brain = (volume.to_patient_orientation(ORIENTATION) for volume in (image, brain))
    return image, brain.with_array(brain.array > 0)


def mapped(matrix: FloatArray, points_mm: FloatArray) -> FloatArray:
    """Apply a homogeneous 4 × 4 matrix to points (…, 3)."""
    return np.asarray(points_mm @ matrix[:3, :3].T + matrix[:3, 3])


def centres_mm(volume: Volume) -> FloatArray:
    """Return where every voxel is, shape (i, j, k, 3), LPS mm."""
    return mapped(volume.affine, np.moveaxis(np.indices(volume.spatial_shape, float), 0, -1))


def deep_site(brain: Volume, rng: np.random.Generator) -> FloatArray:
    """Choose a place (LPS mm) at least 18 mm below the brain's surface."""
    depth_mm = distance_transform_edt(brain.array, sampling=brain.spacing)
    places = np.argwhere(depth_mm > min(18.0, 0.8 * depth_mm.max()))
    return mapped(brain.affine, places[rng.integers(len(places))])


def second_scan(middle: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, Volume]:
    """Return the rigid matrix from the second scan to the head, and the scan's grid: oblique, slices of 4 mm."""
    turn = Rotation.from_euler("xyz", rng.uniform(-8, 8, 3), degrees=True).as_matrix()
    shift = rng.uniform(-12, 12, 3)
    axial = np.array([(0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)])  # columns: steps along slices, rows, columns
    tilt = Rotation.from_euler("xyz", rng.uniform(-8, 8, 3), degrees=True).as_matrix()
    shape = np.array([44, 200, 170])
    affine, pose = np.eye(4), np.eye(4)
    affine[:3, :3] = tilt @ axial * (SLICE_MM, 1.0, 1.0)
    affine[:3, 3] = middle + shift - affine[:3, :3] @ ((shape - 1) / 2)
    pose[:3, :3] = turn.T
    pose[:3, 3] = middle - turn.T @ (middle + shift)
    return pose, Volume(np.zeros(shape, np.uint8), affine, "PATIENT")


def sampled(volume: Volume, points_mm: FloatArray) -> FloatArray:
    """Interpolate a volume linearly at points (…, 3); 0 outside it."""
    indices = np.moveaxis(mapped(volume.inverse_affine, points_mm), -1, 0)
    return np.asarray(map_coordinates(volume.array.astype(np.float32), indices, order=1))


def scanned(image: FloatArray, white: float, rng: np.random.Generator) -> FloatArray:
    """Add another bias field (±15 %) and noise (3 % of white matter)."""
    rough = gaussian_filter(rng.normal(size=(11, 50, 42)), (2.5, 10, 10))
    field = map_coordinates(rough / np.abs(rough).max(), np.indices(image.shape) / 4.0, order=1, mode="nearest")
    return np.asarray(image * (1 + 0.15 * field) + rng.normal(0, 0.03 * white, image.shape))


def study_of(
    grid: Volume, image: FloatArray, masks: tuple[NDArray[np.bool_], NDArray[np.generic]], *, uid: str
) -> Timepoint:
    """Make a study of a T1c, its brain, and its lesions (a mask or their numbers), all on one grid."""
    brain, lesions = masks
    return Timepoint(
        study_uid=uid,
        study_date=date(2024, 1, 1),
        images={MRSequence.T1C: grid.with_array(image.astype(np.float32))},
        brain=grid.with_array(brain),
        lesions=grid.with_array(lesions.astype(np.uint16)),
    )


@dataclass(frozen=True, kw_only=True)
class Detector:
    """Chance of a lesion to be missed, and false detections per study."""

    missed: float = 0.0
    spurious: float = 0.0


PERFECT = Detector()


@dataclass(frozen=True, kw_only=True, eq=False)
class Motion:
    """Where the tissue of one study is in the head, and back.

    Attributes
    ----------
    grid
        What the study is imaged on.
    pose
        From the study to the head, rigid, 4 × 4, LPS mm.
    site_mm, radius_mm
        Middle of the mass in the head, and its radius at this study.
    bend_mm, waves, phases
        Amplitude of the bend of the whole brain, and its form.
    """

    grid: Volume
    pose: FloatArray
    site_mm: FloatArray
    radius_mm: float
    bend_mm: float
    waves: FloatArray
    phases: FloatArray

    def to_head(self, points_mm: FloatArray) -> FloatArray:
        """Map points (…, 3) of the study to the head."""
        posed = mapped(self.pose, points_mm)
        return self._pushed(posed + self._bend(posed), self.radius_mm, MASS_RADII_MM[0])

    def from_head(self, points_mm: FloatArray) -> FloatArray:
        """Map points (…, 3) of the head to the study."""
        unpushed = self._pushed(points_mm, MASS_RADII_MM[0], self.radius_mm)
        posed = unpushed
        for _ in range(30):  # the bend is gentle, so that each round takes most of what is left
            posed = unpushed - self._bend(posed)
        return mapped(np.asarray(np.linalg.inv(self.pose)), posed)

    def _bend(self, points_mm: FloatArray) -> FloatArray:
        return np.asarray(np.sin(points_mm @ self.waves.T / 40.0 + self.phases) * self.bend_mm / np.sqrt(3))

    def _pushed(self, points_mm: FloatArray, before_mm: float, after_mm: float) -> FloatArray:
        """Move tissue as a mass changes its radius: what any sphere around it holds changes by as much as the mass."""
        away = points_mm - self.site_mm
        distance = np.maximum(np.linalg.norm(away, axis=-1, keepdims=True), 1e-6)
        outside = np.cbrt(np.maximum(distance**3 + after_mm**3 - before_mm**3, 0.0))
        moved = np.where(distance < before_mm, distance * after_mm / before_mm, outside)
        return np.asarray(self.site_mm + away * moved / distance)


@dataclass(frozen=True, kw_only=True, eq=False)
class Patient:
    """Three studies with the truth of every lesion, and of every point."""

    scene: Scene
    motions: tuple[Motion, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Head:
    image: Volume
    brain: Volume
    middle_mm: FloatArray
    mass: Body

    @property
    def white(self) -> float:
        return float(np.median(self.image.array[self.brain.array]))


def make_patient(stem: Path, *, seed: int, detector: Detector = PERFECT) -> Patient:
    """Make three studies of a head (NIfTI files ``<stem>_t1c`` and ``<stem>_brain``)."""
    rng = np.random.default_rng(seed)
    image, brain = read_head(stem)
    middle_mm = centres_mm(brain)[brain.array].mean(axis=0)
    head = _Head(image=image, brain=brain, middle_mm=middle_mm, mass=_mass(deep_site(brain, rng)))
    story = _placed(head, tell(rng, RULES, lesions=LESIONS, studies=len(MASS_RADII_MM)))
    motions = tuple(_motion(head, place, rng) for place in range(len(story)))
    seen = [_seen(head, motion, bodies, rng, detector) for motion, bodies in zip(motions, story, strict=True)]
    scene = Scene(
        studies=tuple(study for study, _ in seen),
        to_prior=(),  # registration is to find it
        error_mm=float("nan"),
        atoms=tuple(atoms for _, atoms in seen),
        lesions=len(story[0]) + 1,
    )
    return Patient(scene=scene, motions=motions)


def _mass(site_mm: FloatArray) -> Body:
    volume_mm3 = 4 / 3 * np.pi * MASS_RADII_MM[0] ** 3
    return Body(atom=(0,), number=0, shape=ball(), turn=np.eye(3), centre_mm=site_mm, volume_mm3=volume_mm3)


def _placed(head: _Head, story: Sequence[Sequence[Body]]) -> list[tuple[Body, ...]]:
    """Put bodies, told of about the origin, into the brain; those that are not inside it at all times are left out."""
    depth_mm = head.brain.with_array(distance_transform_edt(head.brain.array, sampling=head.brain.spacing))
    moved = [tuple(replace(body, centre_mm=body.centre_mm + head.middle_mm) for body in bodies) for bodies in story]
    outside = {
        body.atom[0]
        for bodies in moved
        for body in bodies
        if sampled(depth_mm, body.centre_mm[None])[0] < DEEP_MM or gap_mm(head.mass, body) < CLEAR_OF_MASS_MM
    }
    return [tuple(body for body in bodies if body.atom[0] not in outside) for bodies in moved]


def _motion(head: _Head, place: int, rng: np.random.Generator) -> Motion:
    """Draw how a study lies and is bent, and its grid; the first one is the head as it is."""
    pose, grid = second_scan(head.middle_mm, rng)
    return Motion(
        grid=grid if place else head.image,
        pose=pose if place else np.eye(4),
        site_mm=head.mass.centre_mm,
        radius_mm=MASS_RADII_MM[place],
        bend_mm=BEND_MM if place else 0.0,
        waves=rng.normal(size=(3, 3)),
        phases=rng.uniform(0, 2 * np.pi, 3),
    )


def _seen(
    head: _Head, motion: Motion, bodies: Sequence[Body], rng: np.random.Generator, detector: Detector
) -> tuple[Timepoint, Parts]:
    """Show the bodies in one study of the head, and label them."""
    place = MASS_RADII_MM.index(motion.radius_mm)
    resected = place == len(MASS_RADII_MM) - 1
    there = motion.to_head(centres_mm(motion.grid))
    depths = {body.atom: _distances_mm(body, there) for body in (*bodies, head.mass)}
    image, brain = (sampled(volume, there) if place else volume.array for volume in (head.image, head.brain))
    for atom, depth in depths.items():
        brightness = head.white * (CAVITY if resected and atom == head.mass.atom else ENHANCEMENT)
        image = image + (brightness - image) * np.clip(0.5 - depth, 0, 1)
    masks = [({atom}, depth < 0) for atom, depth in depths.items() if not (resected and atom == head.mass.atom)]
    masks += [(set(), _distances_mm(body, there) < 0) for body in _false_ones(head, rng, detector)]
    labels, atoms = _labelled(masks, rng, detector)
    image = scanned(image, head.white, rng) if place else image
    study = study_of(motion.grid, image, (brain > 0.5, labels), uid=f"1.2.3.{place}")
    return replace(study, study_date=study.study_date + timedelta(days=90 * place)), atoms


def _distances_mm(body: Body, points_mm: FloatArray) -> NDArray[np.float32]:
    """Signed distance of a body at points (…, 3) near it; infinite elsewhere."""
    distances_mm = np.full(points_mm.shape[:-1], np.inf, np.float32)
    near = np.linalg.norm(points_mm - body.centre_mm, axis=-1) <= body.reach_mm + 1
    distances_mm[near] = body.distance_mm(points_mm[near])
    return distances_mm


def _false_ones(head: _Head, rng: np.random.Generator, detector: Detector) -> tuple[Body, ...]:
    """Draw small bodies that only the labels show."""
    told = tell(rng, RULES, lesions=int(rng.poisson(detector.spurious)), studies=1)[0]
    return _placed(head, [[replace(body, volume_mm3=rng.uniform(*SPURIOUS_MM3)) for body in told]])[0]


def _labelled(
    masks: Sequence[tuple[set[Atom], NDArray[np.bool_]]], rng: np.random.Generator, detector: Detector
) -> tuple[NDArray[np.uint16], Parts]:
    """Give the components random numbers; each is made of what has most of its voxels in it."""
    components = cc3d.connected_components(np.any([mask for _, mask in masks], axis=0), connectivity=26)
    made_of: dict[int, set[Atom]] = defaultdict(set)
    for atoms, mask in masks:
        if mask.any():
            made_of[int(np.bincount(components[mask]).argmax())] |= atoms
    found = [number for number in made_of if rng.random() >= detector.missed]
    table = np.zeros(components.max() + 1, np.uint16)
    table[found] = rng.permutation(len(found)) + 1
    return table[components], {int(table[number]): frozenset(made_of[number]) for number in found}
