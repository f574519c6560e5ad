"""Optimisers, schedules and number formats by the names that settings give them."""

import math
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from inference.networks.unet import build_unet
from inference.training.config import OptimiserName, Precision, ScheduleName, TrainingConfig

WARM_UP = 0.05
FIRST_FACTOR = 0.02
LAST_FACTOR = 0.01
POLY_POWER = 0.9
PROBE_EDGE = 32
PROBES = 3
HALVES: Final[dict[Precision, torch.dtype]] = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def build_optimiser(config: TrainingConfig, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Return the optimiser of a training."""
    rate, decay = config.learning_rate, config.weight_decay
    builders: dict[OptimiserName, Callable[[], Optimizer]] = {
        "adamw": lambda: AdamW(parameters, lr=rate, weight_decay=decay),
        "adam": lambda: Adam(parameters, lr=rate, weight_decay=decay),
        "sgd": lambda: SGD(parameters, lr=rate, weight_decay=decay, momentum=config.momentum, nesterov=True),
    }
    return builders[config.optimiser]()


def rate_factor(schedule: ScheduleName, done: float) -> float:
    """Return the learning rate's factor at a share ``done`` of the budget, 0 to 1; see `TrainingConfig.schedule`."""
    if schedule == "constant":
        return 1.0
    if schedule == "poly":
        return float((1 - done) ** POLY_POWER)
    if done < WARM_UP:
        return max(done / WARM_UP, FIRST_FACTOR)
    return LAST_FACTOR + (1 - LAST_FACTOR) * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the block in which networks compute in this format; ``auto`` that was not chosen yet is float32."""
    return torch.autocast(device.type, HALVES[precision]) if precision in HALVES else nullcontext()


def chosen_precision(precision: Precision, *, threads: int) -> Precision:
    """Return the format to compute in: as asked for, or the fastest that is safe here."""
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    torch.set_num_threads(threads)
    return "bfloat16" if _probe_s("bfloat16") < _probe_s("float32") else "float32"


def in_layout(network: nn.Module, precision: Precision) -> nn.Module:
    """Return the network with its weights laid out as its format computes fastest."""
    if precision not in HALVES:
        return network
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch forgot it
    return network


def _probe_s(precision: Precision) -> float:
    """Measure a step of a small network; bfloat16 is very slow on processors without avx512_bf16."""
    device = torch.device("cpu")
    network = in_layout(build_unet(TrainingConfig.features), precision)
    image = torch.randn(1, 1, PROBE_EDGE, PROBE_EDGE, PROBE_EDGE)
    times = []
    for _ in range(PROBES):
        started = time.perf_counter()
        with autocast(precision, device):
            logits = network(image)
        logits.float().mean().backward()
        times.append(time.perf_counter() - started)
    return min(times)
