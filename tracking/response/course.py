"""RANO-BM over a patient's visits: targets chosen once at the baseline, sums, nadir, new lesions and confirmation.

Every verdict is a pure function of the visits and the criteria, so the same visits always give the same verdicts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from tracking.history import Groups, diameter_mm, history_of, volume_mm3
from tracking.response.rules import (
    NewLesions,
    NonTargetStatus,
    Overall,
    Sums,
    TargetStatus,
    is_longer,
    non_target_status,
    overall_response,
    target_status,
    volumetric_status,
)
from tracking.response.sizes import Course, Sizes, faults_of, sizes_of
from tracking.response.targets import Criteria, choose_targets, given_targets
from tracking.visit import Presence, Sighting, Visit

RESPONSES = (Overall.CR, Overall.PR)
LEAST_PLANES = 2


@dataclass(frozen=True, kw_only=True)
class TargetSize:
    """Longest diameter of one target, or of several lesions that have become one.

    Attributes
    ----------
    tracking_ids
        Its identity, and those of the baseline lesions that are part of it now; their earlier diameters are added up.
    baseline_mm, nadir_mm, current_mm
        At the baseline, at the visit with the smallest sum of all targets, and now: 0 if gone, None if not shown.
    """

    tracking_ids: tuple[str, ...]
    baseline_mm: float
    nadir_mm: float
    current_mm: float | None


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """Verdict of one visit, with every number it rests on.

    Attributes
    ----------
    day, baseline_day, nadir_day
        Dates of this visit, of the baseline, and of the visit with the smallest sum of target diameters before this one
        (None without targets).
    overall, confirmed
        The verdict; ``confirmed`` tells of a response whether it has lasted long enough, of all else None.
    target, targets, target_diameters
        State of the targets, their sizes and sums (None without targets).
    non_target, non_target_diameters
        State and sums of the other lesions of the baseline (None if there are none).
    new, new_lesions, lesions_to_confirm
        New since the baseline and present now: tracking IDs of those that count, and of those to be confirmed.
    volumetric, target_volumes
        The volumetric companion, which is not RANO-BM: the targets judged by their volume.
    inadequate
        Why this visit or the baseline cannot be judged.
    earlier_progression
        Date of the first progression before this visit.
    earlier_complete_response
        Date of the last complete response before this visit.
    criteria
        The options used.
    """

    day: date
    baseline_day: date
    nadir_day: date | None
    overall: Overall
    confirmed: bool | None = None
    target: TargetStatus
    targets: tuple[TargetSize, ...]
    target_diameters: Sums | None
    non_target: NonTargetStatus
    non_target_diameters: Sums | None
    new: NewLesions
    new_lesions: tuple[str, ...]
    lesions_to_confirm: tuple[str, ...]
    volumetric: TargetStatus
    target_volumes: Sums | None
    inadequate: tuple[str, ...] = ()
    earlier_progression: date | None = None
    earlier_complete_response: date | None = None
    criteria: Criteria


def assess_course(
    visits: Sequence[Visit], criteria: Criteria | None = None, *, targets: Sequence[str] | None = None
) -> tuple[Assessment, ...]:
    """Judge every visit after the baseline.

    Parameters
    ----------
    visits
        Of one patient, the earliest of them the baseline. To start anew after a change of treatment, pass the visits
        from then on.
    criteria
        Options; the defaults of RANO-BM when None.
    targets
        Tracking UIDs of targets that a reader has chosen at the baseline; None: the largest measurable lesions.

    Returns
    -------
    tuple of Assessment
        One for each visit but the first, in order of date.

    Raises
    ------
    ValueError
        If two visits have one date, or a chosen target is not present at the baseline.
    """
    history, options = history_of(visits), criteria or Criteria()
    if not history.visits:
        return ()
    baseline = history.visits[0]
    course = Course(
        history=history,
        criteria=options,
        targets=choose_targets(baseline, options) if targets is None else given_targets(baseline, targets),
        faults=tuple(faults_of(visit, options) for visit in history.visits),
    )
    return _with_earlier_verdicts([_assess(course, number) for number in range(1, len(history.visits))])


def _assess(course: Course, number: int) -> Assessment:
    """Judge one visit by itself; what needs the other verdicts is added by `_with_earlier_verdicts`."""
    groups, others = course.groups(number)
    targets = sizes_of(course, number, groups, diameter_mm)
    volumes = sizes_of(course, number, groups, volume_mm3)
    non_targets = sizes_of(course, number, others, diameter_mm)
    new, to_confirm = _new_lesions(course, number)
    assessment = Assessment(
        day=course.history.visits[number].day,
        baseline_day=course.history.visits[0].day,
        nadir_day=course.history.visits[targets.nadir].day if targets else None,
        overall=Overall.NE,
        target=target_status(_sums(targets)),
        targets=_target_sizes(course, groups, targets) if targets else (),
        target_diameters=_sums(targets),
        non_target=non_target_status(_sums(non_targets)),
        non_target_diameters=_sums(non_targets),
        new=_new_status(course, number, new, to_confirm),
        new_lesions=tuple(one.tracking_id for one in new),
        lesions_to_confirm=tuple(one.tracking_id for one in to_confirm),
        volumetric=volumetric_status(_sums(volumes)),
        target_volumes=_sums(volumes),
        criteria=course.criteria,
    )
    assessment = _without_judging_sizes(course, number, assessment)
    overall = overall_response(assessment.target, assessment.non_target, assessment.new)
    return replace(assessment, overall=overall)


def _sums(sizes: Sizes | None) -> Sums | None:
    return sizes.sums() if sizes else None


def _without_judging_sizes(course: Course, number: int, assessment: Assessment) -> Assessment:
    """Take back what rests on an inadequate study; a new lesion remains one, if the baseline can be trusted."""
    baseline = tuple(f"baseline: {fault}" for fault in course.faults[0])
    inadequate = (*baseline, *course.faults[number])
    if not inadequate:
        return assessment
    doubted = baseline and assessment.new == NewLesions.DEFINITE
    return replace(
        assessment,
        target=TargetStatus.NOT_EVALUABLE,
        non_target=NonTargetStatus.NOT_EVALUABLE,
        volumetric=TargetStatus.NOT_EVALUABLE,
        new=NewLesions.TO_CONFIRM if doubted else assessment.new,
        inadequate=inadequate,
    )


def _target_sizes(course: Course, groups: Groups, sizes: Sizes) -> tuple[TargetSize, ...]:
    names = {one.tracking_uid: one.tracking_id for one in course.history.visits[0].present}
    return tuple(
        TargetSize(
            tracking_ids=tuple(names[uid] for uid in uids),
            baseline_mm=sizes.by_visit[0][host] or 0.0,
            nadir_mm=sizes.by_visit[sizes.nadir][host] or 0.0,
            current_mm=sizes.by_visit[-1][host],
        )
        for host, uids in groups.items()
    )


def _new_lesions(course: Course, number: int) -> tuple[list[Sighting], list[Sighting]]:
    """Return what is present now and was not at the baseline: definite lesions, and those to be confirmed."""
    known = {one.tracking_uid for one in course.history.visits[0].present}
    fresh = [one for one in course.history.visits[number].present if one.tracking_uid not in known]
    definite = [one for one in fresh if _is_definite(course, number, one)]
    return definite, [one for one in fresh if one not in definite]


def _is_definite(course: Course, number: int, lesion: Sighting) -> bool:
    """Tell whether a lesion is surely one, seen in two planes as RANO-BM asks, and surely not older, or has grown."""
    sure = lesion.certain and lesion.plane_count >= LEAST_PLANES
    onset_known = course.history.onset_known(number, lesion.tracking_uid)
    return sure and (onset_known or _has_grown(course, number, lesion))


def _has_grown(course: Course, number: int, lesion: Sighting) -> bool:
    """Tell whether a lesion that was not at the baseline has progressed since it was first seen."""
    earlier = [visit.of(lesion.tracking_uid) for visit in course.history.visits[:number]]
    sizes_mm = [one.longest_diameter_mm for one in earlier if one is not None and one.presence == Presence.PRESENT]
    return bool(sizes_mm) and is_longer(min(sizes_mm), lesion.longest_diameter_mm)


def _new_status(course: Course, number: int, new: Sequence[Sighting], to_confirm: Sequence[Sighting]) -> NewLesions:
    counted = [one for one in new if not course.criteria.immunotherapy or _has_grown(course, number, one)]
    if counted:
        return NewLesions.DEFINITE
    return NewLesions.TO_CONFIRM if new or to_confirm else NewLesions.NONE


def _with_earlier_verdicts(assessments: Sequence[Assessment]) -> tuple[Assessment, ...]:
    judged: list[Assessment] = []
    for number, one in enumerate(assessments):
        progression = next((earlier.day for earlier in judged if earlier.overall == Overall.PD), None)
        complete = next((earlier.day for earlier in reversed(judged) if earlier.overall == Overall.CR), None)
        confirmed = _has_lasted(assessments[:number], one) if one.overall in RESPONSES else None
        judged.append(
            replace(one, confirmed=confirmed, earlier_progression=progression, earlier_complete_response=complete)
        )
    return tuple(judged)


def _has_lasted(earlier: Sequence[Assessment], one: Assessment) -> bool:
    """Tell whether the same response was there long enough before; what could not be evaluated does not break it.

    A partial response after a complete one is no lasting response: something has returned.
    """
    for before in reversed(earlier):
        if before.overall == Overall.NE:
            continue
        if before.overall != one.overall:
            return False
        if (one.day - before.day).days >= one.criteria.confirmation_days:
            return True
    return False
