"""Training heads: labels where lesions are, nothing else labelled, the same bits from the same seed."""

from collections.abc import Iterator

import pytest
import torch
from torch import Generator, Tensor

from inference.synthesis.axes import smooth_noise
from inference.synthesis.tissues import load_label_map
from inference.synthesis.training_heads import TrainingHead, from_label_map, from_real_head
from inference.threads import torch_threads


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Keep to one processor thread: on a busy machine two that wait for each other take many times as long."""
    with torch_threads(1):
        yield


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def ball_head() -> tuple[Tensor, Tensor, Tensor]:
    """Return a plain head: a bright scalp, a dark skull, a textured brain, and an abnormality at one side."""
    points = torch.stack(torch.meshgrid(*[torch.arange(112.0)] * 3, indexing="ij"), -1)
    radius = (points - 56).norm(dim=-1)
    brain = radius < 40
    image = torch.where(brain, 100 + 5 * smooth_noise((112, 112, 112), cell=6, generator=seeded(0)), torch.tensor(4.0))
    image[(radius > 46) & (radius < 51)] = 220.0
    return image, brain, (points - torch.tensor([60.0, 56.0, 38.0])).norm(dim=-1) < 10


@pytest.fixture(scope="module")
def heads() -> list[TrainingHead]:
    return [from_real_head(*ball_head(), generator=seeded(seed)) for seed in range(8)]


def test_most_heads_have_lesions_and_some_have_none(heads: list[TrainingHead]) -> None:
    counts = [int(head.lesions.max()) for head in heads]
    assert 0 in counts
    assert max(counts) > 3


def test_lesions_lie_in_the_brain_and_outside_the_unknown(heads: list[TrainingHead]) -> None:
    for head in heads:
        assert not bool((head.lesions > 0)[~head.brain].any())
        assert not bool((head.lesions > 0)[head.ignore].any())
    assert bool(heads[0].ignore.any())


def test_lesions_are_numbered_without_gaps(heads: list[TrainingHead]) -> None:
    for head in heads:
        assert head.lesions.unique().tolist() == list(range(int(head.lesions.max()) + 1))
        assert head.lesions.dtype == torch.int16


def test_large_lesions_stand_out_from_their_surroundings(heads: list[TrainingHead]) -> None:
    brighter = []
    for head in heads:
        usual = float(head.image[head.brain & (head.lesions == 0)].median())
        for number in range(1, int(head.lesions.max()) + 1):
            inside = head.image[head.lesions == number]
            if len(inside) > 60:
                brighter.append(float(inside.quantile(0.9)) > usual)
    assert len(brighter) > 3
    assert sum(brighter) / len(brighter) > 0.9


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    first, again, other = (from_real_head(*ball_head(), generator=seeded(seed)) for seed in (5, 5, 6))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.lesions, again.lesions)
    assert not torch.equal(first.image, other.image)


def test_images_are_finite_and_not_negative(heads: list[TrainingHead]) -> None:
    for head in heads:
        assert bool(torch.isfinite(head.image).all())
        assert float(head.image.min()) >= 0
        assert head.image.dtype == torch.float32


def test_masks_that_do_not_fit_are_refused() -> None:
    image, brain, abnormality = ball_head()
    with pytest.raises(ValueError, match="resample all three"):
        from_real_head(image, brain[:-1], abnormality, generator=seeded(0))
    with pytest.raises(ValueError, match="must not be empty"):
        from_real_head(image, torch.zeros_like(brain), abnormality, generator=seeded(0))


def test_a_head_from_a_label_map_has_brain_skull_and_lesions() -> None:
    head = from_label_map(load_label_map(), generator=seeded(1))
    assert head.image.shape == head.brain.shape == head.lesions.shape == head.ignore.shape
    assert 800_000 < int(head.brain.sum()) < 2_400_000  # mm³
    assert int(head.lesions.max()) > 0
    assert not bool((head.lesions > 0)[~head.brain].any())
    assert not bool(head.ignore.any())
    middle = [int(c) for c in head.brain.nonzero().float().mean(0)]
    ray = head.image[middle[0] :, middle[1], middle[2]]
    outside = ray[int(head.brain[middle[0] :, middle[1], middle[2]].nonzero().max()) + 1 :]
    assert float(outside.max()) > float(head.image[head.brain].median()) / 3  # scalp beyond the brain
