"""How bright each tissue is on each sequence, from its relaxation times and the sequence's signal equation.

Relaxation times are round values for 3 T after Stanisz et al., Magn Reson Med 54:507 (2005), and Bojorquez et al.,
Magn Reson Imaging 35:69 (2017); contrast agent shortens T1 by its relaxivity (4.5 per mM and second).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from inference.synthesis import chance
from inference.synthesis.tissues import HeadTissue
from tracking.timepoint import MRSequence

RELAXIVITY = 4.5e-3  # per mM and ms


@dataclass(frozen=True)
class Relaxation:
    """What a tissue does in a scanner: T1 and T2 in ms, proton density, contrast agent after injection in mM."""

    t1_ms: float
    t2_ms: float
    density: float
    agent_mm: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Settings of a sequence.

    Attributes
    ----------
    tr_ms, te_ms
        Repetition and echo time.
    ti_ms
        Inversion time; None without inversion.
    flip_deg
        Excitation of a spoiled gradient echo; None for a spin echo.
    contrast
        Whether contrast agent was given before.
    flow_void
        Share of the signal of flowing blood that is left.
    """

    tr_ms: float
    te_ms: float
    ti_ms: float | None = None
    flip_deg: float | None = None
    contrast: bool = False
    flow_void: float = 1.0


TIMINGS = {
    MRSequence.T1C: Timing(tr_ms=8.2, te_ms=3.2, flip_deg=24, contrast=True),
    MRSequence.T1: Timing(tr_ms=500, te_ms=10, flow_void=0.35),
    MRSequence.T2: Timing(tr_ms=5000, te_ms=95, flow_void=0.12),
    MRSequence.FLAIR: Timing(tr_ms=9000, te_ms=115, ti_ms=2480, flow_void=0.2),
}
TISSUES = {
    HeadTissue.AIR: Relaxation(1000, 1, 0.0),
    HeadTissue.WHITE: Relaxation(850, 70, 0.70),
    HeadTissue.CORTEX: Relaxation(1380, 93, 0.82, 0.01),
    HeadTissue.DEEP_GREY: Relaxation(1180, 78, 0.80, 0.01),
    HeadTissue.PALLIDUM: Relaxation(980, 56, 0.74),
    HeadTissue.CEREBELLAR_WHITE: Relaxation(870, 72, 0.70),
    HeadTissue.CEREBELLAR_CORTEX: Relaxation(1300, 90, 0.82, 0.01),
    HeadTissue.BRAINSTEM: Relaxation(960, 76, 0.74),
    HeadTissue.WHITE_SPOT: Relaxation(1150, 105, 0.77),
    HeadTissue.FLUID: Relaxation(4200, 1600, 1.0),
    HeadTissue.PLEXUS: Relaxation(1900, 125, 0.86, 0.22),
    HeadTissue.ARTERY: Relaxation(1650, 90, 0.85, 0.40),
    HeadTissue.VEIN: Relaxation(1650, 60, 0.85, 0.38),
    HeadTissue.DURA: Relaxation(1500, 60, 0.58, 0.25),
    HeadTissue.EYE: Relaxation(4000, 1300, 1.0),
    HeadTissue.LENS: Relaxation(1200, 35, 0.55),
    HeadTissue.NERVE: Relaxation(950, 70, 0.68),
    HeadTissue.MUSCLE: Relaxation(1250, 38, 0.76, 0.06),
    HeadTissue.FAT: Relaxation(385, 88, 0.74),
    HeadTissue.MUCOSA: Relaxation(1400, 120, 0.80, 0.28),
    HeadTissue.SKIN: Relaxation(1000, 42, 0.70, 0.08),
    HeadTissue.BONE: Relaxation(900, 12, 0.10),
    HeadTissue.MARROW: Relaxation(520, 70, 0.58, 0.02),
}
BLOOD = (HeadTissue.ARTERY, HeadTissue.VEIN)


def signal(tissue: Relaxation, timing: Timing) -> float:
    """Return the signal of a tissue in arbitrary units (spoiled gradient echo, spin echo or inversion recovery)."""
    agent = tissue.agent_mm if timing.contrast else 0.0
    t1_ms = 1 / (1 / tissue.t1_ms + RELAXIVITY * agent)
    left = math.exp(-timing.tr_ms / t1_ms)
    decay = tissue.density * math.exp(-timing.te_ms / tissue.t2_ms)
    if timing.flip_deg is not None:
        flip = math.radians(timing.flip_deg)
        return decay * math.sin(flip) * (1 - left) / (1 - math.cos(flip) * left)
    if timing.ti_ms is not None:
        return decay * abs(1 - 2 * math.exp(-timing.ti_ms / t1_ms) + left)
    return decay * (1 - left)


def brightness(timing: Timing, tissues: Mapping[HeadTissue, Relaxation] | None = None) -> Tensor:
    """Return the brightness of every `HeadTissue` as a multiple of white matter, float32 (tissues,)."""
    values = torch.zeros(len(HeadTissue))
    for tissue, relaxation in (tissues or TISSUES).items():
        share = timing.flow_void if tissue in BLOOD else 1.0
        values[tissue] = share * signal(relaxation, timing)
    return values / values[HeadTissue.WHITE]


def individual_tissues(generator: Generator, spread: float = 0.04) -> dict[HeadTissue, Relaxation]:
    """Return the tissues of one person: every value differs a little from the table."""

    def vary(value: float, by: float) -> float:
        return value * math.exp(by * chance.normal(generator))

    return {
        tissue: Relaxation(
            vary(mean.t1_ms, spread), vary(mean.t2_ms, spread), vary(mean.density, spread / 3),
            vary(mean.agent_mm, 4 * spread),
        )
        for tissue, mean in TISSUES.items()
    }  # fmt: skip


T1C_RANGES = {
    HeadTissue.CORTEX: (0.66, 0.92), HeadTissue.DEEP_GREY: (0.74, 0.96), HeadTissue.PALLIDUM: (0.85, 1.04),
    HeadTissue.CEREBELLAR_WHITE: (0.94, 1.05), HeadTissue.CEREBELLAR_CORTEX: (0.7, 0.95),
    HeadTissue.BRAINSTEM: (0.86, 1.0), HeadTissue.WHITE_SPOT: (0.7, 1.0), HeadTissue.FLUID: (0.12, 0.5),
    HeadTissue.PLEXUS: (0.5, 2.0), HeadTissue.ARTERY: (0.5, 2.5), HeadTissue.VEIN: (1.0, 2.6),
    HeadTissue.DURA: (0.4, 1.7), HeadTissue.EYE: (0.15, 0.5), HeadTissue.LENS: (0.4, 1.0),
    HeadTissue.NERVE: (0.6, 1.0), HeadTissue.MUSCLE: (0.5, 1.4), HeadTissue.FAT: (0.6, 2.4),
    HeadTissue.MUCOSA: (1.0, 2.6), HeadTissue.SKIN: (0.6, 1.4), HeadTissue.BONE: (0.05, 0.35),
    HeadTissue.MARROW: (0.4, 2.0),
}  # fmt: skip


def random_t1c(generator: Generator) -> Tensor:
    """Return a random T1c contrast, white matter 1: plausible nine times in ten, else nearly anything."""
    values = torch.zeros(len(HeadTissue))
    values[HeadTissue.WHITE] = 1.0
    wild = chance.happens(generator, 0.1)
    for tissue, (low, high) in T1C_RANGES.items():
        span = (0.1, min(1.3, 2 * high)) if wild else (low, high)
        values[tissue] = chance.uniform(generator, *span)
    return values
