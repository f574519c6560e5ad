"""From a model's outputs to tissues: classes exclude each other, regions lie in one another like shells."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.adapters.manifest import PluginError
from inference.labels import LESION
from tracking.timepoint import Tissue

Tissues = frozenset[Tissue]


@dataclass(frozen=True, kw_only=True)
class TissueRule:
    """How one tissue follows from the outputs: the sum of some less the sum of those that lie within.

    Attributes
    ----------
    tissue
        What it gives; ``ENHANCING`` stands for the whole lesion where necrosis is not told apart.
    add, subtract
        Outputs of the model.
    """

    tissue: Tissue
    add: tuple[int, ...]
    subtract: tuple[int, ...] = ()

    def apply(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the tissue's probability (i, j, k) from those of the outputs (outputs, i, j, k)."""
        total = outputs[list(self.add)].sum(axis=0) - outputs[list(self.subtract)].sum(axis=0)
        return np.asarray(np.clip(total, 0, 1), np.float32)


def tissue_rules(outputs: Mapping[int, tuple[Tissue, ...]], *, exclusive: bool) -> tuple[TissueRule, ...]:
    """Work out how each tissue follows from a model's outputs.

    Parameters
    ----------
    outputs
        Tissues by output; none: background.
    exclusive
        The outputs are classes of which a voxel has one (softmax), not regions (sigmoid).

    Returns
    -------
    tuple of TissueRule
        One for each tissue that the model knows.

    Raises
    ------
    PluginError
        If a tissue cannot be had from these outputs: regions overlap in part, classes overlap at all, or edema is
        nowhere told from tumour.
    """
    groups = {frozenset(tissues): [o for o, t in outputs.items() if t == tissues] for tissues in outputs.values()}
    groups.pop(frozenset(), None)
    _check_overlaps(groups, exclusive=exclusive)
    rules = [_rule(region, groups) for region in sorted(groups, key=lambda region: (len(region), sorted(region)))]
    return tuple(rule for rule in rules if rule is not None)


def apply_rules(rules: Iterable[TissueRule], outputs: NDArray[np.float32]) -> dict[Tissue, NDArray[np.float32]]:
    """Return the probability of each tissue (i, j, k) from those of the outputs (outputs, i, j, k).

    Raises
    ------
    PluginError
        If the outputs are no numbers.
    """
    if not np.isfinite(outputs).all():
        raise PluginError("the model's answer holds values that are no numbers: check its weights and its channels")
    return {rule.tissue: rule.apply(outputs) for rule in rules}


def _rule(region: Tissues, groups: Mapping[Tissues, list[int]]) -> TissueRule | None:
    """Return what a region says beyond the regions within it, or None if it says nothing more."""
    within = [other for other in groups if other < region]
    largest = [inner for inner in within if not any(inner < other for other in within)]
    rest = region.difference(*largest)
    if not rest:
        return None
    if len(rest) > 1 and rest != LESION:
        mixed = ", ".join(tissue.name.lower() for tissue in sorted(rest))
        raise PluginError(
            f"the model's labels do not tell {mixed} from one another: name a label for edema or for the lesion"
        )
    subtract = tuple(output for inner in largest for output in groups[inner])
    return TissueRule(tissue=min(rest), add=tuple(groups[region]), subtract=subtract)


def _check_overlaps(groups: Mapping[Tissues, list[int]], *, exclusive: bool) -> None:
    for one in groups:
        for other in groups:
            apart = one == other or not one & other
            if not apart and (exclusive or not (one < other or other < one)):
                names = " and ".join(repr([t.name.lower() for t in sorted(region)]) for region in (one, other))
                raise PluginError(
                    f"the model's labels {names} overlap: classes must be apart, and regions apart or one in the other"
                )
