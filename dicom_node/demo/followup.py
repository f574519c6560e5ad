"""Was each lesion followed rightly? States and identities of all studies against the names in the truth.

A state is judged only where the earlier study gave the node a chance: a lesion that was missed before and is found now
can only be called new. A lesion that is missed now and was known before is called resolved, which is judged, and wrong.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from dicom_node.demo.truth import Pair, StudyMatch, match_study
from dicom_node.results.findings import Finding, StudyFindings
from inference.synthesis.patient import SyntheticPatient, SyntheticStudy, TrueLesion
from tracking.identity import tracking_order
from tracking.track import TrackState

RIGHT, WRONG_STATE, NEW_IDENTITY = "right", "wrong state", "new identity"
CALLED_RESOLVED, NOT_CARRIED_ON = "missed, called resolved", "not carried on"
JUDGED = (RIGHT, WRONG_STATE, NEW_IDENTITY, CALLED_RESOLVED, NOT_CARRIED_ON)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: a finding of a study with the truth beside it, or a true lesion without a finding.

    Attributes
    ----------
    finding
        None for a missed lesion.
    names
        Names of the true lesion; empty for a false positive.
    expected_state
        What the truth says became of it; empty for a false positive.
    true_volume_mm3, true_prior_volume_mm3
        None where there was no lesion.
    verdict
        A few words: right, wrong state, new identity, missed, missed before, not carried
        on, false positive, fragment, joined with.
    """

    finding: Finding | None
    names: tuple[str, ...]
    expected_state: str
    true_volume_mm3: float | None
    true_prior_volume_mm3: float | None
    true_diameter_mm: float | None
    verdict: str

    @property
    def true_change_percent(self) -> float | None:
        """True volume change; None without a prior lesion."""
        if not self.true_prior_volume_mm3:
            return None
        return 100 * ((self.true_volume_mm3 or 0.0) / self.true_prior_volume_mm3 - 1)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """How near the node came to the truth, over all studies.

    Attributes
    ----------
    found, lesions
        True lesions with a finding of their own, and all true lesions (each study counted).
    false_positives
        Findings where there is nothing.
    volume_error_percent, diameter_error_mm
        Median absolute errors over the found lesions; None when none was found.
    identities_kept, identities
        Lesions found in two successive studies, and how many of them carry the same tracking UID.
    states_right, states
        Lesions whose state could be judged, and how many carry the true one.
    """

    found: int
    lesions: int
    joined: int
    false_positives: int
    fragments: int
    volume_error_percent: float | None
    diameter_error_mm: float | None
    identities_kept: int
    identities: int
    states_right: int
    states: int


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyResult:
    """Findings, truth and how the two fit, for one study."""

    findings: StudyFindings
    truth: SyntheticStudy
    match: StudyMatch
    rows: tuple[Row, ...]


def compare_patient(findings: Sequence[StudyFindings], patient: SyntheticPatient) -> tuple[StudyResult, ...]:
    """Hold the findings of all studies against the truth.

    Parameters
    ----------
    findings
        One per study of ``patient``, in the same order.

    Returns
    -------
    tuple of StudyResult
        In order of date.
    """
    results: list[StudyResult] = []
    for reported, truth in zip(findings, patient.studies, strict=True):
        match = match_study(reported, truth)
        earlier = tuple(results)
        results.append(
            StudyResult(findings=reported, truth=truth, match=match, rows=_rows(reported, truth, match, earlier))
        )
    return tuple(results)


def figures_of(results: Sequence[StudyResult]) -> Figures:
    """Add up the results of all studies."""
    pairs = [pair for result in results for pair in result.match.pairs]
    rows = [row for result in results for row in result.rows]
    followed = [_followed(result, earlier) for earlier, result in itertools.pairwise(results)]
    identities = [kept for study in followed for kept in study]
    judged = [row for row in rows if row.verdict in JUDGED]
    return Figures(
        found=len(pairs),
        lesions=sum(len(result.truth.lesions) for result in results),
        joined=sum(len(result.match.joined) for result in results),
        false_positives=sum(len(result.match.false_positives) for result in results),
        fragments=sum(len(result.match.fragments) for result in results),
        volume_error_percent=_median_size([pair.volume_error_percent for pair in pairs]),
        diameter_error_mm=_median_size([pair.diameter_error_mm for pair in pairs]),
        identities_kept=sum(identities),
        identities=len(identities),
        states_right=sum(row.verdict in (RIGHT, NEW_IDENTITY) for row in judged),
        states=len(judged),
    )


