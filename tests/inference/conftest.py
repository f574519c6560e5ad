"""Stand-ins for the synthetic heads: a ball of brain with brighter balls in it, quick to make and exactly known."""

from dataclasses import dataclass

import pytest
import torch
from torch import Generator, Tensor

from inference.synthesis.training_heads import TrainingHead
from tracking.timepoint import MRSequence, Tissue


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> Tensor:
    axes = torch.meshgrid(*(torch.arange(size, dtype=torch.float32) for size in shape), indexing="ij")
    squared = sum((axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True))
    return squared <= radius**2


@dataclass(frozen=True, kw_only=True)
class BallHead:
    """A head source whose lesions are bright balls of 3 and 5 mm radius."""

    edge: int = 56
    patient: str = "ball"

    def make(self, generator: Generator, *, visits: int = 1) -> tuple[TrainingHead, ...]:
        return tuple(self._visit(generator) for _ in range(visits))

    def _visit(self, generator: Generator) -> TrainingHead:
        shape = (self.edge, self.edge, self.edge)
        brain = ball(shape, (self.edge / 2,) * 3, self.edge * 0.42)
        lesions = torch.zeros(shape, dtype=torch.int16)
        for number, radius in ((1, 3.0), (2, 5.0)):
            centre = (self.edge * (0.3 + 0.4 * torch.rand(3, generator=generator))).tolist()
            lesions[ball(shape, tuple(centre), radius)] = number
        image = 100.0 * brain + 120.0 * (lesions > 0) + 8 * torch.randn(shape, generator=generator)
        ignore = ball(shape, (self.edge * 0.5, self.edge * 0.15, self.edge * 0.5), 5)
        tissue = (lesions > 0).to(torch.uint8) * int(Tissue.ENHANCING)
        return TrainingHead(images={MRSequence.T1C: image}, brain=brain, lesions=lesions, tissue=tissue, ignore=ignore)


@pytest.fixture
def ball_head() -> BallHead:
    """A quick head source of known lesions."""
    return BallHead()
