"""Which of two series of the same kind serves better: thin slices first, then coverage, matrix and recency."""

from dataclasses import dataclass
from typing import Final

from dicom_node.studies.physics import SeriesPhysics


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One way in which a series can be better, on a scale where small differences do not count."""

    words: str
    unit: str
    step: float
    larger_is_better: bool


CRITERIA: Final = (
    Criterion(words="its slices are thinner", unit="mm", step=0.5, larger_is_better=False),
    Criterion(words="it covers more of the head", unit="mm", step=20.0, larger_is_better=True),
    Criterion(words="its pixels are smaller", unit="mm", step=0.1, larger_is_better=False),
)
UNKNOWN_SPACING_MM = 99.0


def best_first(physics: SeriesPhysics) -> tuple[float, ...]:
    """Return a sort key: the best series of a role sorts first, the later of two equal ones before the earlier."""
    graded = [
        (-1 if one.larger_is_better else 1) * round(value / one.step)
        for one, value in zip(CRITERIA, _values(physics), strict=True)
    ]
    digits = "".join(c for c in physics.acquired if c.isdigit())
    return (*graded, -float(digits or 0))


def why_better(better: SeriesPhysics, worse: SeriesPhysics) -> str:
    """Say which criterion decided between two series, with both values."""
    for one, first, second in zip(CRITERIA, _values(better), _values(worse), strict=True):
        if round(first / one.step) != round(second / one.step):
            return f"{one.words} ({first:.3g} against {second:.3g} {one.unit})"
    return "it was acquired later" if better.acquired > worse.acquired else "both are alike"


def _values(physics: SeriesPhysics) -> tuple[float, float, float]:
    return (
        physics.slice_spacing_mm or UNKNOWN_SPACING_MM,
        physics.coverage_mm,
        physics.pixel_spacing_mm or UNKNOWN_SPACING_MM,
    )