def true_state(lesion: TrueLesion, study: SyntheticStudy, earlier: Sequence[SyntheticStudy]) -> TrackState:
    """Say what the truth calls a lesion of ``study``, given all earlier studies in order of date."""
    if not earlier:
        return TrackState.BASELINE
    before = [old for old in earlier[-1].lesions if set(old.names) & set(lesion.names)]
    if not before:
        seen = any(set(old.names) & set(lesion.names) for visit in earlier[:-1] for old in visit.lesions)
        return TrackState.RECURRENT if seen else TrackState.NEW
    if len(before) > 1:
        return TrackState.MERGED
    parts = [new for new in study.lesions if set(new.names) & set(before[0].names)]
    return TrackState.SPLIT if len(parts) > 1 else TrackState.PERSISTENT


def _rows(
    reported: StudyFindings, truth: SyntheticStudy, match: StudyMatch, earlier: tuple[StudyResult, ...]
) -> tuple[Row, ...]:
    rows = [_pair_row(pair, truth, match, earlier) for pair in match.pairs]
    rows += [_absent_row(finding, truth, earlier) for finding in reported.findings if not finding.number]
    rows.sort(key=lambda row: tracking_order(row.finding.tracking_id if row.finding else ""))
    rows += [_odd_row(finding, lesion, "fragment") for finding, lesion in match.fragments]
    rows += [_odd_row(finding, None, "false positive") for finding in match.false_positives]
    rows += [_unfound_row(lesion, truth, earlier, f"joined with {f.tracking_id}") for lesion, f in match.joined]
    rows += [_lost_row(lesion, earlier) for lesion in _lost(reported, truth, earlier)]
    told = {name for row in rows if row.verdict == CALLED_RESOLVED for name in row.names}
    rows += [
        _unfound_row(lesion, truth, earlier, "missed") for lesion in match.missed if not told.issuperset(lesion.names)
    ]
    return tuple(rows)


def _pair_row(pair: Pair, truth: SyntheticStudy, match: StudyMatch, earlier: tuple[StudyResult, ...]) -> Row:
    expected = true_state(pair.truth, truth, [result.truth for result in earlier])
    verdict = RIGHT
    if pair.finding.state != expected:
        verdict = "missed before" if earlier and _missed_before(pair.truth, earlier[-1]) else WRONG_STATE
    elif earlier and _prior_uids(pair.truth, earlier[-1]) and not _identity_kept(pair.truth, match, truth, earlier[-1]):
        verdict = NEW_IDENTITY
    return Row(
        finding=pair.finding,
        names=pair.truth.names,
        expected_state=expected,
        true_volume_mm3=pair.truth.volume_mm3,
        true_prior_volume_mm3=_true_prior_volume(pair.truth.names, earlier),
        true_diameter_mm=pair.truth.longest_diameter_mm,
        verdict=verdict,
    )


def _absent_row(finding: Finding, truth: SyntheticStudy, earlier: tuple[StudyResult, ...]) -> Row:
    """Describe a finding without voxels today; its truth is the lesion that carried this UID last."""
    last = next((old for result in reversed(earlier) if (old := result.match.truth_of(finding.tracking_uid))), None)
    if last is None:
        return _odd_row(finding, None, "false positive before")
    now = [lesion for lesion in truth.lesions if set(lesion.names) & set(last.names)]
    expected = true_state(now[0], truth, [result.truth for result in earlier]) if now else TrackState.RESOLVED
    return Row(
        finding=finding,
        names=last.names,
        expected_state=expected,
        true_volume_mm3=sum(lesion.volume_mm3 for lesion in now) or None,
        true_prior_volume_mm3=_true_prior_volume(last.names, earlier),
        true_diameter_mm=max((lesion.longest_diameter_mm for lesion in now), default=None),
        verdict=_absent_verdict(finding, expected, now),
    )


