"""Targets are chosen once, at the baseline, and stay the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from tracking.response.rules import measurability
from tracking.visit import Visit


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """Options of RANO-BM.

    Attributes
    ----------
    immunotherapy
        A new lesion alone is then no progression, but has to be confirmed.
    small_lesions
        Lesions of 5 to 10 mm may be targets on slices of at most 1.5 mm.
    most_targets
        How many targets are chosen.
    confirmation_days
        A response holds once a study at least so many days later still shows it.
    thickest_slices_mm
        Sizes on slices farther apart are not judged.
    """

    immunotherapy: bool = False
    small_lesions: bool = False
    most_targets: int = 5
    confirmation_days: int = 28
    thickest_slices_mm: float = 5.0


def choose_targets(baseline: Visit, criteria: Criteria) -> tuple[str, ...]:
    """Return the tracking UIDs of the targets: measurable lesions, certain ones first, then the longest."""
    measurable = [
        lesion
        for lesion in baseline.present
        if measurability(
            lesion.longest_diameter_mm,
            lesion.perpendicular_diameter_mm,
            slice_count=lesion.slice_count,
            slice_spacing_mm=baseline.slice_spacing_mm,
            small_lesions=criteria.small_lesions,
        ).measurable
    ]
    ranked = sorted(measurable, key=lambda one: (not one.certain, -one.longest_diameter_mm, one.tracking_uid))
    return tuple(lesion.tracking_uid for lesion in ranked[: criteria.most_targets])


def given_targets(baseline: Visit, targets: Sequence[str]) -> tuple[str, ...]:
    """Return the targets that a reader has chosen.

    Raises
    ------
    ValueError
        If one of them is not present at the baseline.
    """
    missing = set(targets) - {lesion.tracking_uid for lesion in baseline.present}
    if missing:
        raise ValueError(f"Targets {sorted(missing)} are not present at the baseline of {baseline.day}; choose others.")
    return tuple(targets)
