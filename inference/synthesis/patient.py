"""A synthetic patient: several studies of one head, with lesions whose every mm³ is known."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import torch
from highdicom import Volume
from numpy.typing import NDArray
from torch import Generator, Tensor

from inference.synthesis import chance
from inference.synthesis.axes import nearness, smooth_noise
from inference.synthesis.courses import LesionCourse, PlacedCourse, default_courses, place_courses
from inference.synthesis.deformation import sample, voxel_positions
from inference.synthesis.lesions import Grid, Lesion, Shape, Union
from inference.synthesis.scanner import Head, Prescription, Scene, make_head, native_grid, rigid, scan
from inference.synthesis.tissues import load_label_map
from inference.synthesis.truth import Region, measure
from tracking.timepoint import MRSequence

FIRST_STUDY = date(2024, 3, 11)
INTERVAL = timedelta(days=91)
LARGEST_TURN_DEG = 6.0
LARGEST_SHIFT_MM = 8.0
MOST_12_BIT = 4095
PLACING_MM = 2.0
T1C_FIELD_MM = {"axial": (186.0, 240.0, 192.0), "sagittal": (180.0, 216.0, 240.0)}
THICK_PIXEL_AND_NOISE = {MRSequence.T1: (0.9, 0.025), MRSequence.T2: (0.8, 0.05), MRSequence.FLAIR: (0.9, 0.04)}


@dataclass(frozen=True, kw_only=True)
class TrueLesion:
    """One connected lesion of one synthetic study.

    Attributes
    ----------
    names
        Names of the lesions it consists of, for example ``("A",)``; two names after two lesions merged.
    number
        Its value in ``SyntheticStudy.labels``.
    volume_mm3, longest_diameter_mm, centroid_mm
        True measures (enhancing and necrosis; in-plane diameter; LPS mm) in the study's own patient space, counted on
        sub-voxels of the continuous surface (see `inference.synthesis.truth`).
    """

    names: tuple[str, ...]
    number: int
    volume_mm3: float
    longest_diameter_mm: float
    centroid_mm: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class SyntheticStudy:
    """One synthetic examination.

    Attributes
    ----------
    study_date
        Date of the examination.
    images
        Scanner-like images, one native grid each (i = slice), non-negative integers that fit DICOM's 12 bits.
    labels
        uint16 truth on the grid of the T1c: 0 background, n the lesion with ``number`` n.
    lesions
        The truth, lesion by lesion.
    """

    study_date: date
    images: Mapping[MRSequence, Volume]
    labels: Volume
    lesions: tuple[TrueLesion, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class SyntheticPatient:
    """One generated patient.

    Attributes
    ----------
    seed
        The same seed gives the same patient, bit for bit, on the same library versions.
    studies
        In order of date; each has its own frame of reference, as after a new positioning of the head.
    """

    seed: int
    studies: tuple[SyntheticStudy, ...]


@dataclass(frozen=True, kw_only=True)
class Examination:
    """How the patient is examined at every study.

    Attributes
    ----------
    resolution_mm
        Voxel edge of the T1c; other pixel and slice sizes scale with it. 2 or more makes a small, fast patient.
    plane
        ``"axial"`` or ``"sagittal"``: how the T1c is acquired.
    sequences
        The images; T1c must be among them.

    Raises
    ------
    ValueError
        If the plane is unknown or T1c is missing.
    """

    resolution_mm: float = 1.0
    plane: str = "axial"
    sequences: tuple[MRSequence, ...] = tuple(MRSequence)

    def __post_init__(self) -> None:
        if self.plane not in T1C_FIELD_MM:
            raise ValueError(f"The plane must be one of {', '.join(T1C_FIELD_MM)}, not {self.plane!r}.")
        if MRSequence.T1C not in self.sequences:
            raise ValueError(f"The sequences must include T1c, which carries the truth; got {self.sequences}.")

    def prescription(self, sequence: MRSequence) -> Prescription:
        """Return how one image is taken."""
        if sequence is MRSequence.T1C:
            return Prescription(
                plane=self.plane,
                in_plane_mm=self.resolution_mm,
                slice_mm=self.resolution_mm,
                gap_mm=0.0,
                field_mm=T1C_FIELD_MM[self.plane],
                noise=0.03,
            )
        pixel_mm, noise = THICK_PIXEL_AND_NOISE[sequence]
        return Prescription(
            plane="axial",
            in_plane_mm=pixel_mm * self.resolution_mm,
            slice_mm=4.0 * self.resolution_mm,
            gap_mm=0.4 * self.resolution_mm,
            field_mm=(158.0, 230.0, 192.0),
            noise=noise,
        )


FULL_EXAMINATION = Examination()


@dataclass(frozen=True, kw_only=True)
class _Visit:
    """Which study of which patient."""

    seed: int
    number: int
    day: date

    @property
    def frame_of_reference_uid(self) -> str:
        """A UUID-derived UID (PS3.5, B.2) that the seed fixes."""
        digest = hashlib.sha256(f"frame of reference {self.seed}/{self.number}".encode()).digest()
        return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def generate_patient(
    seed: int,
    *,
    dates: Sequence[date] | None = None,
    courses: Sequence[LesionCourse] | None = None,
    examination: Examination = FULL_EXAMINATION,
) -> SyntheticPatient:
    """Generate a patient: one head, several studies, lesions of known volume.

    Parameters
    ----------
    seed
        Fixes everything: the head, the lesions, their positions, noise.
    dates
        One per study; two studies 91 days apart when None.
    courses
        What the lesions do; `default_courses` when None (they grow, shrink, appear, vanish and merge).
    examination
        What images a study consists of; in full T1c (three-dimensional, 1 mm), T1, T2 and FLAIR (axial, 4 mm).

    Raises
    ------
    ValueError
        If the courses do not fit the number of studies, or a lesion finds no place in the brain.
    """
    days = tuple(dates) if dates is not None else (FIRST_STUDY, FIRST_STUDY + INTERVAL)
    if list(days) != sorted(set(days)) or not days:
        raise ValueError(f"Study dates must be ascending and distinct, not {[day.isoformat() for day in days]}.")
    if courses is None:
        courses = default_courses(len(days), generator=chance.generator_for(seed, "courses"))
    for course in courses:
        if len(course.volumes_mm3) != len(days):
            raise ValueError(
                f"Lesion {course.name} has {len(course.volumes_mm3)} volumes for {len(days)} studies; give one each."
            )
    head = make_head(load_label_map(), examination.sequences, generator=chance.generator_for(seed, "head"))
    placed = _place(head, courses, chance.generator_for(seed, "places"))
    studies = []
    for number, day in enumerate(days):
        generator = chance.generator_for(seed, f"study {number}")
        groups = _groups(placed, number)
        scene = Scene(
            head=_settled(head, number, generator),
            lesions=[_lesion(group, placed, number) for group in groups],
            pose=_pose(generator),
        )
        studies.append(_examine(_Visit(seed=seed, number=number, day=day), scene, groups, examination))
    return SyntheticPatient(seed=seed, studies=tuple(studies))


def _place(head: Head, courses: Sequence[LesionCourse], generator: Generator) -> tuple[PlacedCourse, ...]:
    """Give every lesion a place in the head; none lies within about 3 mm of the brain's surface."""
    sizes = [round(2 * half / PLACING_MM) for half in (85, 105, 95)]
    affine = torch.diag(torch.tensor([PLACING_MM, PLACING_MM, PLACING_MM, 1.0]))
    affine[:3, 3] = -PLACING_MM * (torch.tensor(sizes) - 1) / 2
    grid = Grid(shape=(sizes[0], sizes[1], sizes[2]), affine=affine)
    where = head.atlas_positions(voxel_positions(grid.shape) @ affine[:3, :3].T + affine[:3, 3])
    masks = {
        "brain": nearness(head.anatomy.brain, 3.0) > 0.8,
        "tissue": head.anatomy.tissue,
        "junction": head.anatomy.junction,
        "infratentorial": head.anatomy.infratentorial,
    }
    regions = {name: sample(mask.float(), where) > 0.5 for name, mask in masks.items()}
    return place_courses(courses, regions, grid, generator=generator)


