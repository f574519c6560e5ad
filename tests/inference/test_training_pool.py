"""What a prepared head holds beside its images; files and workers are tested with the training itself."""

from dataclasses import replace

import torch
from torch import Generator

from inference.training.heads import HeadSource
from inference.training.pool import prepare
from tracking.timepoint import MRSequence


def test_a_head_with_a_t1_has_a_subtraction_of_intensities_that_are_not_normalised(ball_head: HeadSource) -> None:
    (head,) = ball_head.make(Generator().manual_seed(1))
    assert "subtraction" not in prepare([head])[0].images
    t1 = head.t1c - 120.0 * (head.lesions > 0)
    (prepared,) = prepare([replace(head, images={**head.images, MRSequence.T1: t1})])
    subtraction = prepared.images["subtraction"].float()
    lesion, rest = prepared.lesions > 0, prepared.brain & (prepared.lesions == 0)
    assert float(subtraction[lesion].min()) > 1
    torch.testing.assert_close(subtraction[rest].std(), torch.tensor(0.0), atol=1e-3, rtol=0)
