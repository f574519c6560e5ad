"""The decision table of RANO-BM's imaging part: each function sees numbers of one visit, and nothing else.

Where RANO-BM leaves a cell open (parts not evaluated, no targets), RECIST 1.1 decides (Eisenhauer et al., Eur J Cancer
2009, tables 1 to 3), on which RANO-BM is built.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

LEAST_LONGEST_MM = 10.0
LEAST_LONGEST_SMALL_MM = 5.0  # as an option, on thin slices only
LEAST_PERPENDICULAR_MM = 5.0
LEAST_SLICES = 2
THICKEST_SLICES_MM = 5.0
THIN_SLICES_MM = 1.5

RESPONSE_FACTOR = 0.70  # of the baseline sum of diameters
PROGRESSION_FACTOR = 1.20  # of the smallest sum so far
PROGRESSION_MM = 5.0  # of one lesion
VOLUME_RESPONSE_FACTOR = 0.35  # of the baseline volume
VOLUME_PROGRESSION_FACTOR = 1.728  # of the smallest volume so far: 1.2 cubed

ROUNDING = 1e-9


class TargetStatus(StrEnum):
    """State of the target lesions."""

    COMPLETE = "complete response"
    PARTIAL = "partial response"
    STABLE = "stable disease"
    PROGRESSIVE = "progressive disease"
    NOT_EVALUABLE = "not evaluable"
    NONE = "no targets"


class NonTargetStatus(StrEnum):
    """State of the other lesions of the baseline."""

    NONE = "no non-targets"
    COMPLETE = "complete response"
    PRESENT = "neither complete response nor progression"
    PROGRESSIVE = "unequivocal progression"
    NOT_EVALUABLE = "not evaluable"


class NewLesions(StrEnum):
    """Lesions that the baseline did not have."""

    NONE = "none"
    TO_CONFIRM = "to be confirmed"  # not sure, or on immunotherapy
    DEFINITE = "new lesions"


class Overall(StrEnum):
    """Verdict of one visit."""

    CR = "complete response"
    PR = "partial response"
    SD = "stable disease"
    PD = "progressive disease"
    NON_CR_NON_PD = "neither complete response nor progression"  # without targets nothing else can be said
    NE = "not evaluable"
    NO_DISEASE = "no disease"


_CR, _PR, _SD, _PD, _NE = Overall.CR, Overall.PR, Overall.SD, Overall.PD, Overall.NE
_NN, _ND = Overall.NON_CR_NON_PD, Overall.NO_DISEASE

# Rows: targets. Columns: non-targets in the order of `NonTargetStatus`: none, complete, present, progressive, not
# evaluable.
WITHOUT_NEW: Mapping[TargetStatus, tuple[Overall, ...]] = {
    TargetStatus.COMPLETE: (_CR, _CR, _PR, _PD, _PR),
    TargetStatus.PARTIAL: (_PR, _PR, _PR, _PD, _PR),
    TargetStatus.STABLE: (_SD, _SD, _SD, _PD, _SD),
    TargetStatus.PROGRESSIVE: (_PD, _PD, _PD, _PD, _PD),
    TargetStatus.NOT_EVALUABLE: (_NE, _NE, _NE, _PD, _NE),
    TargetStatus.NONE: (_ND, _CR, _NN, _PD, _NE),
}
# A response needs "no new lesion", which cannot be said; progression needs a definite one.
WITH_NEW_TO_CONFIRM: Mapping[TargetStatus, tuple[Overall, ...]] = {
    TargetStatus.COMPLETE: (_SD, _SD, _SD, _PD, _SD),
    TargetStatus.PARTIAL: (_SD, _SD, _SD, _PD, _SD),
    TargetStatus.STABLE: (_SD, _SD, _SD, _PD, _SD),
    TargetStatus.PROGRESSIVE: (_PD, _PD, _PD, _PD, _PD),
    TargetStatus.NOT_EVALUABLE: (_NE, _NE, _NE, _PD, _NE),
    TargetStatus.NONE: (_NE, _NN, _NN, _PD, _NE),
}


def overall_response(target: TargetStatus, non_target: NonTargetStatus, new: NewLesions) -> Overall:
    """Look up the verdict of one visit, before any confirmation."""
    if new == NewLesions.DEFINITE:
        return Overall.PD
    table = WITHOUT_NEW if new == NewLesions.NONE else WITH_NEW_TO_CONFIRM
    return table[target][list(NonTargetStatus).index(non_target)]


@dataclass(frozen=True, kw_only=True)
class Measurability:
    """Whether a lesion can be a target.

    Attributes
    ----------
    reasons
        Why not, one sentence each; empty when it is measurable.
    """

    reasons: tuple[str, ...]

    @property
    def measurable(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons


def measurability(
    longest_mm: float,
    perpendicular_mm: float,
    *,
    slice_count: int,
    slice_spacing_mm: float,
    small_lesions: bool = False,
) -> Measurability:
    """Decide whether a lesion is measurable, and say why not.

    Parameters
    ----------
    longest_mm, perpendicular_mm
        Axes in the image plane.
    slice_count
        Slices on which the lesion is seen.
    slice_spacing_mm
        Distance between slices.
    small_lesions
        Accept a longest diameter of 5 to 10 mm on slices of at most 1.5 mm, which RANO-BM allows as an option.
    """
    thin = small_lesions and slice_spacing_mm <= THIN_SLICES_MM
    least_mm = LEAST_LONGEST_SMALL_MM if thin else LEAST_LONGEST_MM
    checks = (
        (longest_mm >= least_mm, f"longest diameter {longest_mm:.1f} mm is below {least_mm:g} mm"),
        (
            perpendicular_mm >= LEAST_PERPENDICULAR_MM,
            f"perpendicular diameter {perpendicular_mm:.1f} mm is below {LEAST_PERPENDICULAR_MM:g} mm",
        ),
        (slice_count >= LEAST_SLICES, f"seen on {slice_count} of the {LEAST_SLICES} slices that are needed"),
        (
            slice_spacing_mm <= THICKEST_SLICES_MM,
            f"slices are {slice_spacing_mm:g} mm apart, more than {THICKEST_SLICES_MM:g} mm",
        ),
    )
    return Measurability(reasons=tuple(reason for passed, reason in checks if not passed))


@dataclass(frozen=True, kw_only=True)
class Sums:
    """The same lesions at baseline, at their smallest, and now.

    Attributes
    ----------
    baseline, nadir, current
        Sum over the lesions: of longest diameters in mm, or of volumes in mm³. The nadir is the smallest complete sum
        of all earlier visits, the baseline among them. The current sum leaves out what is not shown.
    largest_increase
        Of one lesion, from the visit of the nadir to now; negative if all have shrunk.
    one_has_grown
        Whether one lesion by itself is 20 % and 5 mm longer than at its smallest; for diameters.
    all_shown
        Whether the images show the place of each of the lesions.
    """

    baseline: float
    nadir: float
    current: float
    largest_increase: float
    one_has_grown: bool = False
    all_shown: bool = True

    @property
    def change_from_baseline_percent(self) -> float | None:
        """None when the baseline sum is 0."""
        return 100 * (self.current / self.baseline - 1) if self.baseline else None

    @property
    def change_from_nadir_percent(self) -> float | None:
        """None when the smallest sum is 0."""
        return 100 * (self.current / self.nadir - 1) if self.nadir else None

    def has_grown(self) -> bool:
        """Whether diameters are 20 % above their smallest sum and one is 5 mm longer; what is not shown only adds."""
        return (
            self.current >= PROGRESSION_FACTOR * self.nadir - ROUNDING
            and self.largest_increase >= PROGRESSION_MM - ROUNDING
        )


def is_longer(smallest_mm: float, current_mm: float) -> bool:
    """Return whether one diameter has grown by 20 % and 5 mm."""
    longer_mm = current_mm - smallest_mm
    return current_mm >= PROGRESSION_FACTOR * smallest_mm - ROUNDING and longer_mm >= PROGRESSION_MM - ROUNDING


def target_status(diameters: Sums | None) -> TargetStatus:
    """Judge the target lesions by the sum of their longest diameters; None: there are no targets."""
    if diameters is None:
        return TargetStatus.NONE
    if diameters.has_grown():
        return TargetStatus.PROGRESSIVE
    return _without_growth(diameters, RESPONSE_FACTOR)


def volumetric_status(volumes: Sums | None) -> TargetStatus:
    """Judge the target lesions by the sum of their volumes: a companion of RANO-BM, to be labelled as such."""
    if volumes is None:
        return TargetStatus.NONE
    if volumes.current > 0 and volumes.current >= VOLUME_PROGRESSION_FACTOR * volumes.nadir - ROUNDING:
        return TargetStatus.PROGRESSIVE
    return _without_growth(volumes, VOLUME_RESPONSE_FACTOR)


def _without_growth(sums: Sums, response_factor: float) -> TargetStatus:
    if not sums.all_shown:
        return TargetStatus.NOT_EVALUABLE
    if sums.current == 0:
        return TargetStatus.COMPLETE
    return TargetStatus.PARTIAL if sums.current <= response_factor * sums.baseline + ROUNDING else TargetStatus.STABLE


def non_target_status(diameters: Sums | None) -> NonTargetStatus:
    """Judge the other lesions of the baseline; None: there are none.

    RANO-BM leaves "unequivocal" to the reader. Here it is what would be progression of targets, 20 % and 5 mm, of the
    sum or of one lesion by itself: many others that are stable must not hide it.
    """
    if diameters is None:
        return NonTargetStatus.NONE
    if diameters.has_grown() or diameters.one_has_grown:
        return NonTargetStatus.PROGRESSIVE
    if not diameters.all_shown:
        return NonTargetStatus.NOT_EVALUABLE
    return NonTargetStatus.PRESENT if diameters.current > 0 else NonTargetStatus.COMPLETE
