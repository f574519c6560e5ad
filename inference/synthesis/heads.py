"""A head as an intensity volume: a value for every tissue, texture inside tissues, vessels too thin for a label map."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from inference.synthesis import chance
from inference.synthesis.axes import blur, smooth_noise
from inference.synthesis.contrast import TIMINGS, brightness, individual_tissues, random_t1c
from inference.synthesis.deformation import individual
from inference.synthesis.tissues import Anatomy, HeadTissue, anatomy_of, crop_to_head, is_any, tissue_map
from inference.synthesis.vessels import furrow_vessels
from tracking.timepoint import MRSequence

CONTRAST_SPREAD = 0.1

SOFT_OUTSIDE = (
    HeadTissue.MUSCLE,
    HeadTissue.FAT,
    HeadTissue.SKIN,
    HeadTissue.MARROW,
    HeadTissue.MUCOSA,
    HeadTissue.PLEXUS,
)


def texture(tissues: Tensor, *, marbling: float, generator: Generator) -> Tensor:
    """Return the relative brightness inside tissues, around 1, float32 (i, j, k).

    Parameters
    ----------
    tissues
        `HeadTissue`, uint8 (i, j, k), 1 mm voxels.
    marbling
        Relative variation of muscle, fat, skin, marrow, mucosa and plexus over a few millimetres.
    """
    shape = tuple(tissues.shape)
    grain = marbling * smooth_noise(shape, cell=3.5, generator=generator)
    drift = 0.013 * smooth_noise(shape, cell=25, generator=generator)
    drift += 0.01 * smooth_noise(shape, cell=2.5, generator=generator)
    outside = is_any(tissues, SOFT_OUTSIDE)
    return (1 + torch.where(outside, grain, drift)).clamp_min(0.2)


def marble_muscle(tissues: Tensor, *, generator: Generator) -> None:
    """Let strands of fat run through the muscles, in place."""
    shape = tuple(tissues.shape)
    strands = smooth_noise(shape, cell=5, generator=generator).abs()
    here = smooth_noise(shape, cell=18, generator=generator)
    tissues[(tissues == HeadTissue.MUSCLE) & (strands < 0.21) & (here > 0.3)] = HeadTissue.FAT


def draw_head(
    labels: Tensor, *, generator: Generator, sequences: Sequence[MRSequence] = (MRSequence.T1C,)
) -> tuple[dict[MRSequence, Tensor], Anatomy]:
    """Return random images of a head without lesions, float32 (i, j, k), and its anatomy; white matter is 1.

    Parameters
    ----------
    labels
        SynthSeg labels (i, j, k), 1 mm voxels, i from inferior to superior.
    sequences
        What to draw. The T1c's contrast is drawn widely, since only its vessels tell it from other sequences; that of
        the others follows from the tissues' relaxation times, which vary by a tenth.
    """
    own = individual(crop_to_head(labels), generator=generator)
    tissues = tissue_map(own)
    anatomy = anatomy_of(own, tissues, white=1.0)
    marble_muscle(tissues, generator=generator)
    look = random_t1c(generator).to(own.device)[tissues.long()]
    grain = texture(tissues, marbling=chance.uniform(generator, 0.03, 0.13), generator=generator)
    look *= grain
    if chance.happens(generator, 0.7):
        _add_furrow_vessels(look, tissues, anatomy, generator)
    images = {MRSequence.T1C: blur(look, chance.uniform(generator, 0.3, 0.6))}
    person = individual_tissues(generator, CONTRAST_SPREAD) if len(sequences) > 1 else {}
    for sequence in sequences:
        if sequence != MRSequence.T1C:
            values = brightness(TIMINGS[sequence], person).to(own.device)[tissues.long()]
            images[sequence] = blur(values * grain, chance.uniform(generator, 0.3, 0.6))
    return images, anatomy


def _add_furrow_vessels(image: Tensor, tissues: Tensor, anatomy: Anatomy, generator: Generator) -> None:
    """Add veins that run through the furrows of the brain to a T1c head, in place."""
    fluid = anatomy.brain & is_any(tissues, (HeadTissue.FLUID, HeadTissue.DURA))
    starts = chance.voxels(generator, fluid, chance.whole(generator, 10, 120))
    cover = furrow_vessels(fluid, starts, radii_mm=(0.35, 1.3), length_mm=50, generator=generator)
    image += cover * (chance.uniform(generator, 1.1, 2.4) - image).clamp_min(0)
