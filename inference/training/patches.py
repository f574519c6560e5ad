"""A patch is what one training step learns from: on a lesion, where the network erred, or anywhere in the brain."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from inference.inputs import PRIOR_MASK
from inference.preprocessing import POSITIONS, position_in_brain
from inference.synthesis import chance
from inference.synthesis.priors import fictitious_prior
from inference.training.losses import Classes, is_lesion, near
from inference.training.pool import HeadPool, PreparedHead, Visits
from inference.training.truth import UNKNOWN, told
from inference.windows import Size

OPTIONAL = ("T1", "T2", "FLAIR", "subtraction")
MISSING = 0.3
ALL_MISSING = 0.3
WITHOUT_PRIOR = 0.5
POSITION_DOUBT = 0.08
HARD_PLACES = 512
SURE_ERROR = 0.5
LEARNT_AGAIN = 0.5


@dataclass(frozen=True, kw_only=True)
class Place:
    """A voxel of a head of the pool."""

    head: int
    voxel: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Patches with their truth.

    Attributes
    ----------
    image
        float32 (batch, channels, i, j, k).
    tissue
        int64 (batch, i, j, k): index of the class, 0 background; `truth.SOME_LESION` or `truth.NO_LESION` where no more
        is known.
    lesions
        int64 (batch, i, j, k): 0 background, n the lesion of this number in its head.
    weight
        float32 (batch, i, j, k); 0 where nothing is known.
    places
        Head and first voxel of every patch, before it was flipped.
    flipped
        Whether left and right are exchanged, one for each patch.
    """

    image: Tensor
    tissue: Tensor
    lesions: Tensor
    weight: Tensor
    places: tuple[Place, ...]
    flipped: tuple[bool, ...]

    def to(self, device: torch.device) -> "Batch":
        """Return the same batch on another device."""
        tensors = {name: getattr(self, name).to(device) for name in ("image", "tissue", "lesions", "weight")}
        return Batch(places=self.places, flipped=self.flipped, **tensors)


@dataclass(kw_only=True, eq=False)
class HardPlaces:
    """Where the network was surely wrong lately: patches are drawn there again (hard example mining).

    Attributes
    ----------
    places
        The latest `HARD_PLACES` errors.
    """

    places: deque[Place] = field(default_factory=lambda: deque(maxlen=HARD_PLACES))

    def note(self, batch: Batch, lesion_probability: Tensor, *, lesion: Classes) -> None:
        """Keep the worst error of each patch, if it is worse than `SURE_ERROR`.

        An error is a lesion with no mark near it, or a mark with no lesion near it: outlines that are off by
        `inference.training.losses.REACH_VOXELS` are none.

        Parameters
        ----------
        batch
            What the network was given.
        lesion_probability
            float (batch, i, j, k).
        lesion
            The classes that are lesion.
        """
        truth = is_lesion(batch.tissue, lesion).float()
        missed, imagined = truth * (1 - near(lesion_probability)), lesion_probability * (1 - near(truth))
        error = torch.maximum(missed, imagined) * (batch.weight > 0)
        last = error.shape[-1] - 1
        for n, (value, index) in enumerate(zip(*error.flatten(1).max(1), strict=True)):
            if float(value) <= SURE_ERROR:
                continue
            i, j, k = np.unravel_index(int(index), error.shape[1:])
            k = last - k if batch.flipped[n] else k
            start = batch.places[n].voxel
            self.places.append(
                Place(head=batch.places[n].head, voxel=(start[0] + int(i), start[1] + int(j), start[2] + int(k)))
            )

    def draw(self, pool: HeadPool, generator: Generator) -> tuple[int, Visits, Tensor] | None:
        """Return the number of a head, the head and a voxel in it, or None if there is nothing to learn again."""
        while self.places:
            index = chance.whole(generator, 0, len(self.places) - 1)
            place = self.places[index]
            visits = pool.get(place.head)
            if visits is not None:
                return place.head, visits, torch.tensor(place.voxel)
            del self.places[index]
        return None


@dataclass(frozen=True, kw_only=True)
class PatchPlan:
    """What patches are to look like.

    Attributes
    ----------
    channels
        Sources of the input channels in order, as in a model's manifest.
    labels
        Names of the classes in order, as in a model's manifest.
    size
        Voxels along i, j and k.
    batch
        Number of patches.
    """

    channels: tuple[str, ...]
    labels: tuple[str, ...]
    size: Size
    batch: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Site:
    """Where a patch is cut, at every visit of a head alike.

    Attributes
    ----------
    head
        Number of the head.
    visits
        The head, oldest visit first.
    start
        First voxel, int64 (3,).
    flipped
        Whether left and right are exchanged.
    """

    head: int
    visits: Visits
    start: Tensor
    flipped: bool


def draw_batch(pool: HeadPool, plan: PatchPlan, *, generator: Generator, hard: HardPlaces | None = None) -> Batch:
    """Draw patches: even ones are centred near a lesion where the head has one, half of the odd ones near an error.

    Parameters
    ----------
    pool
        Heads; the last visit of each is used, and its prior mask is fictitious.
    plan
        What the patches are to look like.
    generator
        Source of every random choice.
    hard
        Where the network erred lately; None: nowhere.
    """
    sites = [draw_site(pool, turn, plan.size, generator=generator, hard=hard) for turn in range(plan.batch)]
    return stack([cut_patch(site, -1, plan, prior=None, generator=generator) for site in sites], sites)


