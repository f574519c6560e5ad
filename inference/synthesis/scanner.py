"""One patient's head, and a scanner that looks at it on any grid: every image samples the same continuous anatomy.

Head space is LPS in mm about the middle of the brain; scanner space is LPS in mm about the isocentre.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from inference.synthesis import chance
from inference.synthesis.acquisition import bias_field, rician
from inference.synthesis.axes import apply, blur, gaussian, low_pass, nearness, slice_profile, smooth_noise
from inference.synthesis.contrast import TIMINGS, brightness, individual_tissues
from inference.synthesis.deformation import random_affine, rotation, sample, voxel_positions
from inference.synthesis.heads import marble_muscle, texture
from inference.synthesis.lesions import Body, Grid, Lesion, cut_patch
from inference.synthesis.painting import edema_halo, paint_body, push_reach_mm, pushed_from
from inference.synthesis.tissues import Anatomy, HeadTissue, anatomy_of, crop_to_head, is_any, tissue_map
from inference.synthesis.vessels import furrow_vessels
from tracking.timepoint import MRSequence

FIELD_MM = 5.0
FINE_SLICE_MM = 1.1
BIAS_CELL_MM = 75.0
SLAB = 32
SMALLEST_PUSH_MM = 4.5
PUSH = 0.3
TO_LPS = torch.tensor([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])  # atlas (i, j, k) counts (S, P, L)
SWELLING = (HeadTissue.WHITE, HeadTissue.CEREBELLAR_WHITE, HeadTissue.BRAINSTEM, HeadTissue.WHITE_SPOT)
GRADUAL = (HeadTissue.DEEP_GREY, HeadTissue.PALLIDUM, HeadTissue.BRAINSTEM, HeadTissue.CEREBELLAR_WHITE)
SHARP = (HeadTissue.FLUID, HeadTissue.VEIN, HeadTissue.ARTERY, HeadTissue.PLEXUS, HeadTissue.BONE, HeadTissue.DURA)
LESION_LOOK: Mapping[
    MRSequence, tuple[float, float, float | None]
] = {  # wall, core and edema as multiples of white matter; None: drawn per lesion
    MRSequence.T1: (0.80, 0.62, None),
    MRSequence.T2: (1.45, 2.6, 1.9),
    MRSequence.FLAIR: (1.40, 0.9, 1.75),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """A person's head, without lesions.

    Attributes
    ----------
    appearance
        The atlas as each sequence shows it, white matter 1, float32 (i, j, k) on 1 mm voxels.
    swelling
        Where edema spreads, 0 to 1: white matter, a little of the grey.
    anatomy
        Masks of the atlas.
    to_atlas
        float32 (4, 4): head mm to atlas voxels, before the displacement.
    displacement
        float32 (3, a, b, c), atlas voxels, knots every ``FIELD_MM`` mm of head space.
    field_origin_mm
        Position of the first knot.
    middle_mm
        Where technicians put the middle of the box: between forehead and occiput, at the height of the brain.
    """

    appearance: Mapping[MRSequence, Tensor]
    swelling: Tensor
    anatomy: Anatomy
    to_atlas: Tensor
    displacement: Tensor
    field_origin_mm: Tensor
    middle_mm: Tensor

    def atlas_positions(self, points_mm: Tensor) -> Tensor:
        """Return the atlas voxel of points in head space, (..., 3)."""
        moved = sample(self.displacement, (points_mm - self.field_origin_mm) / FIELD_MM, edge=True)
        return points_mm @ self.to_atlas[:3, :3].T + self.to_atlas[:3, 3] + moved.movedim(0, -1)


def make_head(labels: Tensor, sequences: Sequence[MRSequence], *, generator: Generator) -> Head:
    """Return an individual head made from a label map.

    Parameters
    ----------
    labels
        SynthSeg labels, (i, j, k) as `load_label_map` returns them.
    sequences
        What the head will be looked at with.
    """
    labels = crop_to_head(labels, below_brain_mm=80)
    tissues = tissue_map(labels)
    anatomy = anatomy_of(labels, tissues, white=1.0)
    vessels = _brain_vessels(labels, tissues, anatomy, generator)
    marble_muscle(tissues, generator=generator)
    shape = tuple(labels.shape)
    centre = anatomy.tissue.nonzero().float().mean(0)
    linear = random_affine(generator, degrees=3, scale=0.06, shear=0.03) @ TO_LPS
    to_atlas = torch.eye(4)
    to_atlas[:3, :3], to_atlas[:3, 3] = linear, centre
    knots = tuple(math.ceil(1.3 * size / FIELD_MM) + 1 for size in (shape[2], shape[1], shape[0]))
    displacement = torch.stack([1.35 * smooth_noise(knots, cell=38 / FIELD_MM, generator=generator) for _ in range(3)])
    return Head(
        appearance=_appearances(tissues, vessels, sequences, generator),
        swelling=blur(is_any(tissues, SWELLING).float() * 0.85 + anatomy.tissue.float() * 0.15, 0.7),
        anatomy=anatomy,
        to_atlas=to_atlas,
        displacement=displacement,
        field_origin_mm=-FIELD_MM * (torch.tensor(knots) - 1) / 2,
        middle_mm=torch.linalg.inv(linear) @ (_middle(tissues, anatomy) - centre),
    )


def _appearances(
    tissues: Tensor, vessels: Mapping[HeadTissue, Tensor], sequences: Sequence[MRSequence], generator: Generator
) -> dict[MRSequence, Tensor]:
    """Return the atlas as each sequence shows it; borders in deep grey matter and brainstem are gradual."""
    relaxation = individual_tissues(generator)
    inside = texture(tissues, marbling=0.07, generator=generator) * _folia(tissues, generator)
    haze = nearness(is_any(tissues, GRADUAL), 1.2) * (1 - nearness(is_any(tissues, SHARP), 1.2))
    found = {}
    for sequence in sequences:
        bright = brightness(TIMINGS[sequence], relaxation)
        image = bright[tissues.long()] * inside
        for blood, cover in vessels.items():
            image += cover * (bright[blood] - image)
        image = blur(image, 0.4)
        found[sequence] = image + haze * (blur(image, 1.3) - image)
    return found


def _middle(tissues: Tensor, anatomy: Anatomy) -> Tensor:
    """Return the atlas voxel midway between the ends of the head in the slices of the brain."""
    slices = anatomy.brain.any(2).any(1).nonzero().flatten()
    low, high = int(slices[0]), int(slices[-1])
    upper = tissues[(low + high) // 2 : high] > 0
    rows, columns = upper.any(2).any(0).nonzero().float(), upper.any(1).any(0).nonzero().float()
    return torch.stack(
        [torch.tensor((low + high) / 2), (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2]
    )


def _folia(tissues: Tensor, generator: Generator) -> Tensor:
    """Return the fine, roughly horizontal stripes of the cerebellar cortex, around 1."""
    shape = tuple(tissues.shape)
    rows = torch.arange(shape[0], dtype=torch.float32)[:, None, None]
    waves = rows + 2.7 * smooth_noise(shape, cell=14, generator=generator)
    stripes = 1 - 0.14 * torch.cos(waves * (2 * math.pi / 3.6)).clamp_min(0)
    return torch.where(tissues == HeadTissue.CEREBELLAR_CORTEX, stripes, torch.ones_like(stripes))


def _brain_vessels(labels: Tensor, tissues: Tensor, anatomy: Anatomy, generator: Generator) -> dict[HeadTissue, Tensor]:
    """Return the cover of arteries and veins that run through the fluid around the brain."""
    fluid = anatomy.brain & is_any(tissues, (HeadTissue.FLUID, HeadTissue.DURA, HeadTissue.VEIN)) & ~anatomy.ventricles
    carotids = (labels == 502).nonzero().float()
    tops = carotids[carotids[:, 0] > carotids[:, 0].max() - 4]
    starts = tops[torch.randint(0, len(tops), (24,), generator=generator)]
    arteries = furrow_vessels(fluid, starts, radii_mm=(1.0, 1.7), length_mm=110, generator=generator)
    from_sinus = chance.voxels(generator, tissues == HeadTissue.VEIN, 110)
    from_furrow = chance.voxels(generator, fluid, 220)
    veins = furrow_vessels(fluid, from_sinus, radii_mm=(0.8, 1.5), length_mm=60, generator=generator)
    small = furrow_vessels(fluid, from_furrow, radii_mm=(0.5, 1.1), length_mm=45, generator=generator)
    return {HeadTissue.VEIN: torch.maximum(veins, small), HeadTissue.ARTERY: arteries}


@dataclass(frozen=True, kw_only=True)
class Prescription:
    """How one image of a study is taken.

    Attributes
    ----------
    plane
        ``"axial"`` or ``"sagittal"``.
    in_plane_mm
        Pixel size.
    slice_mm, gap_mm
        Slice thickness and the gap between slices.
    field_mm
        Length of the box along the slice normal and in plane (rows, columns).
    noise
        Standard deviation of noise as a part of white matter.
    """

    plane: str
    in_plane_mm: float
    slice_mm: float
    gap_mm: float
    field_mm: tuple[float, float, float]
    noise: float


DIRECTIONS = {  # columns: LPS direction of i, j and k
    "axial": [[0.0, 0, 1], [0, 1, 0], [1, 0, 0]],
    "sagittal": [[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]],
}


def native_grid(prescription: Prescription, *, centre_mm: Tensor, tilt: Tensor) -> Grid:
    """Return the voxel grid of an image in scanner space.

    Parameters
    ----------
    centre_mm
        Middle of the box, LPS mm.
    tilt
        float32 (3, 3): rotation of the slice packet away from the scanner's axes.
    """
    directions = tilt @ torch.tensor(DIRECTIONS[prescription.plane])
    spacing = torch.tensor(
        [prescription.slice_mm + prescription.gap_mm, prescription.in_plane_mm, prescription.in_plane_mm]
    )
    shape = [max(1, round(length / step)) for length, step in zip(prescription.field_mm, spacing.tolist(), strict=True)]
    affine = torch.eye(4)
    affine[:3, :3] = directions * spacing
    affine[:3, 3] = centre_mm - affine[:3, :3] @ ((torch.tensor(shape) - 1) / 2)
    return Grid(shape=(shape[0], shape[1], shape[2]), affine=affine)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """A head with its lesions, lying in the scanner.

    Attributes
    ----------
    head
        Anatomy.
    lesions
        In head space, none overlapping another.
    pose
        float32 (4, 4): head mm to scanner mm, a rigid motion.
    """

    head: Head
    lesions: Sequence[Lesion]
    pose: Tensor

    def in_head(self, grid: Grid) -> Grid:
        """Return the same voxels with positions in mm of the head."""
        return Grid(shape=grid.shape, affine=torch.linalg.inv(self.pose) @ grid.affine)


def rigid(*, degrees: Sequence[float], shift_mm: Sequence[float]) -> Tensor:
    """Return a rigid motion in LPS mm, float32 (4, 4): rotations about x, y and z, then a shift."""
    x, y, z = (math.radians(angle) for angle in degrees)
    pose = torch.eye(4)
    pose[:3, :3] = rotation((x, y, z))
    pose[:3, 3] = torch.tensor(list(shift_mm))
    return pose


def scan(scene: Scene, sequence: MRSequence, prescription: Prescription, grid: Grid, *, generator: Generator) -> Tensor:
    """Return what the scanner sees, float32 (i, j, k) on ``grid``; white matter is about 1.

    Parameters
    ----------
    prescription
        Slice thickness and noise.
    grid
        Voxels in scanner space, from `native_grid`.
    """
    parts = max(1, round(abs(prescription.slice_mm + prescription.gap_mm) / FINE_SLICE_MM))
    fine = _fine_slices(scene.in_head(grid), parts)
    image = _anatomy(scene, sequence, fine)
    for lesion in scene.lesions:
        _paint(image, scene, lesion, sequence, fine, generator)
    if parts > 1:
        share = prescription.slice_mm / (prescription.slice_mm + prescription.gap_mm)
        profile = slice_profile(fine.shape[0], thickness=share * parts, spacing=parts, offset=(parts - 1) / 2)
        image = apply(image, profile, 0)
    for axis in (1, 2):
        response = gaussian(grid.shape[axis], 0.35)
        image = apply(image, response if parts == 1 else low_pass(grid.shape[axis], 0.85) @ response, axis)
    cells = [BIAS_CELL_MM / step for step in grid.spacing_mm]
    image = image.clamp_min(0) * bias_field(grid.shape, strength=0.1, cell=cells, generator=generator)
    return rician(image, deviation=prescription.noise, generator=generator)


def _fine_slices(grid: Grid, parts: int) -> Grid:
    """Return a grid with every slice cut into thinner ones."""
    affine = grid.affine.clone()
    affine[:3, 0] /= parts
    affine[:3, 3] += grid.affine[:3, 0] * ((1 / parts - 1) / 2)
    return Grid(shape=(grid.shape[0] * parts, grid.shape[1], grid.shape[2]), affine=affine)


def _anatomy(scene: Scene, sequence: MRSequence, grid: Grid) -> Tensor:
    """Return the head without lesions, but with their mass effect, on a grid in head mm."""
    atlas = scene.head.appearance[sequence]
    slabs = []
    for first in range(0, grid.shape[0], SLAB):
        affine = grid.affine.clone()
        affine[:3, 3] += first * grid.affine[:3, 0]
        slab = Grid(shape=(min(SLAB, grid.shape[0] - first), grid.shape[1], grid.shape[2]), affine=affine)
        points = voxel_positions(slab.shape) @ affine[:3, :3].T + affine[:3, 3]
        for lesion in scene.lesions:
            _push(points, lesion.body, slab)
        slabs.append(sample(atlas, scene.head.atlas_positions(points)))
    return torch.cat(slabs)


def _push(points_mm: Tensor, body: Body, grid: Grid) -> None:
    """Replace points around a body by where their tissue was before the body grew, in place."""
    if body.radius_mm < SMALLEST_PUSH_MM:
        return
    patch = cut_patch(grid, body.centre_mm, push_reach_mm(body), fine_mm=torch.inf)
    if patch is not None:
        points_mm[patch.slices] = pushed_from(points_mm[patch.slices], body, strength=PUSH)


def _paint(image: Tensor, scene: Scene, lesion: Lesion, sequence: MRSequence, grid: Grid, generator: Generator) -> None:
    """Paint a lesion and its edema as one sequence shows them, in place."""
    wall, core, edema = LESION_LOOK.get(sequence, (1 + lesion.enhancement, lesion.core, None))
    halo = edema_halo(lesion, grid, generator=generator)
    if halo is not None:
        patch, amount = halo
        inside = sample(scene.head.swelling, scene.head.atlas_positions(patch.points_mm))
        factor = 1 - lesion.edema_loss if edema is None else edema
        image[patch.slices] *= 1 + (factor - 1) * amount * inside
    paint_body(image, lesion, grid, wall=wall, core=core, generator=generator)
