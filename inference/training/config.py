"""Everything that decides how a training goes, in one frozen value that is stored with its checkpoint.

Files with settings (see `inference.training.settings`) have the attributes of `TrainingConfig` as keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from inference.inputs import check_channels
from inference.labels import check_labels
from inference.manifest import MOST_TIMEPOINTS, Activation, Normalisation
from inference.training.datasets.doors import door_and_folder
from inference.training.losses import LOSSES
from inference.windows import Size

ObjectiveName = Literal["supervised", "ssl", "recall"]
OptimiserName = Literal["adamw", "adam", "sgd"]
ScheduleName = Literal["cosine", "constant", "poly"]
LabelQuality = Literal["gold", "silver", "synthetic"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]

EDGE_STEP = 16
SMALLEST_EDGE = 32
# NT-Xent tells a patch from the others of its batch.
LEAST_CONTRASTED = 2


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Settings of one training.

    Attributes
    ----------
    objective
        What is taught: ``supervised`` (lesions), ``ssl`` (self-supervision: damaged patches are restored and told
        apart, without any label) or ``recall`` (lesions at several visits of a patient, by a network with memory).
    pretrain
        Train with ``ssl`` first, for ``pretrain_steps`` at most, and start from what it learned.
    pretrain_steps
        Longest self-supervised training; it ends before when its validation gains no more, see ``patience``.
    initial
        Checkpoint of another training whose averaged weights a new one starts from.
    visits
        Visits of each head; more than one for ``recall``.
    memory_only
        For ``recall``: the U-Net of ``initial`` stays as it is, and the memory alone learns.
    features
        Channel counts of the network's five levels and of its last stage.
    activation, normalisation
        After each convolution, see `inference.networks.unet.build_unet`.
    channels, labels
        Input channels and classes of the network, as in a model's manifest.
    labelled
        Labelled data sets to learn from, each ``kind=folder`` with a kind of `inference.training.datasets.doors`.
    label_quality
        Least quality of labels that are learned from: ``gold`` (reviewed), ``silver``, or ``synthetic``. Only gold
        labels of metastases judge.
    synthetic_heads
        Learn from heads with synthetic lesions, beside the labelled data sets.
    loss
        Name of one of `inference.training.losses.LOSSES`.
    patches
        Training patches in voxels of 1 mm: each batch draws one of them. A number is the edge of a cube, three numbers
        are the edges along i, j and k (towards head, back and left), all of them multiples of 16. ``[128, 160, 112]``
        are three cubes, ``[[128, 160, 112]]`` is one box.
    batch
        Patches of a batch; None: as many as fit into ``batch_voxels``. Every second patch is centred on a lesion.
    batch_voxels
        Voxels of a batch, about, where ``batch`` is not given.
    accumulation
        Batches whose gradients are added up for one step.
    hard_mining
        Centre about every fourth patch where the network erred lately; ``recall`` draws its patches without that.
    optimiser
        ``adamw``, ``adam``, or ``sgd`` with Nesterov's momentum.
    learning_rate, weight_decay
        Of the optimiser, at the schedule's peak.
    momentum
        Of ``sgd``.
    schedule
        ``cosine`` rises over the first 5 % of the budget and falls as a cosine to 1 % of the peak, ``poly`` falls as
        (1 - share of the budget used)^0.9, ``constant`` stays.
    largest_gradient
        Norm to which longer gradients are cut.
    ema_decay
        Share of the old average of the weights that is kept at each step, once that many steps have been made; 0: the
        average is the network itself.
    steps
        Budget in steps. On a pool that does not change (``workers`` = 0), a run that is interrupted and resumed
        repeats the uninterrupted one exactly.
    epochs, epoch_steps
        Budget in epochs of so many steps, where ``steps`` is not given: synthetic heads have no end, so an epoch is a
        number of steps.
    minutes
        Budget in minutes of computing, where neither is given.
    validate_every
        Steps from one validation to the next; 0: never.
    validation_heads, validation_patches
        Number of held-out heads, and of the fixed patches from them.
    patience
        Validations without a gain after which ``ssl`` ends.
    folds
        Parts into which the patients are split; 0: all are trained on, and validation shows the heads of the centres
        that no training sees. A training that decides by its validation (``ssl``), or learns from labelled data sets
        and is judged, then sets every fifth patient aside.
    fold
        The part that validates, from 0; None: each in turn, one training after another.
    fold_seed
        The same patients and seed give the same parts.
    seed
        Of weights, heads and patches.
    seeds
        Number of trainings, one after another, with ``seed`` and those that follow it.
    checkpoint_s
        Seconds between two checkpoints.
    pool_heads
        Synthetic heads kept on disk at any time; the oldest gives way to the newest.
    first_heads
        Training starts when this many heads are there.
    workers
        Processes that make heads; 0: the trainer makes ``first_heads`` before it starts, and they stay.
    worker_duty
        Share of the time that a worker works once the pool is full, 0 to 1; the rest of its core is left to others.
    threads
        Processor threads of the trainer.
    precision
        ``float32``, or autocast to ``bfloat16`` or ``float16`` (with scaled gradients); ``auto``: bfloat16 on a GPU
        that has it (else float16), and on a processor where it is faster, which is measured.
    """

    objective: ObjectiveName = "supervised"
    pretrain: bool = False
    pretrain_steps: int = 2000
    initial: str | None = None
    visits: int = 1
    memory_only: bool = False
    features: tuple[int, ...] = (16, 16, 32, 64, 128, 16)
    activation: Activation = "leaky_relu"
    normalisation: Normalisation = "instance"
    channels: tuple[str, ...] = ("T1c", "prior_mask", "position_i", "position_j", "position_k")
    labels: tuple[str, ...] = ("background", "enhancing", "necrosis")
    labelled: tuple[str, ...] = ()
    label_quality: LabelQuality = "silver"
    synthetic_heads: bool = True
    loss: str = "dice_ce_regions"
    patches: tuple[int | Size, ...] = (48, 48, 64)
    batch: int | None = None
    batch_voxels: int = 450_000
    accumulation: int = 1
    hard_mining: bool = True
    optimiser: OptimiserName = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    momentum: float = 0.99
    schedule: ScheduleName = "cosine"
    largest_gradient: float = 5.0
    ema_decay: float = 0.995
    steps: int | None = None
    epochs: int | None = None
    epoch_steps: int = 250
    minutes: float = 70.0
    validate_every: int = 100
    validation_heads: int = 4
    validation_patches: int = 8
    patience: int = 5
    folds: int = 0
    fold: int | None = None
    fold_seed: int = 0
    seed: int = 0
    seeds: int = 1
    checkpoint_s: float = 120.0
    pool_heads: int = 96
    first_heads: int = 8
    workers: int = 1
    worker_duty: float = 0.5
    threads: int = 1
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        check_channels(self.channels)
        check_labels(self.labels)
        for text in self.labelled:
            door_and_folder(text)
        if not self.labelled and not self.synthetic_heads:
            raise ValueError("synthetic_heads = false leaves nothing to learn from: name a data set with labelled")
        if self.loss not in LOSSES:
            raise ValueError(f"loss {self.loss!r}: choose one of {', '.join(LOSSES)}")
        if not self.sizes or any(edge % EDGE_STEP or edge < SMALLEST_EDGE for size in self.sizes for edge in size):
            raise ValueError(f"patches {self.patches}: give edges of {SMALLEST_EDGE} or more, multiples of {EDGE_STEP}")
        if self.pretrain and (self.objective == "ssl" or self.initial is not None):
            raise ValueError("pretrain gives a supervised training its weights: leave out initial and objective = ssl")
        self._check_recall()
        self._check_numbers()
        if (self.objective == "ssl" or self.pretrain) and min(map(self.batch_of, self.sizes)) < LEAST_CONTRASTED:
            raise ValueError(
                f"patches {self.patches}: self-supervision tells the patches of a batch apart and needs "
                f"{LEAST_CONTRASTED} or more of them; raise batch or batch_voxels"
            )

    def _check_recall(self) -> None:
        recalls = self.objective == "recall"
        if recalls != (self.visits > 1) or self.visits > MOST_TIMEPOINTS:
            raise ValueError(
                f"visits {self.visits} with objective {self.objective}: recall takes 2 to {MOST_TIMEPOINTS} visits, "
                "every other objective 1"
            )
        if recalls and (self.activation, self.normalisation) != ("leaky_relu", "instance"):
            raise ValueError("the network of recall has leaky_relu and instance normalisation: give no others")
        if self.memory_only and not (recalls and self.initial):
            raise ValueError("memory_only keeps a trained U-Net as it is: give objective = recall and initial")

    def _check_numbers(self) -> None:
        for name in ("accumulation", "epoch_steps", "patience", "seeds", "first_heads", "threads", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} {getattr(self, name)}: give more than 0")
        for name in ("validate_every", "workers", "weight_decay", "pretrain_steps", "minutes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} {getattr(self, name)}: give 0 or more")
        if not 0 < self.worker_duty <= 1:
            raise ValueError(f"worker_duty {self.worker_duty}: give a share above 0, at most 1")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay {self.ema_decay}: give a share from 0, below 1")
        if self.first_heads > self.pool_heads:
            raise ValueError(
                f"first_heads {self.first_heads}: the pool keeps no more than pool_heads {self.pool_heads}"
            )
        if self.folds < 0 or self.folds == 1:
            raise ValueError(f"folds {self.folds}: give 0 or at least 2")
        if self.fold is not None and not 0 <= self.fold < self.folds:
            raise ValueError(
                f"fold {self.fold}: there are {self.folds} folds, counted from 0; set folds, or leave it out"
            )

    @property
    def total_steps(self) -> int | None:
        """Budget in steps; None where it is given in minutes."""
        if self.steps is not None:
            return self.steps
        return None if self.epochs is None else self.epochs * self.epoch_steps

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Edges (i, j, k) of the patches."""
        return tuple(map(size_of, self.patches))

    def batch_of(self, size: Size) -> int:
        """Return how many patches of this size make a batch, at as many visits as there are."""
        return self.batch or max(1, round(self.batch_voxels / self.visits / prod(size)))


def size_of(patch: int | Sequence[int]) -> Size:
    """Return the edges (i, j, k) of a patch as the settings say it: an edge of a cube, or all three."""
    i, j, k = (patch,) * 3 if isinstance(patch, int) else patch
    return i, j, k
