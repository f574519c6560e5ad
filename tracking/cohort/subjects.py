"""Who is in a cohort: follow-up, outcome and covariates under a pseudonym, and rates that were computed from images."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracking.dynamics.export import PSEUDONYM
from tracking.dynamics.growth import log2_rate

REQUIRED = ("subject", "days", "event")
OUTCOMES = {"1": True, "0": False}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One person of a cohort.

    Attributes
    ----------
    subject
        Pseudonym.
    days
        Follow-up, above 0: to the event, or to when the person was last seen without it.
    event
        Whether the event (as a rule death) came.
    covariates
        By name a number, or a word for one of several groups (histology); the same names for all subjects.
    """

    subject: str
    days: float
    event: bool
    covariates: Mapping[str, float | str]

    def __post_init__(self) -> None:
        if not PSEUDONYM.fullmatch(self.subject):
            raise ValueError(
                "A subject is not named by a pseudonym; use only letters, digits, points and dashes, never a name."
            )
        if not (math.isfinite(self.days) and self.days > 0):
            raise ValueError(f"Subject {self.subject} has a follow-up of {self.days} days; it must be above 0.")


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A rate of every subject, for example new tumours per month.

    Attributes
    ----------
    name
        For tables and plots.
    values
        By subject.
    epsilon
        Added to each before taking the logarithm, so that zero has one (see `log2_rate`).
    """

    name: str
    values: Mapping[str, float]
    epsilon: float

    def of(self, subject: Subject) -> float:
        """Return the rate of a subject.

        Raises
        ------
        ValueError
            If it has none.
        """
        value = self.values.get(subject.subject)
        if value is None or not math.isfinite(value):
            raise ValueError(f"Subject {subject.subject} has no {self.name}; add it, or leave the subject out.")
        return value

    def doublings_of(self, subject: Subject) -> float:
        """Return the base-2 logarithm of a subject's rate: a step of 1 is one doubling."""
        return log2_rate(self.of(subject), epsilon=self.epsilon)


def read_subjects(path: Path) -> tuple[Subject, ...]:
    """Read a cohort from a CSV file: ``subject, days, event`` (1 or 0), then one column for each covariate.

    A column of numbers is a number, any other a word.

    Raises
    ------
    ValueError
        If a column or value is missing, a subject comes twice, or a value cannot be read.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, restval="")
        names = tuple(reader.fieldnames or ())
        missing = [name for name in REQUIRED if name not in names]
        if missing:
            raise ValueError(f"{path} has no column {', '.join(missing)}; it must have {', '.join(REQUIRED)}.")
        rows = list(reader)
    covariates = [name for name in names if name not in REQUIRED]
    numeric = {name for name in covariates if all(_is_number(row[name]) for row in rows)}
    subjects = tuple(_subject(row, covariates, numeric) for row in rows)
    twice = {one.subject for one in subjects if [other.subject for other in subjects].count(one.subject) > 1}
    if twice:
        raise ValueError(f"{path} lists subjects {', '.join(sorted(twice))} twice; keep one row of each.")
    return subjects


def _subject(row: Mapping[str, str], covariates: Sequence[str], numeric: set[str]) -> Subject:
    empty = [name for name in (*REQUIRED, *covariates) if not row[name].strip()]
    if empty:
        raise ValueError(f"Subject {row['subject']} has no {', '.join(empty)}; add it, or leave the subject out.")
    if row["event"].strip() not in OUTCOMES or not _is_number(row["days"]):
        raise ValueError(
            f"Subject {row['subject']} has days {row['days']!r} and event {row['event']!r}; days must be a number,"
            " event 1 (it came) or 0."
        )
    return Subject(
        subject=row["subject"].strip(),
        days=float(row["days"]),
        event=OUTCOMES[row["event"].strip()],
        covariates={name: float(row[name]) if name in numeric else row[name].strip() for name in covariates},
    )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
