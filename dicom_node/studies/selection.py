"""Which series is what: physics in the header first, pixels second, names never as proof."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dicom_node.errors import NoUsableSeriesError
from dicom_node.studies.candidate import Candidate, examine
from dicom_node.studies.contrast_verdict import ContrastVerdict, judge_contrast
from dicom_node.studies.physics import Contrast, SeriesPhysics
from dicom_node.studies.ranking import best_first, why_better
from dicom_node.studies.study import Series, Study
from tracking.timepoint import MRSequence


@dataclass(frozen=True, kw_only=True)
class SeriesDecision:
    """Why a series is used, or why not.

    Attributes
    ----------
    series_uid, series_number, description
        As in the header; the description may be empty.
    role
        The sequence that it serves as; None when it is not used.
    reason
        One sentence for a person: the evidence for the role, or why the series is not used.
    """

    series_uid: str
    series_number: int | None
    description: str
    role: MRSequence | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What every series of a study is used for.

    Attributes
    ----------
    decisions
        One per series, in the order of the study.
    chosen
        The series of each role that is filled.
    physics
        How the chosen series were acquired; the contrast is the verdict of header and pixels together.
    remarks
        Doubts that the reader of the report is told.
    """

    decisions: tuple[SeriesDecision, ...]
    chosen: Mapping[MRSequence, Series]
    physics: Mapping[MRSequence, SeriesPhysics]
    remarks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """A candidate with the role that it could serve in, or the reason why in none."""

    candidate: Candidate
    role: MRSequence | None
    reason: str
    remark: str = ""
    certain: bool = True
    contrast: Contrast = Contrast.UNKNOWN


def select_series(study: Study) -> Selection:
    """Find T1c, T1, T2 and FLAIR among the series of a study.

    Headers decide the sequence. Whether contrast agent was given is decided by the header where it says so and by the
    pixels otherwise; pixels are also read to tell several T1-weighted series apart. Nothing is raised for a study that
    lacks a series: see `require_t1c`.
    """
    candidates = [examine(series) for series in study.series]
    t1_weighted = [one for one in candidates if not one.rejection and _may_be_t1(one)]
    verdicts = judge_contrast(t1_weighted)
    judged = [_judge(one, verdicts.get(one.series.series_uid)) for one in candidates]
    chosen: dict[MRSequence, _Judged] = {}
    for role in MRSequence:
        ranked = sorted((one for one in judged if one.role is role), key=_order)
        if ranked:
            chosen[role] = ranked[0]
    return Selection(
        decisions=tuple(_decision(one, chosen) for one in judged),
        chosen={role: one.candidate.series for role, one in chosen.items()},
        physics={role: _physics(one) for role, one in chosen.items()},
        remarks=tuple(one.remark for one in chosen.values() if one.remark),
    )


def require_t1c(selection: Selection) -> Series:
    """Return the T1c series.

    Raises
    ------
    NoUsableSeriesError
        There is none; the message gives the reason of every series.
    """
    series = selection.chosen.get(MRSequence.T1C)
    if series is not None:
        return series
    reasons = "; ".join(f"{_name(one)} {_why_not_t1c(one)}" for one in selection.decisions)
    raise NoUsableSeriesError(f"No series can serve as T1c: {reasons or 'the study has no series'}.")


def _may_be_t1(candidate: Candidate) -> bool:
    finding, hint = candidate.finding, candidate.hint
    if finding.sequence is MRSequence.T1:
        return True
    return finding.undecided and not hint.other_use and hint.sequence in {MRSequence.T1, None}


def _judge(candidate: Candidate, verdict: ContrastVerdict | None) -> _Judged:
    if candidate.rejection:
        return _Judged(candidate=candidate, role=None, reason=candidate.rejection)
    if verdict is None:
        return _judge_without_contrast(candidate)
    if verdict.defect:
        return _Judged(candidate=candidate, role=None, reason=verdict.defect)
    return _judge_t1(candidate, verdict)


