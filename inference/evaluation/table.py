"""The table of what is to be judged: one row for each scan, with the files of the truth, the model and the readers.

Design rule: whatever is wrong with the table or its files ends in one `ManifestError` that names the row and the value;
a patient is a pseudonym.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from tracking.dynamics.export import PSEUDONYM

REQUIRED = ("patient", "study_date", "truth", "prediction")
FILES = ("truth", "prediction", "probability", "ignore", "brain", "truth_lesions")
OPTIONAL = ("probability", "ignore", "brain", "quality", "truth_lesions")
READER = "reader_"
MODEL = "model"
GOLD = "gold"
QUALITIES = (GOLD, "silver", "synthetic")


class ManifestError(ValueError):
    """The table, or a file that it names, is wrong; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class ScanRow:
    """One scan of the table.

    Attributes
    ----------
    patient, study_date
        Together the name of the scan.
    truth, prediction
        NIfTI label maps.
    readers
        Label maps by name of the reader.
    probability, ignore, brain, truth_lesions
        Optional NIfTI files: probability of lesion; where the truth is not known; the brain; lesion identities, the
        same number for the same lesion at all studies of the patient.
    quality
        One of `QUALITIES`.
    """

    patient: str
    study_date: date
    truth: Path
    prediction: Path
    readers: Mapping[str, Path] = field(default_factory=dict)
    probability: Path | None = None
    ignore: Path | None = None
    brain: Path | None = None
    truth_lesions: Path | None = None
    quality: str = GOLD

    @property
    def name(self) -> str:
        """How messages call the scan."""
        return f"{self.patient} of {self.study_date}"


def read_manifest(path: Path) -> tuple[ScanRow, ...]:
    """Read the table; paths in it are relative to its folder.

    Parameters
    ----------
    path
        CSV file with the columns ``patient, study_date, truth, prediction`` and, if wished, ``probability, ignore,
        brain, quality, truth_lesions`` and ``reader_NAME`` for each reader. Without a column ``quality`` all is gold.

    Returns
    -------
    tuple of ScanRow
        By patient and date.

    Raises
    ------
    ManifestError
        If a column is missing or unknown, a value cannot be read, a file is not there, or a scan comes twice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="", restkey="")
            names = tuple(reader.fieldnames or ())
            lines = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{path} cannot be read as a CSV table ({error}); name a text file with commas.") from error
    _check_columns(path, names)
    rows = [_row(line, names, number, path.parent) for number, line in enumerate(lines, start=2)]
    if not rows:
        raise ManifestError(f"{path} lists no scan; add one row for each.")
    _refuse_twice(path, [row.name for row in rows], "scan")
    return tuple(sorted(rows, key=lambda row: (row.patient, row.study_date)))


def of_quality(rows: Sequence[ScanRow], wanted: Sequence[str]) -> tuple[ScanRow, ...]:
    """Return the scans whose truth has one of the wanted qualities.

    Raises
    ------
    ManifestError
        If a quality is unknown, or no scan is left.
    """
    if unknown := [quality for quality in wanted if quality not in QUALITIES]:
        raise ManifestError(f"The quality {unknown[0]!r} is unknown; ask for {', '.join(QUALITIES)}.")
    kept = tuple(row for row in rows if row.quality in wanted)
    if not kept:
        there = ", ".join(f"{count} {quality}" for quality, count in Counter(row.quality for row in rows).items())
        raise ManifestError(
            f"No scan has a truth of quality {' or '.join(wanted)} (there are {there}); review some, or ask for another"
            " quality."
        )
    return kept


def _check_columns(path: Path, names: Sequence[str]) -> None:
    _refuse_twice(path, names, "column")
    if missing := [name for name in REQUIRED if name not in names]:
        raise ManifestError(f"{path} has no column {', '.join(missing)}; it must have {', '.join(REQUIRED)}.")
    known = {*REQUIRED, *OPTIONAL}
    if unknown := [name for name in names if name not in known and not name.startswith(READER)]:
        raise ManifestError(
            f"{path} has the column {unknown[0]!r}, which means nothing here; beside {', '.join(REQUIRED)} there may be"
            f" {', '.join(OPTIONAL)} and {READER}NAME."
        )
    readers = [name.removeprefix(READER) for name in names if name.startswith(READER)]
    if unfit := [name for name in readers if not PSEUDONYM.fullmatch(name) or name == MODEL]:
        raise ManifestError(
            f"{path}: a reader cannot be called {unfit[0]!r}; use letters, digits, points and dashes, not {MODEL!r}."
        )


def _refuse_twice(path: Path, names: Iterable[str], what: str) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ManifestError(f"{path} has the {what} {twice[0]} twice; keep one.")


def _row(line: Mapping[str, str], names: Sequence[str], number: int, folder: Path) -> ScanRow:
    if "" in line:
        raise ManifestError(f"Row {number} has more values than the table has columns; quote values with commas.")
    values = {name: line[name].strip() for name in names}
    if empty := [name for name in (*REQUIRED, "quality") if name in names and not values[name]]:
        raise ManifestError(f"Row {number} has no {empty[0]}; add it, or leave the row out.")
    if not PSEUDONYM.fullmatch(values["patient"]):
        raise ManifestError(
            f"Row {number}: the patient is not named by a pseudonym; use only letters, digits, points and dashes,"
            " never a name."
        )
    quality = values.get("quality", GOLD)
    if quality not in QUALITIES:
        raise ManifestError(f"Row {number} has the quality {quality!r}; it must be one of {', '.join(QUALITIES)}.")
    files = {name: _file(values[name], name, number, folder) for name in FILES if values.get(name)}
    readers = {
        name.removeprefix(READER): _file(values[name], name, number, folder)
        for name in names
        if name.startswith(READER) and values[name]
    }
    day = _day(values["study_date"], number)
    return ScanRow(patient=values["patient"], study_date=day, quality=quality, readers=readers, **files)


def _day(text: str, number: int) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ManifestError(f"Row {number} has the study_date {text!r}; write it as 2024-03-31.") from error


def _file(text: str, column: str, number: int, folder: Path) -> Path:
    path = folder / text
    if not path.is_file():
        raise ManifestError(f"Row {number}: the {column} {path} is not there; correct the path (relative to {folder}).")
    return path
