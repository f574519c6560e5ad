"""The doors by name: a user says which data sets to learn from, as ``yale=/data/yale``."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from inference.training.datasets.brats import read_brats_2021, read_brats_mets
from inference.training.datasets.nyumets import read_nyumets_folder
from inference.training.datasets.plain import read_described
from inference.training.datasets.records import StudyRecord
from inference.training.datasets.stanford import read_stanford
from inference.training.datasets.ucsf import read_ucsf
from inference.training.datasets.yale import read_yale_pretreatment

DOORS: Final[Mapping[str, Callable[[Path], tuple[StudyRecord, ...]]]] = {
    "brats-2021": read_brats_2021,
    "brats-mets": read_brats_mets,
    "nyumets": read_nyumets_folder,
    "plain": read_described,
    "stanford": read_stanford,
    "ucsf": read_ucsf,
    "yale": read_yale_pretreatment,
}


def door_and_folder(text: str) -> tuple[str, Path]:
    """Split ``kind=folder``.

    Raises
    ------
    ValueError
        If there is no such kind, or no folder is named.
    """
    kind, _, folder = text.partition("=")
    if kind not in DOORS or not folder:
        raise ValueError(f"labelled {text!r}: write kind=folder, the kind one of {', '.join(DOORS)}")
    return kind, Path(folder)


def read_data_sets(texts: Sequence[str]) -> tuple[StudyRecord, ...]:
    """Return the studies of data sets named as ``kind=folder``.

    Raises
    ------
    ValueError, FileNotFoundError
        If there is no such kind, or no study in a folder, or it is damaged.
    """
    named = [door_and_folder(text) for text in texts]
    return tuple(study for kind, folder in named for study in DOORS[kind](folder))
