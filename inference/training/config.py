"""Everything that decides how a training goes, in one frozen value that is stored with its checkpoint."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Settings of one training run.

    Attributes
    ----------
    features
        Channel counts of the network's levels.
    channels, labels
        Input channels and classes of the network, as in a model's manifest.
    loss
        Name of one of `inference.training.losses.LOSSES`.
    patches
        Edges of the cubic training patches in voxels of 1 mm, multiples of 16: each step draws one of them.
    batch_voxels
        Voxels a step, about: as many patches as fit. Every second patch is centred on a lesion, every fourth where
        the network erred lately.
    learning_rate, weight_decay
        Of AdamW; the rate rises over the first 5 % of the budget and falls as a cosine to 1 % of its peak.
    ema_decay
        Share of the old average kept at each step, once that many steps have been made.
    minutes
        Budget in minutes of computing; the schedule follows it unless ``steps`` is given.
    steps
        Budget in steps instead: on a pool that does not change (``workers`` = 0) a run that is interrupted and
        resumed repeats the uninterrupted one exactly.
    checkpoint_s
        Seconds between two checkpoints.
    pool_heads
        Synthetic heads kept on disk at any time; the oldest gives way to the newest.
    first_heads
        Training starts when this many heads are there.
    workers
        Processes that make heads; 0 trains on the heads that the pool already holds.
    worker_duty
        Share of the time that a worker works once the pool is full, 0 to 1; the rest of its core is left to others.
    threads
        Processor threads of the trainer.
    bf16
        Autocast to bfloat16 with the channels-last layout; on processors without avx512_bf16 it is very slow.
    seed
        Of weights, heads and patches.
    """

    features: tuple[int, ...] = (16, 16, 32, 64, 128, 16)
    channels: tuple[str, ...] = ("T1c", "prior_mask", "position_i", "position_j", "position_k")
    labels: tuple[str, ...] = ("background", "enhancing", "necrosis")
    loss: str = "dice_ce_component"
    patches: tuple[int, ...] = (48, 48, 64)
    batch_voxels: int = 450_000
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    ema_decay: float = 0.995
    minutes: float = 70.0
    steps: int | None = None
    checkpoint_s: float = 120.0
    pool_heads: int = 96
    first_heads: int = 8
    workers: int = 1
    worker_duty: float = 0.5
    threads: int = 1
    bf16: bool = False
    seed: int = 0