def _examine(
    visit: _Visit, scene: Scene, groups: Sequence[Mapping[str, Shape]], examination: Examination
) -> SyntheticStudy:
    """Take all images of one study, and the truth on the grid of the T1c."""
    images, grids = {}, {}
    for sequence in examination.sequences:
        generator = chance.generator_for(visit.seed, f"study {visit.number} {sequence}")
        prescription = examination.prescription(sequence)
        grids[sequence] = _grid(scene, prescription, generator)
        image = scan(scene, sequence, prescription, grids[sequence], generator=generator)
        images[sequence] = _volume(_to_counts(image, generator), grids[sequence], visit.frame_of_reference_uid)
    labels, lesions = _truth(scene, groups, grids[MRSequence.T1C])
    return SyntheticStudy(
        study_date=visit.day,
        images=images,
        labels=_volume(labels, grids[MRSequence.T1C], visit.frame_of_reference_uid),
        lesions=lesions,
    )


def _groups(placed: Sequence[PlacedCourse], study: int) -> list[dict[str, Shape]]:
    """Return the shapes of a study by name, lesions that merge sooner or later together."""
    groups: dict[str, dict[str, Shape]] = {}
    for one in placed:
        shape = one.shape_at(study)
        if shape is not None:
            groups.setdefault(one.course.joins or one.course.name, {})[one.course.name] = shape
    return list(groups.values())


