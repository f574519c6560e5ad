"""A verdict in words, never without the numbers, the dates and the limits that belong to it."""

from tracking.response.course import Assessment, TargetSize
from tracking.response.rules import NewLesions, Overall, Sums

NOT_KNOWN = (
    "Imaging part of RANO-BM only, from findings that nobody has verified: corticosteroids, treatments and the clinical"
    " state are not known here."
)


def describe(assessment: Assessment) -> tuple[str, ...]:
    """Return the sentences that a report says of one verdict, the verdict first."""
    lines = [_verdict(assessment), *_targets(assessment), *_non_targets(assessment), _new(assessment)]
    lines += [f"Not evaluable: {reason}." for reason in assessment.inadequate]
    if assessment.earlier_progression:
        lines.append(f"Progression was first found on {assessment.earlier_progression}; the baseline is unchanged.")
    if assessment.earlier_complete_response and _has_returned(assessment):
        day = assessment.earlier_complete_response
        lines.append(f"Lesions have returned after the complete response of {day}; RECIST 1.1 calls that progression.")
    return (*lines, *_volumetric(assessment), NOT_KNOWN)


def _has_returned(assessment: Assessment) -> bool:
    """Tell whether lesions of the baseline are seen in a study that can be judged; new ones elsewhere do not count."""
    sums = (assessment.target_diameters, assessment.non_target_diameters)
    return not assessment.inadequate and any(one is not None and one.current > 0 for one in sums)


def _verdict(assessment: Assessment) -> str:
    days = assessment.criteria.confirmation_days
    confirmation = {
        None: "",
        True: f", confirmed after at least {days} days",
        False: f", unconfirmed until a study at least {days} days later shows it too",
    }[assessment.confirmed]
    return (
        f"RANO-BM on {assessment.day}: {assessment.overall.value}{confirmation}"
        f" (baseline {assessment.baseline_day}; targets: {assessment.target.value};"
        f" non-targets: {assessment.non_target.value}; new lesions: {assessment.new.value})."
    )


def _targets(assessment: Assessment) -> list[str]:
    sums = assessment.target_diameters
    if sums is None:
        return ["No target: no lesion was measurable at the baseline."]
    each = ", ".join(_target(target) for target in assessment.targets)
    return [
        f"Sum of longest diameters of {_count(len(assessment.targets))}: {_numbers(sums, 'mm', 1)}; smallest sum"
        f" before on {assessment.nadir_day}; largest increase of one since then {sums.largest_increase:+.1f} mm.",
        f"Targets (baseline, smallest, now): {each}.",
    ]


def _count(targets: int) -> str:
    return "1 target" if targets == 1 else f"{targets} targets"


def _target(target: TargetSize) -> str:
    now = "not shown" if target.current_mm is None else f"{target.current_mm:.1f} mm"
    return f"{' + '.join(target.tracking_ids)} {target.baseline_mm:.1f}, {target.nadir_mm:.1f}, {now}"


def _non_targets(assessment: Assessment) -> list[str]:
    sums = assessment.non_target_diameters
    if sums is None:
        return []
    return [
        f"Sum of longest diameters of the non-targets: {_numbers(sums, 'mm', 1)}; largest increase of one"
        f" {sums.largest_increase:+.1f} mm. Unequivocal progression is taken as 20 % and 5 mm, of the sum"
        " or of one lesion."
    ]


def _new(assessment: Assessment) -> str:
    certain, doubtful = assessment.new_lesions, assessment.lesions_to_confirm
    told = f"New lesions since the baseline: {', '.join(certain) or 'none'}"
    if doubtful:
        told += f"; to be confirmed by a further study: {', '.join(doubtful)}"
    if certain and assessment.new == NewLesions.TO_CONFIRM:
        reason = "on immunotherapy" if assessment.criteria.immunotherapy else "after an inadequate baseline"
        told += f". A new lesion alone is no progression {reason}; confirm by a further study"
    if assessment.overall == Overall.PD and assessment.criteria.immunotherapy:
        told += ". Progression on immunotherapy should be confirmed by a further study"
    return f"{told}."


def _volumetric(assessment: Assessment) -> list[str]:
    sums = assessment.target_volumes
    if sums is None:
        return []
    return [
        f"Volumetric companion, not part of RANO-BM (response at 65 % decrease, progression at 72.8 % increase):"
        f" {assessment.volumetric.value}; volume of the targets: {_numbers(sums, 'mm³', 0)}."
    ]


def _numbers(sums: Sums, unit: str, digits: int) -> str:
    missing = "" if sums.all_shown else " (without the lesions that are not shown)"
    return (
        f"{sums.baseline:.{digits}f} {unit} at the baseline, {sums.nadir:.{digits}f} {unit} at the smallest,"
        f" {sums.current:.{digits}f} {unit} now{missing}{_changes(sums)}"
    )


def _changes(sums: Sums) -> str:
    """Tell the changes of a complete sum; that of another would mislead."""
    if not sums.all_shown:
        return ""
    return (
        f" ({_percent(sums.change_from_baseline_percent)} from the baseline,"
        f" {_percent(sums.change_from_nadir_percent)} from the smallest)"
    )


def _percent(change: float | None) -> str:
    return "no ratio, as it was 0" if change is None else f"{change:+.1f} %"
