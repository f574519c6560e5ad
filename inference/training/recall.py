"""Recall of earlier visits as in NYUMets (Link et al., Nat Commun 2024): an STT learns from a patient's visits in turn.

The published network is trained as a whole. With ``memory_only`` a trained U-Net stays as it is and the cell alone
learns (`inference.networks.memory`): that is what a processor can do.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor, nn

from inference.networks.memory import freeze_all_but_memory
from inference.networks.stt import SpatioTemporalUNet
from inference.training.config import TrainingConfig
from inference.training.objectives import AT_ONCE, VALIDATION_SEED, dice, drawn_plan, fixed_plan, loss_of, side_by_side
from inference.training.pool import HeadPool
from inference.training.sequences import SequenceBatch, draw_sequences


@dataclass(kw_only=True, eq=False)
class RecallObjective:
    """Lesions are taught by their outlines at every visit of a patient, the earlier visits in memory.

    Attributes
    ----------
    config
        Settings.
    pool
        Heads to learn from, each with ``config.visits`` visits.
    validation
        Heads to be judged by, likewise; None: no judgement.
    """

    config: TrainingConfig
    pool: HeadPool
    validation: HeadPool | None = None

    def build_network(self) -> SpatioTemporalUNet:
        """Return an STT from input channels to classes."""
        config = self.config
        network = SpatioTemporalUNet(config.features, channels=len(config.channels), labels=len(config.labels))
        if config.memory_only:
            freeze_all_but_memory(network)
        return network

    def draw(self, generator: Generator) -> SequenceBatch:
        """Draw patches of one of the sizes at all visits."""
        return draw_sequences(self.pool, drawn_plan(self.config, generator), generator=generator)

    def loss(self, network: nn.Module, batch: SequenceBatch) -> tuple[Tensor, dict[str, float]]:
        """Return the mean loss of all visits, and the Dice of the newest."""
        logits, _ = network(batch.images, every_timepoint=True)
        newest = logits[:, -1].detach()
        return self._loss(logits, batch), {"dice": dice([(newest, batch.visits[-1])], self.config.labels)}

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the mean loss of all visits and the Dice of the newest, of the fixed patches together."""
        if not self._fixed:
            return {}
        losses, newest = [], []
        for batch in self._fixed:
            logits = self._answer(network, batch)
            losses.append(self._loss(logits, batch))
            newest.append((logits[:, -1], batch.visits[-1]))
        return {"loss": float(torch.stack(losses).mean()), "dice": dice(newest, self.config.labels)}

    def picture(self, network: nn.Module) -> Tensor | None:
        """Return a slice of the newest visit: as it is, with the truth, and with the answer."""
        if not self._fixed:
            return None
        batch = self._fixed[0]
        return side_by_side(batch.visits[-1], self._answer(network, batch)[:, -1], self.config.labels)

    @property
    def finished(self) -> bool:
        """It ends with its budget."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: no step changes it."""
        return {}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over nothing."""

    @cached_property
    def _fixed(self) -> list[SequenceBatch]:
        return list(self._fixed_batches())

    def _fixed_batches(self) -> Iterator[SequenceBatch]:
        if self.validation is None or not self.validation.paths():
            return
        config, generator = self.config, Generator().manual_seed(VALIDATION_SEED)
        plan = fixed_plan(config)
        for _ in range(0, config.validation_patches, AT_ONCE):
            yield draw_sequences(self.validation, plan, generator=generator)

    def _answer(self, network: nn.Module, batch: SequenceBatch) -> Tensor:
        device = next(network.parameters()).device
        logits, _ = network(batch.images.to(device), every_timepoint=True)
        answer: Tensor = logits.float().cpu()
        return answer

    def _loss(self, logits: Tensor, batch: SequenceBatch) -> Tensor:
        losses = [loss_of(self.config, logits[:, number], visit) for number, visit in enumerate(batch.visits)]
        return torch.stack(losses).mean()
