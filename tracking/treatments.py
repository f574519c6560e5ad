"""What was done to the patient and when; a lesion counts as treated only by what acts on that lesion itself."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path

from tracking.visit import Sighting, Visit

COLUMNS = ("date", "kind", "lesion", "dose_gy")


class TreatmentKind(StrEnum):
    """Kinds of treatment."""

    RADIOSURGERY = "radiosurgery"
    SURGERY = "surgery"
    WHOLE_BRAIN = "whole-brain radiotherapy"
    SYSTEMIC = "systemic therapy"
    IMMUNOTHERAPY = "immunotherapy"


LOCAL = (TreatmentKind.RADIOSURGERY, TreatmentKind.SURGERY)


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """One treatment.

    Attributes
    ----------
    day
        When it was given, or began.
    lesion
        Tracking UID or tracking ID of the lesion treated; None for what acts on the whole brain or body.
    dose_gy
        Radiation dose; None when not known or none was given.
    """

    day: date
    kind: TreatmentKind
    lesion: str | None = None
    dose_gy: float | None = None

    def __post_init__(self) -> None:
        if (self.kind in LOCAL) != (self.lesion is not None):
            need = "needs the lesion that was treated" if self.kind in LOCAL else "is not of one lesion; name none"
            raise ValueError(f"The {self.kind.value} of {self.day} {need}.")
        if self.dose_gy is not None and not (math.isfinite(self.dose_gy) and self.dose_gy > 0):
            raise ValueError(f"The dose of {self.day} is {self.dose_gy} Gy; give a number above 0, or leave it empty.")


def treated_before(
    lesion: Sighting, day: date, treatments: Sequence[Treatment], *, first_seen: Mapping[str, date]
) -> bool:
    """Tell whether something acted on this lesion before a day (not on it: planning images are from the same day).

    Parameters
    ----------
    lesion
        Its identity counts, not its size.
    treatments
        Of the patient.
    first_seen
        By tracking UID; whole-brain radiotherapy treats the lesions that were there.
    """
    names = (lesion.tracking_uid, lesion.tracking_id)
    return any(
        one.day < day
        and (
            one.lesion in names
            or (one.kind == TreatmentKind.WHOLE_BRAIN and first_seen.get(lesion.tracking_uid, day) <= one.day)
        )
        for one in treatments
    )


def join_planning_visits(
    visits: Sequence[Visit], treatments: Sequence[Treatment], *, most_days: int = 30
) -> tuple[Visit, ...]:
    """Take a diagnostic study and the planning study soon after it, both before any treatment, as one timepoint.

    Of visits up to ``most_days`` after one another and not after the first treatment, the last is kept: it is the one
    that treatment was planned on, and what it shows first is not new.
    """
    ordered = sorted(visits, key=lambda visit: visit.day)
    start = min((one.day for one in treatments), default=date.max)
    kept: list[Visit] = []
    for visit in ordered:
        if kept and visit.day <= start and (visit.day - kept[-1].day).days <= most_days:
            kept.pop()
        kept.append(visit)
    return tuple(kept)


def read_treatments(path: Path) -> tuple[Treatment, ...]:
    """Read treatments from a CSV file with the columns ``date, kind, lesion, dose_gy``.

    Dates are written year-month-day; kinds as in `TreatmentKind`; ``lesion`` and ``dose_gy`` may be empty.

    Raises
    ------
    ValueError
        If a column is missing, another one is there (it could identify the patient), or a row cannot be read.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        found = tuple(reader.fieldnames or ())
        if set(found) != set(COLUMNS):
            raise ValueError(
                f"{path} has the columns {', '.join(found)}; it must have {', '.join(COLUMNS)} and no other."
            )
        rows = [_treatment(row, f"{path}, line {reader.line_num}") for row in reader]
    return tuple(sorted(rows, key=lambda one: one.day))


def _treatment(row: Mapping[str, str], where: str) -> Treatment:
    try:
        return Treatment(
            day=date.fromisoformat((row["date"] or "").strip()),
            kind=TreatmentKind((row["kind"] or "").strip()),
            lesion=(row["lesion"] or "").strip() or None,
            dose_gy=float(row["dose_gy"]) if (row["dose_gy"] or "").strip() else None,
        )
    except ValueError as error:
        kinds = ", ".join(TreatmentKind)
        raise ValueError(f"{where}: {error} Dates are year-month-day; kinds are {kinds}.") from error