def _lesion(group: Mapping[str, Shape], placed: Sequence[PlacedCourse], study: int) -> Lesion:
    """Return a group as it looks in a study: edema grows with it."""
    first = next(one for one in placed if one.course.name in group)
    grown = (first.course.volumes_mm3[study] / first.largest.volume_mm3) ** (1 / 3)
    shapes = tuple(group.values())
    body = shapes[0] if len(shapes) == 1 else Union(shapes=shapes)
    return replace(first.look, body=body, edema_mm=first.look.edema_mm * grown)


def _settled(head: Head, study: int, generator: Generator) -> Head:
    """Return the head as it is at a study: from the second on, tissue has shifted by a fraction of a millimetre."""
    if study == 0:
        return head
    knots = tuple(head.displacement.shape[1:])
    shift = torch.stack([0.27 * smooth_noise(knots, cell=6, generator=generator) for _ in range(3)])
    return replace(head, displacement=head.displacement + shift)


def _pose(generator: Generator) -> Tensor:
    """Draw how the head lies in the scanner."""
    degrees = [chance.uniform(generator, -LARGEST_TURN_DEG, LARGEST_TURN_DEG) for _ in range(3)]
    shift_mm = [chance.uniform(generator, -LARGEST_SHIFT_MM, LARGEST_SHIFT_MM) for _ in range(3)]
    return rigid(degrees=degrees, shift_mm=shift_mm)


def _grid(scene: Scene, prescription: Prescription, generator: Generator) -> Grid:
    """Lay the slices as a technician does: roughly along the head, box around the brain."""
    tilt = [chance.uniform(generator, -2, 2) for _ in range(3)]
    if prescription.plane == "axial":
        tilt[0] += chance.uniform(generator, -8, -2)
    spread = [chance.uniform(generator, -2, 2) for _ in range(3)]
    middle = scene.pose[:3, :3] @ (scene.head.middle_mm + torch.tensor(spread)) + scene.pose[:3, 3]
    return native_grid(prescription, centre_mm=middle, tilt=rigid(degrees=tilt, shift_mm=(0, 0, 0))[:3, :3])


def _to_counts(image: Tensor, generator: Generator) -> NDArray[np.uint16]:
    """Scale an image as scanners do: arbitrary units that fit 12 bits."""
    white = chance.uniform(generator, 380, 800)
    return (image * white).round().clamp(0, MOST_12_BIT).numpy().astype(np.uint16)


def _truth(
    scene: Scene, groups: Sequence[Mapping[str, Shape]], grid: Grid
) -> tuple[NDArray[np.uint16], tuple[TrueLesion, ...]]:
    """Return the label array of a study and the measures of its lesions, in order of their names."""
    regions = sorted((r for group in groups for r in measure(group, scene.in_head(grid))), key=lambda r: r.names)
    labels = np.zeros(grid.shape, np.uint16)
    for number, region in enumerate(regions, start=1):
        labels[region.slices][region.mask] = number
    return labels, tuple(_true_lesion(number, region, scene.pose) for number, region in enumerate(regions, start=1))


def _true_lesion(number: int, region: Region, pose: Tensor) -> TrueLesion:
    x, y, z = (pose[:3, :3] @ torch.tensor(region.centroid_mm) + pose[:3, 3]).tolist()
    return TrueLesion(
        names=region.names,
        number=number,
        volume_mm3=region.volume_mm3,
        longest_diameter_mm=region.longest_diameter_mm,
        centroid_mm=(x, y, z),
    )


def _volume(array: NDArray[np.uint16], grid: Grid, frame_of_reference_uid: str) -> Volume:
    return Volume(array, grid.affine.double().numpy(), "PATIENT", frame_of_reference_uid=frame_of_reference_uid)
