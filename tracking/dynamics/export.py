"""Figures as CSV, one row per interval, with a pseudonym and nothing else that belongs to a person."""

import csv
import re
from collections.abc import Mapping
from pathlib import Path

from tracking.dynamics.figures import Dynamics
from tracking.dynamics.intervals import IntervalFigures

PSEUDONYM = re.compile(r"[A-Za-z0-9._-]{1,64}")
FIGURE_COLUMNS = (
    "subject",
    "interval",
    "days",
    "count_at_start",
    "count_at_end",
    "volume_at_start_mm3",
    "volume_at_end_mm3",
    "new_tumours",
    "new_tumours_per_month",
    "followed",
    "volume_change_per_tumour_mm3_per_month",
    "doubling_days",
)
KINDS = ("shortest", "longest", "untreated", "treated", "before_treatment")


def write_figures(path: Path, figures: Mapping[str, Dynamics]) -> None:
    """Write the shortest, longest, untreated, treated and pre-treatment figures of each subject.

    Dates are left out: with a hospital's name they can identify a person; the length of the interval stays.

    Parameters
    ----------
    path
        The file; an older one is replaced.
    figures
        By pseudonym: letters, digits, points, dashes.

    Raises
    ------
    ValueError
        If a pseudonym has other signs, as a name has (``DOE^JANE``, ``Jane Doe``).
    """
    unfit = [subject for subject in figures if not PSEUDONYM.fullmatch(subject)]
    if unfit:
        raise ValueError(
            f"{len(unfit)} of {len(figures)} subjects are not named by a pseudonym; use only letters, digits, points"
            " and dashes, never a name."
        )
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIGURE_COLUMNS)
        writer.writeheader()
        for subject, one in figures.items():
            for kind in KINDS:
                if (interval := getattr(one, kind)) is not None:
                    writer.writerow(_row(subject, kind, interval))


def _row(subject: str, kind: str, interval: IntervalFigures) -> dict[str, object]:
    known = {name: getattr(interval, name) for name in FIGURE_COLUMNS if hasattr(interval, name)}
    return {"subject": subject, "interval": kind, "days": (interval.end - interval.start).days} | known
