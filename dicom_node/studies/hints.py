"""What a series' name suggests, in English, German and French: a hint that breaks ties, never proof."""

import re
import unicodedata
from dataclasses import dataclass

from tracking.timepoint import MRSequence

AGENT = r"(KM|KONTRAST|CONTRAST|GD|GADO|INJ|PDC|C\b|IV\b)"
WITH_CONTRAST = (
    r"\bKM\b|\bKONTRAST|\bCONTRAST|\bGD\b|\bGADO|\bGAD\b|\bC\+|\+\s?(C|GD?|KM)\b|\bPOST\b(?!.?OP)|\bCE\b"
    r"|\bT1CE?\b|\bENHANCED|\bINJ|\bPDC\b|\bAPRES\b"
)
WITHOUT_CONTRAST = (
    rf"\bNATIV|\bPRE\b(?!.?OP)|\bPLAIN\b|\b(OHNE|SANS|AVANT|VOR|NON|NO|W/?O|WITHOUT|KEINE?)\b.?({AGENT}|$)"
    r"|\bUN.?ENHANCED|\bC-(\s|$)|\bNC\b|\bNON.?INJ"
)
SEQUENCES = {
    MRSequence.FLAIR: r"FLAIR|DARK.?FLUID|\bTIRM",
    MRSequence.T1: (
        r"\bT1|T1W|MP.?RAGE|BRAVO|F?SPGR|\bTFE|VIBE|FLASH|MDEFT|\bEFGRE|\bT1_|\bTFL|\bIR.?FSPGR|\bLAVA|\bTHRIVE"
    ),
    MRSequence.T2: r"\bT2|T2W",
}
OTHER_USES = {
    "diffusion": r"\bDWI|\bDTI|\bADC|DIFF|TRACE|\bEPI\b|\bB1000",
    "susceptibility": r"\bSWI|\bSWAN|T2\*|T2.?STAR|\bHAEM|\bHEMO|VENOBOLD",
    "angiography": r"\bTOF|\bMRA\b|ANGIO|\bPCA?3?D?\b.*VENO|\bCE.?MRA",
    "perfusion": r"PERF|\bDSC\b|\bDCE\b|\bASL\b|\bPWI",
    "localizer": r"LOCALI|SCOUT|SURVEY|\bLOC\b|REPERAGE|PLAN.?SCAN|3.?PLANE",
    "spectroscopy": r"SPECTR|\bMRS\b|\bCSI\b",
}


@dataclass(frozen=True, kw_only=True)
class Hint:
    """What the names of a series suggest.

    Attributes
    ----------
    words
        The names as written, for the reason that a person reads.
    sequence
        T1, T2 or FLAIR; None when the names do not say.
    contrast
        True: with contrast agent, False: without, None: the names do not say or contradict themselves.
    other_use
        ``"diffusion"``, ``"angiography"`` and the like; empty when the names do not say.
    """

    words: str
    sequence: MRSequence | None
    contrast: bool | None
    other_use: str


def read_hint(*names: str) -> Hint:
    """Interpret SeriesDescription, ProtocolName and the like.

    Parameters
    ----------
    names
        Free texts in English, German or French, in any case, with or without accents.
    """
    words = " / ".join(dict.fromkeys(name.strip() for name in names if name.strip()))
    plain = _plain(words)
    other = next((use for use, pattern in OTHER_USES.items() if re.search(pattern, plain)), "")
    sequence = next((one for one, pattern in SEQUENCES.items() if re.search(pattern, plain)), None)
    if sequence is MRSequence.FLAIR and re.search(r"\bT1.{0,4}FLAIR|FLAIR.{0,4}\bT1", plain):
        sequence = MRSequence.T1
    return Hint(words=words, sequence=sequence, contrast=_contrast(plain), other_use=other)


def _contrast(plain: str) -> bool | None:
    """Negations win: "ohne KM", "sans injection", "w/o contrast" name the agent only to deny it."""
    if re.search(WITHOUT_CONTRAST, plain):
        return None if re.search(r"\bPRE\b.{0,5}\bPOST\b|\bMIT\b.{0,12}\bOHNE\b", plain) else False
    return True if re.search(WITH_CONTRAST, plain) else None


def _plain(words: str) -> str:
    """Upper case without accents; underscores separate words."""
    decomposed = unicodedata.normalize("NFKD", words)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).upper().replace("_", " ")
