"""Training heads: labels where lesions are, nothing else labelled, the same bits from the same seed."""

from collections.abc import Iterator

import pytest
import torch
from torch import Generator, Tensor

from inference.synthesis.axes import smooth_noise
from inference.synthesis.tissues import load_label_map
from inference.synthesis.training_heads import TrainingHead, brighten_vessels, from_label_map, from_real_head
from inference.threads import torch_threads
from tracking.timepoint import MRSequence, Tissue


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Keep to one processor thread: on a busy machine two that wait for each other take many times as long."""
    with torch_threads(1):
        yield


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def from_balls(seed: int, visits: int = 1) -> tuple[TrainingHead, ...]:
    image, brain, abnormality = ball_head()
    return from_real_head({MRSequence.T1C: image}, brain, abnormality, generator=seeded(seed), visits=visits)


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
    return [from_balls(seed)[0] for seed in range(8)]


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
        usual = float(head.t1c[head.brain & (head.lesions == 0)].median())
        for number in range(1, int(head.lesions.max()) + 1):
            inside = head.t1c[head.lesions == number]
            if len(inside) > 60:
                brighter.append(float(inside.quantile(0.9)) > usual)
    assert len(brighter) > 3
    assert sum(brighter) / len(brighter) > 0.9


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    first, again, other = (from_balls(seed)[0] for seed in (5, 5, 6))
    assert torch.equal(first.t1c, again.t1c)
    assert torch.equal(first.lesions, again.lesions)
    assert not torch.equal(first.t1c, other.t1c)


def test_images_are_finite_and_not_negative(heads: list[TrainingHead]) -> None:
    for head in heads:
        assert bool(torch.isfinite(head.t1c).all())
        assert float(head.t1c.min()) >= 0
        assert head.t1c.dtype == torch.float32


def test_masks_that_do_not_fit_are_refused() -> None:
    image, brain, abnormality = ball_head()
    with pytest.raises(ValueError, match="resample all of them"):
        from_real_head({MRSequence.T1C: image}, brain[:-1], abnormality, generator=seeded(0))
    with pytest.raises(ValueError, match="must not be empty"):
        from_real_head({MRSequence.T1C: image}, torch.zeros_like(brain), abnormality, generator=seeded(0))


def test_a_head_from_a_label_map_has_brain_skull_and_lesions() -> None:
    (head,) = from_label_map(load_label_map(), generator=seeded(1))
    assert head.t1c.shape == head.brain.shape == head.lesions.shape == head.ignore.shape
    assert 800_000 < int(head.brain.sum()) < 2_400_000  # mm³
    assert int(head.lesions.max()) > 0
    assert not bool((head.lesions > 0)[~head.brain].any())
    assert not bool(head.ignore.any())
    middle = [int(c) for c in head.brain.nonzero().float().mean(0)]
    ray = head.t1c[middle[0] :, middle[1], middle[2]]
    outside = ray[int(head.brain[middle[0] :, middle[1], middle[2]].nonzero().max()) + 1 :]
    assert float(outside.max()) > float(head.t1c[head.brain].median()) / 3  # scalp beyond the brain


def test_the_tissue_of_a_lesion_is_enhancing_or_necrotic_and_edema_lies_around(heads: list[TrainingHead]) -> None:
    seen = set()
    for head in heads:
        inside = set(head.tissue[head.lesions > 0].unique().tolist())
        assert inside <= {Tissue.ENHANCING, Tissue.NECROSIS}
        assert set(head.tissue[head.lesions == 0].unique().tolist()) <= {Tissue.BACKGROUND, Tissue.EDEMA}
        seen |= set(head.tissue.unique().tolist())
    assert seen == set(Tissue)


def test_necrosis_lies_inside_its_lesion(heads: list[TrainingHead]) -> None:
    for head in heads:
        necrosis = torch.nn.functional.max_pool3d((head.tissue == Tissue.NECROSIS).float()[None], 3, 1, 1)[0] > 0
        at_border = necrosis & (head.lesions == 0) & head.brain
        assert int(at_border.sum()) < 0.1 * max(
            int(necrosis.sum()), 1
        )  # a wall of 1.5 mm lies between, but for corners


def test_only_what_is_brighter_than_tissue_is_brightened() -> None:
    image = torch.tensor([0.0, 0.5, 1.0, 1.2, 2.2])
    brighten_vessels(image, white=1.0, gain=2.0)
    assert image.tolist() == pytest.approx([0, 0.5, 1, 1.2, 3.2])


def test_visits_share_the_anatomy_and_their_lesions_change() -> None:
    changes, states = [], set()
    for seed in range(5):
        before, now = from_balls(seed, visits=2)
        shared = set(before.lesions.unique().tolist()) & set(now.lesions.unique().tolist()) - {0}
        states |= {(n in before.lesions, n in now.lesions) for n in range(1, 30)}
        for n in shared:
            then_mm3, now_mm3 = int((before.lesions == n).sum()), int((now.lesions == n).sum())
            changes.append(torch.tensor(now_mm3 / then_mm3).log())
            between = (before.lesions == n).nonzero().float().mean(0) - (now.lesions == n).nonzero().float().mean(0)
            # 3 mm, 3° at 40 mm, and half a voxel that is kept or not
            assert float(between.norm()) < 3 + 2.1 + 1.5
        assert not torch.equal(before.t1c, now.t1c)
    assert len(changes) > 20
    assert 0.5 < float(torch.stack(changes).std()) < 1.4  # ln V changes by N(0, 0.9)
    assert states >= {(True, True), (True, False), (False, True)}


def test_a_label_map_gives_every_sequence_that_is_asked_for() -> None:
    sequences = tuple(MRSequence)
    (head,) = from_label_map(load_label_map(), generator=seeded(4), sequences=sequences)
    assert set(head.images) == set(sequences)
    fluid = {s: float(head.images[s][head.brain].quantile(0.5)) for s in sequences}
    assert all(value > 0 for value in fluid.values())
    csf_like = head.brain & (head.images[MRSequence.T2] > 1.8 * fluid[MRSequence.T2])
    # what is very bright on T2 is mostly fluid: dark on T1 and on FLAIR
    assert float(head.images[MRSequence.T1][csf_like].median()) < fluid[MRSequence.T1]
    assert float(head.images[MRSequence.FLAIR][csf_like].median()) < fluid[MRSequence.FLAIR]
