"""Plain folders: any clinic's own data, or another set once it was sorted into this layout.

::

    <patient>/<study>/t1c.nii.gz    also t1, t2, flair, labels, brain

A study's folder is named by its date (``2024-03-05`` or ``20240305``), or by its number where only the order is known;
one patient's studies are named in one way. Name patients by pseudonyms: messages about broken files name their paths.

To be trained on, the folder says what it is in a file ``dataset.toml``::

    name = "our clinic"
    labels = "1=ENHANCING,2=NECROSIS"    # or node, yale, chuv, brats-mets, brats-2021, lesion, ucsf
    quality = "gold"                     # reviewed; or silver, synthetic
"""

import tomllib
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from inference.label_schemes import LabelScheme, label_scheme
from inference.training.datasets.files import Names, images, nifti
from inference.training.datasets.records import Quality, StudyRecord
from tracking.timepoint import MRSequence

FILES: Names = {
    MRSequence.T1C: ("t1c",),
    MRSequence.T1: ("t1",),
    MRSequence.T2: ("t2",),
    MRSequence.FLAIR: ("flair",),
}


DESCRIPTION = "dataset.toml"
KEYS = ("name", "labels", "quality")
QUALITIES = {quality.name.lower(): quality for quality in Quality if quality is not Quality.UNLABELLED}


def read_described(root: Path) -> tuple[StudyRecord, ...]:
    """Return the studies of a folder of patients that says itself what its labels mean.

    Raises
    ------
    FileNotFoundError
        There is no ``dataset.toml``, or no study.
    ValueError
        The description lacks something or says something unknown; or as `read_plain`.
    """
    path = root / DESCRIPTION
    if not path.exists():
        raise FileNotFoundError(f"{root} has no {DESCRIPTION}; write one with {', '.join(KEYS)}.")
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no valid TOML ({error}); write it again.") from error
    if sorted(said) != sorted(KEYS) or not all(isinstance(value, str) for value in said.values()):
        raise ValueError(
            f"{path} says {', '.join(sorted(said)) or 'nothing'}; it must say {', '.join(KEYS)}, in quotes."
        )
    if said["quality"] not in QUALITIES:
        raise ValueError(f"{path} says quality {said['quality']!r}; choose one of {', '.join(QUALITIES)}.")
    try:
        scheme = label_scheme(said["labels"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return read_plain(root, data_set=said["name"], scheme=scheme, quality=QUALITIES[said["quality"]])


def read_plain(root: Path, *, data_set: str, scheme: LabelScheme, quality: Quality) -> tuple[StudyRecord, ...]:
    """Return the studies of a folder of patients.

    Parameters
    ----------
    root
        Folder of patients.
    data_set
        A name for it.
    scheme, quality
        What its label values mean, and how far they can be trusted; studies without labels are there without labels.

    Raises
    ------
    FileNotFoundError
        There is no study below ``root``.
    ValueError
        A study's folder is named neither by date nor by number, a patient's are named in both ways, or it has no image;
        the message names the folder.
    """
    records = []
    for patient in sorted(path for path in root.iterdir() if path.is_dir()):
        studies = sorted(path for path in patient.iterdir() if path.is_dir())
        _check_names(studies)
        records += [_record(study, data_set, scheme, quality) for study in studies]
    if not records:
        raise FileNotFoundError(f"{root} holds no folders of patients with folders of studies.")
    return tuple(records)


def _record(folder: Path, data_set: str, scheme: LabelScheme, quality: Quality) -> StudyRecord:
    present, labels, day = images(folder, FILES), nifti(folder, "labels"), _date(folder.name)
    if not present:
        raise ValueError(f"{folder} has no t1c, t1, t2 or flair (.nii or .nii.gz); add an image or take it away.")
    return StudyRecord(
        data_set=data_set,
        patient_id=folder.parent.name,
        visit=day.toordinal() if day else int(folder.name),
        day=day.toordinal() if day else None,
        images=present,
        labels=labels,
        scheme=scheme if labels else None,
        quality=quality if labels else Quality.UNLABELLED,
        brain=nifti(folder, "brain"),
    )


def _check_names(studies: Sequence[Path]) -> None:
    dated = [_date(study.name) is not None for study in studies]
    for study, is_date in zip(studies, dated, strict=True):
        if not is_date and not study.name.isdecimal():
            raise ValueError(f"{study} is named neither by a date (2024-03-05) nor by a number; rename it.")
    if len(set(dated)) > 1:
        raise ValueError(f"{studies[0].parent} has studies named by dates and by numbers; name all in one way.")


def _date(name: str) -> date | None:
    """Return the date that a name is; None if it is none, such as a short number."""
    try:
        return date.fromisoformat(name) if len(name) in {8, 10} else None
    except ValueError:
        return None
