"""With or without contrast agent: header, pixels and names weighed on one scale, and every weight told.

Weights are natural log odds. A header that names an agent outweighs all pixels; a silent header leaves the decision to
them; a name alone never reaches the limit of certainty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dicom_node.errors import InvalidGeometryError
from dicom_node.studies.brain_region import NoBrainError
from dicom_node.studies.candidate import Candidate
from dicom_node.studies.contrast import SHARE_AT_EVEN_ODDS, Brightness, compare_brightness, measure_brightness
from dicom_node.studies.physics import Contrast
from dicom_node.studies.volumes import read_volume

HEADER_WEIGHT = {Contrast.GIVEN: 6.0, Contrast.NOT_GIVEN: -4.0, Contrast.UNKNOWN: 0.0}
HINT_WEIGHT = 1.0
CERTAIN = 1.5
TOLD_CONTRADICTION = 1.5
CLEARLY_T1_WEIGHTED = 0.1


@dataclass(frozen=True, kw_only=True)
class ContrastVerdict:
    """Whether contrast agent was given before a T1-weighted series.

    Attributes
    ----------
    log_odds
        Natural log odds for contrast agent.
    evidence
        What speaks for and against, for a person.
    contradiction
        What speaks against the verdict, for the reader of the report; empty when nothing does.
    defect
        Why the pixels cannot be used at all; empty when they can or were not needed.
    """

    log_odds: float
    evidence: str
    contradiction: str = ""
    defect: str = ""

    @property
    def contrast(self) -> Contrast:
        """The verdict; unknown while the odds are not clear."""
        if abs(self.log_odds) < CERTAIN:
            return Contrast.UNKNOWN
        return Contrast.GIVEN if self.log_odds > 0 else Contrast.NOT_GIVEN


def judge_contrast(candidates: Sequence[Candidate]) -> Mapping[str, ContrastVerdict]:
    """Judge all T1-weighted series of one study together.

    Pixels are read when there is more than one candidate, when a header is silent, or when a name contradicts it.

    Returns
    -------
    Mapping
        Series Instance UID to verdict.
    """
    brightness: dict[str, Brightness] = {}
    defects: dict[str, str] = {}
    for candidate in candidates if _pixels_needed(candidates) else ():
        uid = candidate.series.series_uid
        try:
            brightness[uid] = _measure(candidate)
        except InvalidGeometryError as error:
            defects[uid] = str(error).rstrip(".")
        except NoBrainError as error:
            if candidate.physics.contrast is not Contrast.GIVEN:
                defects[uid] = str(error)
    return {
        one.series.series_uid: _verdict(one, candidates, brightness, defects.get(one.series.series_uid, ""))
        for one in candidates
    }


def _measure(candidate: Candidate) -> Brightness:
    """Measure the pixels of a candidate.

    Raises
    ------
    InvalidGeometryError
        They cannot be read.
    NoBrainError
        They do not show a T1-weighted head.
    """
    try:
        brightness = measure_brightness(read_volume(candidate.series).volume)
    except NoBrainError as error:
        raise NoBrainError(f"its pixels do not show a T1-weighted head: {error}") from error
    unnamed = candidate.finding.undecided and candidate.hint.sequence is None
    if unnamed and brightness.depth_contrast < CLEARLY_T1_WEIGHTED:
        raise NoBrainError("neither header nor name tells its sequence, and its pixels are not clearly T1-weighted")
    return brightness


def _pixels_needed(candidates: Sequence[Candidate]) -> bool:
    if len(candidates) != 1:
        return True
    contrast, hint = candidates[0].physics.contrast, candidates[0].hint.contrast
    return contrast is Contrast.UNKNOWN or (hint is not None and hint != (contrast is Contrast.GIVEN))


def _verdict(
    candidate: Candidate, all_candidates: Sequence[Candidate], brightness: Mapping[str, Brightness], defect: str
) -> ContrastVerdict:
    uid = candidate.series.series_uid
    weights = {_header_words(candidate): HEADER_WEIGHT[candidate.physics.contrast]}
    if uid in brightness:
        share = brightness[uid].bright_share
        words = f"{share:.2%} of its inner brain outshines white matter (even odds at {SHARE_AT_EVEN_ODDS:.2%})"
        weights[words] = brightness[uid].log_odds
        weights |= _pair_weight(candidate, all_candidates, brightness)
    if candidate.hint.contrast is not None:
        with_or_without = "with" if candidate.hint.contrast else "without"
        sign = 1 if candidate.hint.contrast else -1
        weights[f"its name {candidate.hint.words!r} suggests {with_or_without} contrast agent"] = sign * HINT_WEIGHT
    log_odds = sum(weights.values())
    against = [words for words, weight in weights.items() if weight * log_odds < 0 and _worth_telling(weight)]
    return ContrastVerdict(
        log_odds=log_odds,
        evidence="; ".join(words for words in weights if words),
        contradiction="; ".join(against),
        defect=defect,
    )


def _worth_telling(weight: float) -> bool:
    return abs(weight) >= TOLD_CONTRADICTION or abs(weight) == HINT_WEIGHT


def _header_words(candidate: Candidate) -> str:
    return candidate.physics.contrast_evidence or "its header does not say whether contrast agent was given"


def _pair_weight(
    candidate: Candidate, all_candidates: Sequence[Candidate], brightness: Mapping[str, Brightness]
) -> dict[str, float]:
    """Return the clearest comparison with another T1 series in the same frame of reference."""
    mine = brightness[candidate.series.series_uid]
    others = [
        other
        for other in all_candidates
        if other is not candidate
        and other.series.series_uid in brightness
        and other.series.frame_of_reference_uids == candidate.series.frame_of_reference_uids
    ]
    compared = [(compare_brightness(mine, brightness[other.series.series_uid]), other) for other in others]
    if not compared:
        return {}
    weight, other = max(compared, key=lambda pair: abs(pair[0]))
    if abs(weight) < 1:
        return {}
    than = f"series {other.series.series_number}" if other.series.series_number is not None else "another T1 series"
    return {f"its vessels and membranes are {'brighter' if weight > 0 else 'darker'} than in {than}": weight}
