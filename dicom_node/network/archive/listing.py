"""What every archive's listing has in common: the order of studies and series, and who counts as the same patient."""

from collections.abc import Iterable
from datetime import date, datetime

from dicom_node.network.archive.protocol import ArchivedSeries, ArchivedStudy


def parse_study_date(text: str) -> date | None:
    """Read a DICOM date (DA, also with the dots of ACR-NEMA); None when it is empty or malformed."""
    digits = text.strip().replace(".", "")
    try:
        return datetime.strptime(digits, "%Y%m%d").date()  # noqa: DTZ007 - a DICOM date has no time zone
    except ValueError:
        return None


def oldest_first(studies: Iterable[ArchivedStudy]) -> tuple[ArchivedStudy, ...]:
    """Studies by date and time, those without a date before all others."""
    return tuple(sorted(studies, key=lambda s: (s.study_date or date.min, s.study_time, s.study_uid)))


def by_number(series: Iterable[ArchivedSeries]) -> tuple[ArchivedSeries, ...]:
    """Series by number, those without one last."""
    return tuple(sorted(series, key=lambda s: (s.series_number is None, s.series_number or 0, s.series_uid)))


def is_same_issuer(one: str, other: str) -> bool:
    """Whether two issuers of a patient ID may be the same: they are equal, or one of them is not known."""
    return not one or not other or one == other
