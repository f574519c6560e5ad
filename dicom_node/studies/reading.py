"""From files to studies by their headers alone: no pixel is read, and no file disappears without a reason."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from pathlib import Path

from pydicom.dataset import Dataset

from dicom_node.errors import InvalidStudyError
from dicom_node.studies.headers import Header, UnreadableHeaderError, read_header, text, whole_number
from dicom_node.studies.study import Series, Study, UnreadableFile

REQUIRED_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
DATE_KEYWORDS = ("SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate")
VALID_UID = re.compile(r"[0-9.]{1,64}")


def read_studies(paths: Iterable[Path]) -> tuple[tuple[Study, ...], tuple[UnreadableFile, ...]]:
    """Group DICOM files by study and series.

    A truncated file whose header still names its series stays in that series, so that a reader of the series meets
    it, and is listed as unreadable too. The same instance in two files counts once. A study without any date is
    listed file by file as unreadable: it cannot be placed in time.

    Parameters
    ----------
    paths
        Files in any order; folders are not searched.

    Returns
    -------
    tuple
        Studies by date and time, and the files that cannot be used as they are.
    """
    headers: dict[str, dict[str, Header]] = defaultdict(dict)
    unreadable: list[UnreadableFile] = []
    for path in sorted(set(paths)):
        try:
            header = _identified(read_header(path))
        except UnreadableHeaderError as error:
            unreadable.append(UnreadableFile(path=path, reason=str(error)))
            continue
        headers[text(header.dataset, "StudyInstanceUID")].setdefault(text(header.dataset, "SOPInstanceUID"), header)
        if header.defect:
            unreadable.append(_truncated(header))
    dated = {uid: _study_date(instances) for uid, instances in headers.items()}
    unreadable += [file for uid, day in dated.items() if day is None for file in _undated(headers[uid].values())]
    studies = [_study(headers[uid], day) for uid, day in dated.items() if day is not None]
    studies.sort(key=lambda study: (study.study_date, study.study_time, study.study_uid))
    return tuple(studies), tuple(unreadable)


def read_study(paths: Iterable[Path]) -> tuple[Study, tuple[UnreadableFile, ...]]:
    """Read the files of exactly one study; see `read_studies`.

    Raises
    ------
    InvalidStudyError
        The files hold no study, or more than one.
    """
    studies, unreadable = read_studies(paths)
    if not studies:
        first = f", the first because {unreadable[0].reason}" if unreadable else ""
        raise InvalidStudyError(f"No DICOM study can be read: {len(unreadable)} files are unusable{first}.")
    if len(studies) > 1:
        uids = ", ".join(study.study_uid for study in studies)
        raise InvalidStudyError(f"The files belong to {len(studies)} studies ({uids}); give one study at a time.")
    return studies[0], unreadable


def _identified(header: Header) -> Header:
    for keyword in REQUIRED_UIDS:
        value = text(header.dataset, keyword)
        if not VALID_UID.fullmatch(value):
            found = f"has the invalid {keyword} {value[:80]!r}" if value else f"has no {keyword}"
            raise UnreadableHeaderError(f"{header.path.name} {found}{'; ' if header.defect else ''}{header.defect}")
    return header


def _truncated(header: Header) -> UnreadableFile:
    return UnreadableFile(
        path=header.path,
        reason=f"{header.path.name}: {header.defect}",
        series_uid=text(header.dataset, "SeriesInstanceUID"),
    )


def _undated(headers: Iterable[Header]) -> list[UnreadableFile]:
    return [
        UnreadableFile(
            path=header.path,
            reason=f"{header.path.name} and its study have no date at all",
            series_uid=text(header.dataset, "SeriesInstanceUID"),
        )
        for header in headers
    ]


def _study(instances: Mapping[str, Header], day: date) -> Study:
    by_series: dict[str, list[Header]] = defaultdict(list)
    for header in instances.values():
        by_series[text(header.dataset, "SeriesInstanceUID")].append(header)
    series = [_series(uid, headers) for uid, headers in by_series.items()]
    series.sort(key=lambda one: (one.series_number is None, one.series_number or 0, one.series_uid))
    datasets = [header.dataset for header in instances.values()]
    return Study(
        study_uid=text(datasets[0], "StudyInstanceUID"),
        study_date=day,
        study_time=_first(datasets, "StudyTime"),
        patient_id=_first(datasets, "PatientID"),
        issuer_of_patient_id=_first(datasets, "IssuerOfPatientID"),
        accession_number=_first(datasets, "AccessionNumber"),
        series=tuple(series),
    )


def _series(series_uid: str, headers: list[Header]) -> Series:
    datasets = [header.dataset for header in headers]
    frames = {text(dataset, "FrameOfReferenceUID") for dataset in datasets} - {""}
    return Series(
        series_uid=series_uid,
        modality=_first(datasets, "Modality"),
        description=_first(datasets, "SeriesDescription"),
        series_number=next((n for d in datasets if (n := whole_number(d, "SeriesNumber")) is not None), None),
        frame_of_reference_uids=tuple(sorted(frames)),
        instance_paths=tuple(header.path for header in headers),
    )


def _first(datasets: list[Dataset], keyword: str) -> str:
    return next((value for dataset in datasets if (value := text(dataset, keyword))), "")


def _study_date(instances: Mapping[str, Header]) -> date | None:
    """Return the Study Date; without one, the oldest date that any of the instances names."""
    datasets = [header.dataset for header in instances.values()]
    named = [day for dataset in datasets if (day := _date(text(dataset, "StudyDate")))]
    others = [day for dataset in datasets for key in DATE_KEYWORDS if (day := _date(text(dataset, key)))]
    return min(named or others, default=None)


def _date(value: str) -> date | None:
    """Parse a DA value; the dotted form of ACR-NEMA is still met."""
    try:
        return datetime.strptime(value.replace(".", "")[:8], "%Y%m%d").date()  # noqa: DTZ007 - DA has no time zone
    except ValueError:
        return None
