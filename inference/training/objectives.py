"""What a network is taught: one training loop serves every objective."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Generator, Tensor, nn

from inference.labels import lesion_classes
from inference.networks.unet import build_unet
from inference.synthesis import chance
from inference.training.config import TrainingConfig
from inference.training.losses import LOSSES, is_lesion, lesion_probability
from inference.training.patches import Batch, HardPlaces, PatchPlan, Place, draw_batch
from inference.training.pool import HeadPool

VALIDATION_SEED = 2_000_003
# Patches of a validation that are computed at once: one on a lesion, one anywhere.
AT_ONCE = 2


class OnDevice(Protocol):
    """A batch: tensors that can be brought to a device."""

    def to(self, device: torch.device) -> Self:
        """Return the same on another device."""


B = TypeVar("B", bound=OnDevice)


class Objective(Protocol[B]):
    """What a network is taught, by which heads, and how it is judged."""

    def build_network(self) -> nn.Module:
        """Return an untrained network."""

    def draw(self, generator: Generator) -> B:
        """Draw a batch; every random choice comes from the generator."""

    def loss(self, network: nn.Module, batch: B) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a batch, and figures to be shown."""

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Judge a network in evaluation mode by fixed patches of held-out heads; empty where there are none."""

    def picture(self, network: nn.Module) -> Tensor | None:
        """Return a picture of a fixed patch with truth and answer, float32 (3, rows, columns), 0 to 1."""

    @property
    def finished(self) -> bool:
        """Whether nothing is gained by going on."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes from step to step, in plain values."""

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""


@dataclass(kw_only=True, eq=False)
class SupervisedObjective:
    """Lesions are taught by their outlines.

    Attributes
    ----------
    config
        Settings.
    pool
        Heads to learn from.
    validation
        Heads to be judged by; None: no judgement.
    hard
        Where the network erred lately.
    """

    config: TrainingConfig
    pool: HeadPool
    validation: HeadPool | None = None
    hard: HardPlaces = field(default_factory=HardPlaces)

    def build_network(self) -> nn.Module:
        """Return a network from input channels to classes."""
        return unet_of(self.config, labels=len(self.config.labels))

    def draw(self, generator: Generator) -> Batch:
        """Draw patches of one of the sizes."""
        hard = self.hard if self.config.hard_mining else None
        return draw_batch(self.pool, drawn_plan(self.config, generator), generator=generator, hard=hard)

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss by its name, and the Dice of the batch."""
        logits = network(batch.image)
        loss = loss_of(self.config, logits, batch)
        answer = logits.detach()
        if self.config.hard_mining:
            lesion = lesion_classes(self.config.labels)
            self.hard.note(batch, lesion_probability(answer, lesion), lesion=lesion)
        return loss, {"dice": dice([(answer, batch)], self.config.labels)}

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the mean loss and the Dice of the fixed patches together."""
        if not self._fixed:
            return {}
        answers = [(self._answer(network, batch), batch) for batch in self._fixed]
        losses = [loss_of(self.config, logits, batch) for logits, batch in answers]
        return {"loss": float(torch.stack(losses).mean()), "dice": dice(answers, self.config.labels)}

    def picture(self, network: nn.Module) -> Tensor | None:
        """Return the slice with most lesion: the first channel as it is, with the truth, and with the answer."""
        if not self._fixed:
            return None
        batch = self._fixed[0]
        return side_by_side(batch, self._answer(network, batch), self.config.labels)

    @property
    def finished(self) -> bool:
        """It ends with its budget."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """Return the places where the network erred."""
        return {"hard": [(place.head, *place.voxel) for place in self.hard.places]}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over those places."""
        self.hard = HardPlaces()
        self.hard.places.extend(Place(head=head, voxel=(i, j, k)) for head, i, j, k in saved["hard"])

    @cached_property
    def _fixed(self) -> list[Batch]:
        return list(fixed_batches(self.config, self.validation))

    def _answer(self, network: nn.Module, batch: Batch) -> Tensor:
        device = next(network.parameters()).device
        logits: Tensor = network(batch.image.to(device)).float().cpu()
        return logits


def loss_of(config: TrainingConfig, logits: Tensor, batch: Batch) -> Tensor:
    """Return the loss that the settings name."""
    lesion = lesion_classes(config.labels)
    return LOSSES[config.loss](logits, batch.tissue, batch.lesions, batch.weight, lesion=lesion)


def unet_of(config: TrainingConfig, *, labels: int) -> nn.Module:
    """Return an untrained U-Net as the settings want it, with so many outputs."""
    return build_unet(
        config.features,
        channels=len(config.channels),
        labels=labels,
        activation=config.activation,
        normalisation=config.normalisation,
    )


def drawn_plan(config: TrainingConfig, generator: Generator) -> PatchPlan:
    """Draw one of the sizes, with as many patches as make a batch of it."""
    size = config.sizes[chance.whole(generator, 0, len(config.sizes) - 1)]
    return PatchPlan(channels=config.channels, labels=config.labels, size=size, batch=config.batch_of(size))


def fixed_plan(config: TrainingConfig) -> PatchPlan:
    """Return what the patches look like that a training is judged by: the largest."""
    size = max(config.sizes, key=prod)
    return PatchPlan(channels=config.channels, labels=config.labels, size=size, batch=AT_ONCE)


def fixed_batches(config: TrainingConfig, pool: HeadPool | None) -> Iterator[Batch]:
    """Draw the patches that a training is judged by, always the same; every second one is centred on a lesion."""
    if pool is None or not pool.paths():
        return
    generator = Generator().manual_seed(VALIDATION_SEED)
    plan = fixed_plan(config)
    for _ in range(0, config.validation_patches, AT_ONCE):
        yield draw_batch(pool, plan, generator=generator)


def dice(answers: Sequence[tuple[Tensor, Batch]], labels: Sequence[str]) -> float:
    """Return the Dice of all patches together: lesion answered against lesion outlined, where the truth is known.

    Parameters
    ----------
    answers
        Logits (batch, classes, i, j, k) with what they answer.
    labels
        Names of the classes.

    Returns
    -------
    float
        1 if there is no lesion in either.
    """
    both = either = 0.0
    for logits, batch in answers:
        lesion = lesion_classes(labels)
        answer = is_lesion(logits.argmax(1), lesion) & (batch.weight > 0)
        truth = is_lesion(batch.tissue, lesion) & (batch.weight > 0)
        both += float((answer & truth).sum())
        either += float(answer.sum() + truth.sum())
    return 2 * both / either if either else 1.0


def side_by_side(batch: Batch, logits: Tensor, labels: Sequence[str]) -> Tensor:
    """Return the slice of the first patch with most lesion: as it is, with the truth, and with the answer."""
    lesion = lesion_classes(labels)
    truth = is_lesion(batch.tissue[0], lesion)
    answer = is_lesion(logits[0].argmax(0), lesion)
    row = int(truth.sum((1, 2)).argmax())
    image = grey(batch.image[0, 0, row])
    return torch.cat([image, marked(image, truth[row]), marked(image, answer[row])], dim=2)


def grey(image: Tensor) -> Tensor:
    """Return a slice (rows, columns) as a picture (3, rows, columns), darkest 0 and brightest 1."""
    low, high = image.min(), image.max()
    scaled = (image - low) / (high - low).clamp(min=1e-6)
    return scaled.float().expand(3, *image.shape)


def marked(picture: Tensor, mask: Tensor) -> Tensor:
    """Return a picture with a mask in red."""
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(3, 1, 1)
    return torch.where(mask, 0.5 * picture + 0.5 * red, picture)