def draw_site(pool: HeadPool, turn: int, size: Size, *, generator: Generator, hard: HardPlaces | None = None) -> Site:
    """Choose the head and the place of patch number ``turn`` of a batch, by the rules of `draw_batch`."""
    number, visits, centre = _centre(pool, turn, hard, generator)
    jitter = [chance.whole(generator, -edge // 3, edge // 3) for edge in size]
    start = centre + torch.tensor(jitter) - torch.tensor(size) // 2
    return Site(head=number, visits=visits, start=start, flipped=chance.happens(generator, 0.5))


def _centre(pool: HeadPool, turn: int, hard: HardPlaces | None, generator: Generator) -> tuple[int, Visits, Tensor]:
    """Choose a head and the voxel around which a patch is cut."""
    on_lesion = turn % 2 == 0
    learn_again = not on_lesion and hard is not None and chance.happens(generator, LEARNT_AGAIN)
    if learn_again and hard is not None and (again := hard.draw(pool, generator)) is not None:
        return again
    number, visits = pool.draw(generator)
    head = visits[-1]
    centres = head.centres if on_lesion and len(head.centres) else head.brain_voxels.long()
    return number, visits, centres[int(torch.randint(len(centres), (1,), generator=generator))]


@dataclass(frozen=True, kw_only=True, eq=False)
class Patch:
    """One entry of a `Batch`."""

    image: Tensor
    tissue: Tensor
    lesions: Tensor
    weight: Tensor


def cut_patch(site: Site, visit: int, plan: PatchPlan, *, prior: Tensor | None, generator: Generator) -> Patch:
    """Cut a patch out of one visit.

    Parameters
    ----------
    site
        Where.
    visit
        Index of the visit.
    plan
        What the patch is to look like.
    prior
        Where lesions were before, bool (i, j, k) over the whole head; None: make something up.
    generator
        Source of brightness, missing sequences and fictitious priors.
    """
    head, start, size = site.visits[visit], site.start, plan.size
    lesions = cut(head.lesions, start, size)
    if prior is None:
        before = _fictitious(lesions, cut(head.brain, start, size), generator)
    else:
        before = cut(prior, start, size).float()
    truth = told(plan.labels)[cut(head.tissue, start, size).long()]
    known = ~cut(head.ignore, start, size) & (truth != UNKNOWN)
    parts = (
        _image(head, start, plan, before, generator),
        truth.where(known, 0),
        lesions.long(),
        head.lesion_weights[lesions.long()] * known,
    )
    image, tissue, numbers, weight = (part.flip(-1) for part in parts) if site.flipped else parts
    return Patch(image=image, tissue=tissue, lesions=numbers, weight=weight)


def stack(patches: Sequence[Patch], sites: Sequence[Site]) -> Batch:
    """Make a batch of the patches of these sites."""
    return Batch(
        image=torch.stack([patch.image for patch in patches]),
        tissue=torch.stack([patch.tissue for patch in patches]),
        lesions=torch.stack([patch.lesions for patch in patches]),
        weight=torch.stack([patch.weight for patch in patches]),
        places=tuple(Place(head=site.head, voxel=_voxel(site.start)) for site in sites),
        flipped=tuple(site.flipped for site in sites),
    )


def _voxel(start: Tensor) -> tuple[int, int, int]:
    i, j, k = start.tolist()
    return i, j, k


def _image(head: PreparedHead, start: Tensor, plan: PatchPlan, prior: Tensor, generator: Generator) -> Tensor:
    """Return the input channels of a patch; sequences that a head lacks, or that were dropped, are 0."""
    dropped = _dropped(generator) if any(name in OPTIONAL for name in plan.channels) else set()
    known = {PRIOR_MASK: prior} | dict(zip(POSITIONS, _position(head.extent, start, plan.size, generator), strict=True))
    blank = torch.zeros(plan.size)
    for name in plan.channels:
        if name in head.images and name not in dropped:
            known[name] = _brightness(cut(head.images[name], start, plan.size).float(), generator)
    return torch.stack([known.get(name, blank) for name in plan.channels])


def _dropped(generator: Generator) -> set[str]:
    """Draw the sequences that a study lacks: all but the T1c, or each by itself."""
    if chance.happens(generator, ALL_MISSING):
        return set(OPTIONAL)
    return {name for name in OPTIONAL if chance.happens(generator, MISSING)}


def _fictitious(lesions: Tensor, brain: Tensor, generator: Generator) -> Tensor:
    if chance.happens(generator, WITHOUT_PRIOR):
        return torch.zeros(lesions.shape)
    return torch.from_numpy(fictitious_prior(lesions.numpy(), brain.numpy(), generator=generator)).float()


def _position(extent: Tensor, start: Tensor, shape: Size, generator: Generator) -> Tensor:
    """Return the position channels, off by a little: brain masks and fields of view differ."""
    length = (extent[:, 1] - extent[:, 0]).double()
    doubt = POSITION_DOUBT * length[:, None] * (2 * torch.rand(3, 2, generator=generator).double() - 1)
    return torch.from_numpy(position_in_brain((extent + doubt).numpy(), start=start.tolist(), shape=shape))


def cut(array: Tensor, start: Tensor, size: Size) -> Tensor:
    """Return a box of ``size`` voxels from ``start`` (i, j, k); 0 beyond the array, as in sliding windows."""
    box, padding = [], []
    for first, edge, there in zip(start.tolist(), size, array.shape, strict=True):
        low, high = (min(max(place, 0), there) for place in (first, first + edge))
        before = min(max(-first, 0), edge)
        box.append(slice(low, high))
        padding.append((before, edge - before - (high - low)))
    return F.pad(array[tuple(box)], [step for axis in reversed(padding) for step in axis])


def _brightness(image: Tensor, generator: Generator) -> Tensor:
    gain, shift = torch.rand(2, generator=generator).tolist()
    # Blank surroundings stay 0, as in inference.
    return torch.where(image == 0, image, image * (0.85 + 0.3 * gain) + 0.4 * (shift - 0.5))
