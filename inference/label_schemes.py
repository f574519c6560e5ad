"""What the numbers in a label map mean: every data set, reader and model is translated at its door.

A number means the tissues that a voxel of it may be. A label that tells tissues apart leaves one; one that outlines
whole lesions leaves two, enhancing or necrosis: a lesion, tissue unknown. A background that was drawn without edema may
be edema. What is not labelled is unknown, never background.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inference.labels import LESION
from tracking.timepoint import Tissue

Tissues = frozenset[Tissue]

ANY: Final[Tissues] = frozenset(Tissue)
BACKGROUND: Final[Tissues] = frozenset({Tissue.BACKGROUND})
ENHANCING: Final[Tissues] = frozenset({Tissue.ENHANCING})
NECROSIS: Final[Tissues] = frozenset({Tissue.NECROSIS})
EDEMA: Final[Tissues] = frozenset({Tissue.EDEMA})
WORDS: Final[Mapping[str, Tissues]] = {
    "ENHANCING": ENHANCING,
    "NECROSIS": NECROSIS,
    "EDEMA": EDEMA,
    "LESION": LESION,
    "BACKGROUND": frozenset(),  # what no other label names
    "UNKNOWN": ANY,
}


@dataclass(frozen=True, kw_only=True)
class LabelScheme:
    """The label values of one data set or model.

    Attributes
    ----------
    name
        For messages and summaries.
    meaning
        Tissues that a voxel of each value may be; 0 is always among the values. Any tissue: not known.
    """

    name: str
    meaning: Mapping[int, Tissues]

    def __post_init__(self) -> None:
        empty = [value for value, tissues in self.meaning.items() if not tissues]
        if 0 not in self.meaning or empty:
            what = f"the values {empty} mean no tissue" if empty else "the value 0 has no meaning"
            raise ValueError(f"In the labels of {self.name}, {what}; give what each value may be.")

    @property
    def labelled_tissues(self) -> Tissues:
        """Tissues that were outlined wherever they were seen: background is certainly none of them."""
        return ANY - self.meaning[0] - BACKGROUND

    @property
    def lesion(self) -> Tissues:
        """What a lesion consists of here: enhancing tissue and necrosis, if both are labelled."""
        return LESION & self.labelled_tissues

    @property
    def unknown(self) -> frozenset[int]:
        """Values that say nothing."""
        return frozenset(value for value, tissues in self.meaning.items() if tissues == ANY)

    def tells(self, region: Tissues) -> bool:
        """Whether this region is labelled, all of it, and apart from the rest."""
        meanings = (tissues for value, tissues in self.meaning.items() if value not in self.unknown)
        return region <= self.labelled_tissues and all(one <= region or not one & region for one in meanings)

    def mask(self, labels: NDArray[Any], region: Tissues) -> NDArray[np.bool_]:
        """Return where a label that is no background may belong to a region."""
        values = [value for value, tissues in self.meaning.items() if tissues & region and not tissues & BACKGROUND]
        return np.isin(labels, values)

    def check(self, values: NDArray[Any], *, source: object) -> None:
        """Refuse values without a meaning.

        Raises
        ------
        ValueError
            If there is one, or one is no whole number; the message names the source and the values.
        """
        strange = [value for value in np.unique(values).tolist() if value not in self.meaning]
        if strange:
            shown = ", ".join(f"{value:g}" for value in strange[:5]) + (", …" if len(strange) > 5 else "")
            known = ", ".join(map(str, sorted(self.meaning)))
            raise ValueError(
                f"{source} has the label {shown}, which means nothing in {self.name} ({known}): is it of another data "
                "set, or was it interpolated? The meaning of every label can be given, as in 1=ENHANCING,2=EDEMA."
            )


OURS = LabelScheme(name="node", meaning={int(tissue): frozenset({tissue}) for tissue in Tissue})
YALE = LabelScheme(name="yale", meaning={0: BACKGROUND, 1: NECROSIS, 2: EDEMA, 3: ENHANCING})
CHUV = LabelScheme(name="chuv", meaning={0: BACKGROUND, 1: ENHANCING, 2: EDEMA, 3: NECROSIS})
# The walls of a resection cavity may enhance with or without tumour: nothing is known there.
BRATS_METS = LabelScheme(name="brats-mets", meaning={0: BACKGROUND, 1: NECROSIS, 2: EDEMA, 3: ENHANCING, 4: ANY})
BRATS_2021 = LabelScheme(name="brats-2021", meaning={0: BACKGROUND, 1: NECROSIS, 2: EDEMA, 4: ENHANCING})
WHOLE_LESION = LabelScheme(name="lesion", meaning={0: BACKGROUND | EDEMA, 1: LESION})
ENHANCING_ALONE = LabelScheme(name="ucsf", meaning={0: BACKGROUND | EDEMA | NECROSIS, 1: ENHANCING})
# Masks stored as pictures hold 255 where NIfTI holds 1.
BRAINMETSHARE = LabelScheme(name="brainmetshare", meaning={0: BACKGROUND | EDEMA, 1: LESION, 255: LESION})
SCHEMES: Final[Mapping[str, LabelScheme]] = {
    scheme.name: scheme for scheme in (OURS, YALE, CHUV, BRATS_METS, BRATS_2021, WHOLE_LESION, ENHANCING_ALONE)
}


def label_scheme(text: str) -> LabelScheme:
    """Return a scheme by its name, or as written out: ``1=ENHANCING,2=EDEMA``.

    Parameters
    ----------
    text
        A key of `SCHEMES`, or numbers with ``ENHANCING``, ``NECROSIS``, ``EDEMA``, ``LESION`` (enhancing or necrosis,
        not told apart), ``BACKGROUND`` or ``UNKNOWN``. Tissues without a number are taken for unlabelled: what is
        background may be one of them.

    Raises
    ------
    ValueError
        If it is neither, or names no part of a lesion.
    """
    if text in SCHEMES:
        return SCHEMES[text]
    named: dict[int, Tissues] = {}
    for part in text.split(","):
        number, _, word = (piece.strip() for piece in part.upper().partition("="))
        if not number.isdecimal() or int(number) in named or word not in WORDS:
            raise ValueError(
                f"The labels {text!r} are neither {', '.join(SCHEMES)} nor written as 1=ENHANCING,2=EDEMA, each number"
                f" once; the words are {', '.join(WORDS)}."
            )
        named[int(number)] = WORDS[word]
    if named.setdefault(0, WORDS["BACKGROUND"]):
        raise ValueError(f"The labels {text!r} do not take 0 for background; leave it out.")
    unlabelled = ANY.difference(*(tissues for tissues in named.values() if tissues != ANY))
    scheme = LabelScheme(name=text, meaning={value: tissues or unlabelled for value, tissues in named.items()})
    if not scheme.lesion:
        raise ValueError(f"The labels {text!r} name no part of a lesion; name ENHANCING, NECROSIS or LESION.")
    return scheme