def _absent_verdict(finding: Finding, expected: TrackState, now: list[TrueLesion]) -> str:
    """Judge an identity without voxels: rightly so if its lesion is gone or has merged into a neighbour."""
    if not now or expected == TrackState.MERGED:
        return RIGHT if finding.state == expected else WRONG_STATE
    return CALLED_RESOLVED if finding.state == TrackState.RESOLVED else WRONG_STATE


def _lost(reported: StudyFindings, truth: SyntheticStudy, earlier: tuple[StudyResult, ...]) -> list[TrueLesion]:
    """Return the lesions that were reported before, have gone, and are not told of any more."""
    before = earlier[-1].match.pairs if earlier else ()
    still_there = {name for lesion in truth.lesions for name in lesion.names}
    return [
        pair.truth
        for pair in before
        if reported.by_uid(pair.finding.tracking_uid) is None and still_there.isdisjoint(pair.truth.names)
    ]


def _lost_row(lesion: TrueLesion, earlier: tuple[StudyResult, ...]) -> Row:
    return Row(
        finding=None,
        names=lesion.names,
        expected_state=TrackState.RESOLVED,
        true_volume_mm3=None,
        true_prior_volume_mm3=_true_prior_volume(lesion.names, earlier),
        true_diameter_mm=None,
        verdict=NOT_CARRIED_ON,
    )


def _odd_row(finding: Finding, lesion: TrueLesion | None, verdict: str) -> Row:
    return Row(
        finding=finding,
        names=lesion.names if lesion else (),
        expected_state="",
        true_volume_mm3=None,
        true_prior_volume_mm3=None,
        true_diameter_mm=None,
        verdict=verdict,
    )


def _unfound_row(lesion: TrueLesion, truth: SyntheticStudy, earlier: tuple[StudyResult, ...], verdict: str) -> Row:
    return Row(
        finding=None,
        names=lesion.names,
        expected_state=true_state(lesion, truth, [result.truth for result in earlier]),
        true_volume_mm3=lesion.volume_mm3,
        true_prior_volume_mm3=_true_prior_volume(lesion.names, earlier),
        true_diameter_mm=lesion.longest_diameter_mm,
        verdict=verdict,
    )


def _true_prior_volume(names: tuple[str, ...], earlier: tuple[StudyResult, ...]) -> float | None:
    if not earlier:
        return None
    before = [old.volume_mm3 for old in earlier[-1].truth.lesions if set(old.names) & set(names)]
    return sum(before) if before else None


def _missed_before(lesion: TrueLesion, prior: StudyResult) -> bool:
    """Whether any part of this lesion was there, and not found, in the prior study."""
    return any(
        set(old.names) & set(lesion.names) and not prior.match.uids_of(old.number) for old in prior.truth.lesions
    )


def _prior_uids(lesion: TrueLesion, prior: StudyResult) -> frozenset[str]:
    """Return the UIDs that this lesion's parts carried in the prior study."""
    return frozenset(
        uid
        for old in prior.truth.lesions
        if set(old.names) & set(lesion.names)
        for uid in prior.match.uids_of(old.number)
    )


def _identity_kept(lesion: TrueLesion, match: StudyMatch, truth: SyntheticStudy, prior: StudyResult) -> bool:
    """Whether this lesion, or another part of what it split from, carries a UID of the prior study on."""
    family = [new for new in truth.lesions if _prior_uids(new, prior) & _prior_uids(lesion, prior)]
    return any(match.uids_of(new.number) & _prior_uids(lesion, prior) for new in family)


def _followed(result: StudyResult, prior: StudyResult) -> list[bool]:
    """Tell for every lesion found in both studies whether its identity was kept."""
    return [
        _identity_kept(pair.truth, result.match, result.truth, prior)
        for pair in result.match.pairs
        if _prior_uids(pair.truth, prior)
    ]


def _median_size(errors: list[float]) -> float | None:
    return median(abs(error) for error in errors) if errors else None