def _judge_without_contrast(candidate: Candidate) -> _Judged:
    role = candidate.finding.sequence
    if role is None:
        named = f", and its name {candidate.hint.words!r} is no proof" if candidate.hint.words else ""
        return _Judged(candidate=candidate, role=None, reason=f"{candidate.finding.evidence}{named}")
    remark = ""
    if candidate.hint.sequence not in {None, role}:
        remark = f"{_label(candidate)} is used as {role} by its physics, although it is named {candidate.hint.words!r}."
    return _Judged(candidate=candidate, role=role, reason=candidate.finding.evidence, remark=remark)


def _judge_t1(candidate: Candidate, verdict: ContrastVerdict) -> _Judged:
    what = _t1_words(candidate)
    if verdict.contrast is Contrast.NOT_GIVEN:
        reason = f"{what} without contrast agent: {verdict.evidence}"
        return _Judged(candidate=candidate, role=MRSequence.T1, reason=reason, contrast=Contrast.NOT_GIVEN)
    if verdict.contrast is Contrast.UNKNOWN and verdict.log_odds <= 0:
        reason = f"{what}, but it cannot be told whether contrast agent was given: {verdict.evidence}"
        return _Judged(candidate=candidate, role=None, reason=reason)
    certain = verdict.contrast is Contrast.GIVEN
    return _Judged(
        candidate=candidate,
        role=MRSequence.T1C,
        reason=f"{what} {'with' if certain else 'probably with'} contrast agent: {verdict.evidence}",
        remark=_t1c_remark(candidate, verdict),
        certain=certain,
        contrast=verdict.contrast,
    )


def _t1_words(candidate: Candidate) -> str:
    if not candidate.finding.undecided:
        return candidate.finding.evidence
    named = f" and its name {candidate.hint.words!r}" if candidate.hint.sequence else ""
    return f"T1-weighted by its pixels{named} ({candidate.finding.evidence})"


def _t1c_remark(candidate: Candidate, verdict: ContrastVerdict) -> str:
    name = _label(candidate)
    if verdict.contrast is Contrast.UNKNOWN:
        return f"It is not certain that {name} was acquired with contrast agent: {verdict.evidence}."
    if verdict.contradiction:
        return f"{name} is used as T1c, but something speaks against contrast agent: {verdict.contradiction}."
    if candidate.physics.contrast is Contrast.UNKNOWN:
        return f"The header of {name} does not say that contrast agent was given; its pixels show it."
    return ""


def _order(judged: _Judged) -> tuple[bool, tuple[float, ...]]:
    return not judged.certain, best_first(judged.candidate.physics)


def _decision(judged: _Judged, chosen: Mapping[MRSequence, _Judged]) -> SeriesDecision:
    series, role, reason = judged.candidate.series, judged.role, judged.reason
    if role is not None and chosen[role] is not judged:
        best = chosen[role]
        better = (
            why_better(best.candidate.physics, judged.candidate.physics)
            if best.certain == judged.certain
            else ("its contrast agent is certain")
        )
        reason = f"also {role} ({reason}), but {_label(best.candidate)} is used: {better}"
        role = None
    return SeriesDecision(
        series_uid=series.series_uid,
        series_number=series.series_number,
        description=series.description,
        role=role,
        reason=reason,
    )


def _physics(judged: _Judged) -> SeriesPhysics:
    if judged.role not in {MRSequence.T1, MRSequence.T1C}:
        return judged.candidate.physics
    return replace(judged.candidate.physics, contrast=judged.contrast)


def _label(candidate: Candidate) -> str:
    number = candidate.series.series_number
    return f"series {number}" if number is not None else f"series {candidate.series.description!r}"


def _name(decision: SeriesDecision) -> str:
    number = f"series {decision.series_number}" if decision.series_number is not None else "a series without number"
    return f"{number} {decision.description!r}" if decision.description else number


def _why_not_t1c(decision: SeriesDecision) -> str:
    if decision.role in {MRSequence.T2, MRSequence.FLAIR}:
        return f"is {decision.role}: {decision.reason}"
    return f"is not usable: {decision.reason}" if decision.role is None else f"is {decision.reason}"
