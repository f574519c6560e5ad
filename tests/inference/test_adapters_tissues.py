"""From outputs to tissues: classes, nested regions, and what cannot be told."""

import numpy as np
import pytest

from inference.adapters.manifest import PluginError
from inference.adapters.tissues import apply_rules, tissue_rules
from tracking.timepoint import Tissue

E, N, D = Tissue.ENHANCING, Tissue.NECROSIS, Tissue.EDEMA


def told(outputs: dict[int, tuple[Tissue, ...]], probabilities: list[float], *, exclusive: bool) -> dict[Tissue, float]:
    """Tissues of one voxel."""
    array = np.array(probabilities, np.float32)[:, None, None, None]
    rules = tissue_rules(outputs, exclusive=exclusive)
    return {tissue: float(value.item()) for tissue, value in apply_rules(rules, array).items()}


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ({1: (E,)}, {E: 0.2}),
        ({1: (E, N)}, {E: 0.2}),
        ({1: (N,), 2: (D,), 3: (E,)}, {N: 0.2, D: 0.3, E: 0.4}),
        ({1: (E,), 2: (), 3: (E,)}, {E: 0.6}),
        ({1: (E, N), 3: (D,)}, {E: 0.2, D: 0.4}),
    ],
    ids=["enhancing", "lesion", "BraTS order", "two labels of one tissue", "lesion and edema"],
)
def test_classes(outputs: dict[int, tuple[Tissue, ...]], expected: dict[Tissue, float]) -> None:
    assert told(outputs, [0.1, 0.2, 0.3, 0.4], exclusive=True) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ({0: (E, N, D), 1: (E, N), 2: (E,)}, {D: 0.2, N: 0.4, E: 0.3}),
        ({2: (E,), 0: (E, N, D), 1: (E, N)}, {D: 0.2, N: 0.4, E: 0.3}),
        ({0: (E, N, D), 1: (E, N)}, {D: 0.2, E: 0.7}),
        ({0: (E, N, D), 1: (E, N), 2: (D,)}, {D: 0.3, E: 0.7}),
        ({1: (E,), 2: (D,)}, {E: 0.7, D: 0.3}),
        ({0: (E, N, D), 2: (D,)}, {E: 0.6, D: 0.3}),
    ],
    ids=["BraTS regions", "in any order", "AURORA", "whole says nothing more", "apart", "whole less edema"],
)
def test_regions(outputs: dict[int, tuple[Tissue, ...]], expected: dict[Tissue, float]) -> None:
    assert told(outputs, [0.9, 0.7, 0.3], exclusive=False) == pytest.approx(expected)


def test_regions_that_contradict_each_other_stay_probabilities() -> None:
    assert told({0: (E, N), 1: (E,)}, [0.2, 0.6], exclusive=False) == pytest.approx({E: 0.6, N: 0.0})


@pytest.mark.parametrize(
    ("outputs", "exclusive", "message"),
    [
        ({0: (E, N), 1: (N, D)}, False, "overlap"),
        ({1: (E, N), 2: (E,)}, True, "overlap"),
        ({0: (E, N, D)}, False, "do not tell enhancing, necrosis, edema from one another"),
        ({0: (E, N, D), 1: (N,)}, False, "do not tell enhancing, edema"),
    ],
)
def test_what_cannot_be_told_is_refused(outputs: dict[int, tuple[Tissue, ...]], exclusive: bool, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        tissue_rules(outputs, exclusive=exclusive)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_answers_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(PluginError, match="no numbers"):
        told({0: (E,)}, [value], exclusive=False)
