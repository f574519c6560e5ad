"""What the numbers in a label map mean: every data set is translated at the door, and what it leaves out is unknown.

A number may stand for several tissues that the data set does not tell apart (one class for the whole lesion). A region
is judged only where both sides can tell it from the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.evaluation.table import ManifestError
from tracking.timepoint import Tissue

Tissues = frozenset[Tissue]

ENHANCING, NECROSIS, EDEMA = frozenset({Tissue.ENHANCING}), frozenset({Tissue.NECROSIS}), frozenset({Tissue.EDEMA})
WHOLE_LESION = ENHANCING | NECROSIS
NOTHING: Tissues = frozenset()

LESION = "lesion"
REGIONS: Mapping[str, Tissues] = {
    LESION: WHOLE_LESION,
    "enhancing": ENHANCING,
    "necrosis": NECROSIS,
    "edema": EDEMA,
    "whole_tumour": WHOLE_LESION | EDEMA,
}
WORDS: Mapping[str, Tissues] = {
    "ENHANCING": ENHANCING,
    "NECROSIS": NECROSIS,
    "EDEMA": EDEMA,
    "LESION": WHOLE_LESION,
    "BACKGROUND": NOTHING,
}
UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, kw_only=True)
class LabelScheme:
    """The meaning of the numbers of one data set or model.

    Attributes
    ----------
    name
        For messages and the summary.
    tissues
        By number the tissues that it may be; none for background. 0 is background and needs no entry.
    unknown
        Numbers that stand for "not known".
    """

    name: str
    tissues: Mapping[int, Tissues]
    unknown: frozenset[int] = frozenset()

    @property
    def lesion(self) -> Tissues:
        """What a lesion consists of here: enhancing tissue and necrosis, if both are labelled."""
        return WHOLE_LESION & NOTHING.union(*self.tissues.values())

    def tells(self, region: Tissues) -> bool:
        """Whether this region is labelled, all of it, and apart from the rest."""
        labelled = NOTHING.union(*self.tissues.values())
        return region <= labelled and all(one <= region or not one & region for one in self.tissues.values())

    def mask(self, labels: NDArray[np.integer], region: Tissues) -> NDArray[np.bool_]:
        """Return where a label may belong to a region."""
        return np.isin(labels, [number for number, tissues in self.tissues.items() if tissues & region])

    def check(self, labels: NDArray[np.integer], path: Path) -> None:
        """Refuse numbers without a meaning.

        Raises
        ------
        ManifestError
            If there is one.
        """
        known = {0, *self.tissues, *self.unknown}
        if strange := sorted(set(np.unique(labels).tolist()) - known):
            raise ManifestError(
                f"{path} has the label {strange[0]}, which {self.name!r} does not name (it names"
                f" {', '.join(map(str, sorted(known)))}); give the meaning of every label, for example"
                " 1=ENHANCING,2=EDEMA."
            )


SCHEMES: Mapping[str, LabelScheme] = {
    scheme.name: scheme
    for scheme in (
        LabelScheme(name="node", tissues={1: ENHANCING, 2: NECROSIS, 3: EDEMA}),
        LabelScheme(name="yale", tissues={1: NECROSIS, 2: EDEMA, 3: ENHANCING}),
        LabelScheme(name="chuv", tissues={1: ENHANCING, 2: EDEMA, 3: NECROSIS}),
        LabelScheme(name="brats-mets", tissues={1: NECROSIS, 2: EDEMA, 3: ENHANCING, 4: NOTHING}),
        LabelScheme(name="brats-2021", tissues={1: NECROSIS, 2: EDEMA, 4: ENHANCING}),
        LabelScheme(name="lesion", tissues={1: WHOLE_LESION}),
        LabelScheme(name="ucsf", tissues={1: ENHANCING}),
    )
}


def label_scheme(text: str) -> LabelScheme:
    """Return a scheme by its name, or as written out: ``1=ENHANCING,2=EDEMA``.

    Parameters
    ----------
    text
        A key of `SCHEMES`, or numbers with ``ENHANCING``, ``NECROSIS``, ``EDEMA``, ``LESION`` (enhancing or necrosis,
        not told apart), ``BACKGROUND`` or ``UNKNOWN``.

    Raises
    ------
    ManifestError
        If it is neither, or names no part of a lesion.
    """
    if text in SCHEMES:
        return SCHEMES[text]
    tissues: dict[int, Tissues] = {}
    unknown: set[int] = set()
    for part in text.split(","):
        number, _, word = (piece.strip() for piece in part.partition("="))
        if not number.isdecimal() or int(number) in {*tissues, *unknown} or word.upper() not in {*WORDS, UNKNOWN}:
            raise ManifestError(
                f"The labels {text!r} are neither {', '.join(SCHEMES)} nor written as 1=ENHANCING,2=EDEMA, each number"
                f" once; the words are {', '.join(WORDS)} and {UNKNOWN}."
            )
        if word.upper() == UNKNOWN:
            unknown.add(int(number))
        else:
            tissues[int(number)] = WORDS[word.upper()]
    scheme = LabelScheme(name=text, tissues=tissues, unknown=frozenset(unknown))
    if not scheme.lesion:
        raise ManifestError(f"The labels {text!r} name no part of a lesion; name ENHANCING, NECROSIS or LESION.")
    return scheme


def judged_regions(truth: LabelScheme, other: LabelScheme) -> dict[str, Tissues]:
    """Return the regions that both sides tell apart; the lesion as far as the truth labels it is always judged."""
    told = {name: region for name, region in REGIONS.items() if truth.tells(region) and other.tells(region)}
    return {LESION: truth.lesion} | {name: region for name, region in told.items() if name != LESION}
