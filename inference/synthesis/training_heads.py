"""Synthetic training examples: whole heads on a 1 mm grid with known lesions, at one visit or at several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from inference.synthesis import chance
from inference.synthesis.acquisition import acquire
from inference.synthesis.axes import blur
from inference.synthesis.confusers import add_confusers
from inference.synthesis.heads import draw_head
from inference.synthesis.tissues import Anatomy
from inference.synthesis.visits import Truth, draw_courses, misplace, paint_visit
from tracking.timepoint import MRSequence

BRIGHTEST_TISSUE = 1.2
VESSEL_GAIN = (0.6, 2.5)
T1C_ONLY = (MRSequence.T1C,)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingHead:
    """A head with lesions painted in, on cubic 1 mm voxels, after a simulated acquisition.

    Attributes
    ----------
    images
        float32 (i, j, k) per sequence, on one grid: intensities in arbitrary units, not yet normalised. There is
        always a T1c.
    brain
        bool (i, j, k): brain mask.
    lesions
        int16 (i, j, k): 0 background, n lesion n (enhancing tissue and necrosis); the same n at every visit.
    tissue
        uint8 (i, j, k): `tracking.timepoint.Tissue`, edema included.
    ignore
        bool (i, j, k): where nothing is known (a real glioma); counts neither as lesion nor as background.
    """

    images: Mapping[MRSequence, Tensor]
    brain: Tensor
    lesions: Tensor
    tissue: Tensor
    ignore: Tensor

    @property
    def t1c(self) -> Tensor:
        """The T1c."""
        return self.images[MRSequence.T1C]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Base:
    """A head before lesions: images, brightness of white matter in each, where things are and how they are sliced."""

    images: Mapping[MRSequence, Tensor]
    white: Mapping[MRSequence, float]
    anatomy: Anatomy
    ignore: Tensor
    thick_slices: float
    slice_axis: int


def from_real_head(
    images: Mapping[MRSequence, Tensor],
    brain: Tensor,
    abnormality: Tensor,
    *,
    generator: Generator,
    visits: int = 1,
    same_vessels: bool = False,
) -> tuple[TrainingHead, ...]:
    """Paint random lesions and confusers into a real head and scan it again.

    Parameters
    ----------
    images
        float32 (i, j, k) per sequence, 1 mm cubic voxels, i from inferior to superior; a T1c at least.
    brain, abnormality
        bool (i, j, k): brain mask, and where a real abnormality makes the truth unknown.
    generator
        Source of every random choice.
    visits
        Number of visits; the earlier ones lie on the last as imperfectly as after registration.
    same_vessels
        Leave vessels as bright as they are, as held-out heads do.

    Returns
    -------
    tuple of TrainingHead
        One for each visit, oldest first.

    Raises
    ------
    ValueError
        If the brain mask is empty or the shapes differ.
    """
    shapes = {tuple(volume.shape) for volume in (*images.values(), brain, abnormality)}
    if len(shapes) > 1 or not bool(brain.any()):
        raise ValueError(
            f"images, brain and abnormality have the shapes {sorted(shapes)}: they must have one shape and the brain "
            "must not be empty; resample all of them to one grid."
        )
    own = {name: (image.float() - _background(image.float())).clamp_min(0) for name, image in images.items()}
    t1c = own[MRSequence.T1C]
    white = float(t1c[brain.bool()][::7].quantile(0.65))
    if not same_vessels and chance.happens(generator, 0.7):
        brighten_vessels(t1c, white=white, gain=chance.log_uniform(generator, *VESSEL_GAIN))
    anatomy = _real_anatomy(t1c, brain.bool(), white)
    plain = brain.bool() & ((t1c / white - 1).abs() < 0.07)
    base = _Base(
        images=own,
        white={name: white if name == MRSequence.T1C else float(image[plain].median()) for name, image in own.items()},
        anatomy=anatomy,
        ignore=blur(abnormality.float(), 1.5) > 0.1,
        thick_slices=0.6,
        slice_axis=0,
    )
    return _examine(base, visits=visits, generator=generator)


def from_label_map(
    labels: Tensor, *, generator: Generator, visits: int = 1, sequences: Sequence[MRSequence] = T1C_ONLY
) -> tuple[TrainingHead, ...]:
    """Draw a random head from a label map, paint lesions and confusers into it and scan it.

    Parameters
    ----------
    labels
        Integer (i, j, k) SynthSeg labels with extra-cerebral tissue, 1 mm cubic voxels, i from inferior to superior.
    generator
        Source of every random choice.
    visits
        Number of visits, as in `from_real_head`.
    sequences
        What to draw; a T1c at least.

    Returns
    -------
    tuple of TrainingHead
        One for each visit, oldest first.

    Raises
    ------
    ValueError
        If the map has no brain.
    """
    images, anatomy = draw_head(labels, generator=generator, sequences=sequences)
    base = _Base(
        images=images,
        white=dict.fromkeys(images, 1.0),
        anatomy=anatomy,
        ignore=torch.zeros_like(anatomy.brain),
        thick_slices=0.5,
        slice_axis=0,
    )
    return _examine(base, visits=visits, generator=generator, any_axis=True)


def brighten_vessels(image: Tensor, *, white: float, gain: float) -> None:
    """Scale by ``gain`` what a T1c shows brighter than tissue, in place: real vessels, sinuses, dura and plexus.

    How bright they are depends on field strength, sequence and time after injection; the few real heads show few of
    these, and a network takes what is brighter than it has ever seen for a metastasis.
    """
    image += (gain - 1) * (image - BRIGHTEST_TISSUE * white).clamp_min(0)


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


def _examine(base: _Base, *, visits: int, generator: Generator, any_axis: bool = False) -> tuple[TrainingHead, ...]:
    """Add confusers and lesions to a head and scan it at every visit; the earlier visits lie a little aside."""
    first = _slices(base, any_axis, generator)
    add_confusers(base.images[MRSequence.T1C], base.anatomy, generator=generator)
    courses = draw_courses(base.anatomy, base.ignore, visits=visits, generator=generator)
    heads = []
    for visit in range(visits):
        images = {name: image.clone() for name, image in base.images.items()}
        truth = paint_visit(images, base.white, courses, base.anatomy, visit=visit, generator=generator)
        thickness_mm, axis = first if visit == 0 else _slices(base, any_axis, generator)
        scanned = {
            name: acquire(
                image, white=base.white[name], thickness_mm=thickness_mm, slice_axis=axis, generator=generator
            )
            for name, image in images.items()
        }
        heads.append(_head(base, scanned, truth, last=visit == visits - 1, generator=generator))
    return tuple(heads)


def _slices(base: _Base, any_axis: bool, generator: Generator) -> tuple[float, int]:
    """Draw slice thickness in mm and the axis across the slices."""
    thickness = chance.log_uniform(generator, 0.8, 7.0) if chance.happens(generator, base.thick_slices) else 1.0
    if not any_axis or chance.happens(generator, 0.7):
        return thickness, base.slice_axis
    return thickness, chance.whole(generator, 1, 2)


def _head(
    base: _Base, images: Mapping[MRSequence, Tensor], truth: Truth, *, last: bool, generator: Generator
) -> TrainingHead:
    parts = {"brain": base.anatomy.brain, "lesions": truth.lesions, "tissue": truth.tissue, "ignore": base.ignore}
    if last:
        return TrainingHead(images=images, **parts)
    moved = misplace({**parts, **{str(name): image for name, image in images.items()}}, generator=generator)
    return TrainingHead(images={name: moved[name] for name in images}, **{name: moved[name] for name in parts})
