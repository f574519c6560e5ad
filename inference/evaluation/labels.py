"""Which regions are judged: those that both sides can tell from the rest."""

from collections.abc import Mapping

from inference.evaluation.table import ManifestError
from inference.label_schemes import BACKGROUND, BRATS_METS, EDEMA, ENHANCING, NECROSIS, LabelScheme, Tissues
from inference.label_schemes import SCHEMES as DATA_SETS
from inference.label_schemes import label_scheme as data_set_scheme
from inference.labels import LESION as WHOLE_LESION

LESION = "lesion"
REGIONS: Mapping[str, Tissues] = {
    LESION: WHOLE_LESION,
    "enhancing": ENHANCING,
    "necrosis": NECROSIS,
    "edema": EDEMA,
    "whole_tumour": WHOLE_LESION | EDEMA,
}
# The official score takes a resection cavity for background, where training is taught nothing.
SCHEMES: Mapping[str, LabelScheme] = {
    **DATA_SETS,
    BRATS_METS.name: LabelScheme(name=BRATS_METS.name, meaning={**BRATS_METS.meaning, 4: BACKGROUND}),
}


def label_scheme(text: str) -> LabelScheme:
    """Return a scheme to judge by: a key of `SCHEMES`, or written out as `inference.label_schemes.label_scheme` reads.

    Raises
    ------
    ManifestError
        If it is neither, or names no part of a lesion.
    """
    try:
        return SCHEMES.get(text) or data_set_scheme(text)
    except ValueError as error:
        raise ManifestError(str(error)) from error


def judged_regions(truth: LabelScheme, other: LabelScheme) -> dict[str, Tissues]:
    """Return the regions that both sides tell apart; the lesion as far as the truth labels it is always judged."""
    told = {name: region for name, region in REGIONS.items() if truth.tells(region) and other.tells(region)}
    return {LESION: truth.lesion} | {name: region for name, region in told.items() if name != LESION}
