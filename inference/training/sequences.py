"""What a network with memory learns from: the same patch of one patient at several visits, oldest first."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from inference.synthesis import chance
from inference.training.patches import Batch, Patch, PatchPlan, Site, cut_patch, draw_site, stack
from inference.training.pool import HeadPool

FORGOTTEN = 0.3


@dataclass(frozen=True, kw_only=True, eq=False)
class SequenceBatch:
    """Patches at every visit; the truth of each.

    Attributes
    ----------
    visits
        One batch for each visit, oldest first: entry n of each is the same patch of the same patient.
    """

    visits: tuple[Batch, ...]

    @property
    def images(self) -> Tensor:
        """Input of an STT: float32 (batch, time, channels, i, j, k)."""
        return torch.stack([visit.image for visit in self.visits], dim=1)

    def to(self, device: torch.device) -> "SequenceBatch":
        """Return the same batch on another device."""
        return SequenceBatch(visits=tuple(visit.to(device) for visit in self.visits))


def draw_sequences(pool: HeadPool, plan: PatchPlan, *, generator: Generator) -> SequenceBatch:
    """Draw patches at all visits of random patients; even ones are centred near a lesion of the last visit.

    The prior mask of a visit, where the plan has that channel, is the truth of the visit before, blank throughout in
    three of ten patches; that of the first visit is blank.

    Parameters
    ----------
    pool
        Heads, all with the same number of visits.
    plan
        What the patches are to look like.
    generator
        Source of every random choice.
    """
    sites = [draw_site(pool, turn, plan.size, generator=generator) for turn in range(plan.batch)]
    columns = [_column(site, plan, generator) for site in sites]
    return SequenceBatch(visits=tuple(stack(patches, sites) for patches in zip(*columns, strict=True)))


def _column(site: Site, plan: PatchPlan, generator: Generator) -> list[Patch]:
    """Return the patches of one site, oldest first."""
    blank = torch.zeros_like(site.visits[0].lesions, dtype=torch.bool)
    forgotten = chance.happens(generator, FORGOTTEN)
    priors = [blank] + [blank if forgotten else visit.lesions > 0 for visit in site.visits[:-1]]
    return [cut_patch(site, visit, plan, prior=prior, generator=generator) for visit, prior in enumerate(priors)]
