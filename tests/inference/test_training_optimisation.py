"""Schedules and number formats. Which format is fastest is measured on each machine, so no test expects one."""

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

from inference.training.config import TrainingConfig
from inference.training.optimisation import autocast, build_optimiser, chosen_precision, rate_factor

CPU = torch.device("cpu")


def test_cosine_rises_then_falls_to_a_hundredth() -> None:
    assert rate_factor("cosine", 0.0) == pytest.approx(0.02)
    assert rate_factor("cosine", 0.025) == pytest.approx(0.5)
    assert rate_factor("cosine", 0.05) == pytest.approx(1)
    assert rate_factor("cosine", 0.525) == pytest.approx(0.505)
    assert rate_factor("cosine", 1.0) == pytest.approx(0.01)


def test_poly_falls_as_in_nnunet_and_constant_stays() -> None:
    assert rate_factor("poly", 0.0) == 1
    assert rate_factor("poly", 0.5) == pytest.approx(0.5**0.9)
    assert rate_factor("poly", 1.0) == 0
    assert rate_factor("constant", 0.7) == 1


@pytest.mark.parametrize(("name", "kind"), [("adamw", AdamW), ("adam", Adam), ("sgd", SGD)])
def test_optimiser_is_the_one_named_with_its_settings(name: str, kind: type) -> None:
    config = TrainingConfig(optimiser=name, learning_rate=0.3, weight_decay=0.2, momentum=0.8)  # type: ignore[arg-type]
    optimiser = build_optimiser(config, nn.Linear(1, 1).parameters())
    assert type(optimiser) is kind
    assert (optimiser.defaults["lr"], optimiser.defaults["weight_decay"]) == (0.3, 0.2)
    if kind is SGD:
        assert (optimiser.defaults["momentum"], optimiser.defaults["nesterov"]) == (0.8, True)


def test_networks_compute_in_the_format_asked_for() -> None:
    line, numbers = nn.Linear(2, 2), torch.ones(1, 2)
    for precision, wanted in (
        ("float32", torch.float32),
        ("auto", torch.float32),
        ("bfloat16", torch.bfloat16),
        ("float16", torch.float16),
    ):
        with autocast(precision, CPU):  # type: ignore[arg-type]  # names of the formats
            assert line(numbers).dtype == wanted


def test_a_format_that_was_asked_for_is_not_questioned() -> None:
    assert chosen_precision("float16", threads=1) == "float16"


@pytest.mark.slow
def test_a_format_is_chosen_by_measuring() -> None:
    assert chosen_precision("auto", threads=1) in {"float32", "bfloat16"}
