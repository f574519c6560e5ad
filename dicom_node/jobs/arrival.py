"""What lies in one study's incoming folder, as far as the job needs to know it: whose, from when, and which instances.

Design rule: the identity of a job comes from the files alone, their names (SOP Instance UIDs) and their data sets; a
header that cannot be read costs nothing but what it would have said.
"""

import hashlib
import logging
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pynetdicom.dsutils import split_dataset

from dicom_node.studies.own_results import is_own_result

_TAGS = ["PatientID", "IssuerOfPatientID", "StudyDate", "StudyTime", "Manufacturer"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StudyCard:
    """Whose study it is, and from when.

    Attributes
    ----------
    patient_key
        Hash of patient ID and its issuer; empty when there is no ID.
    study_time
        ``YYYYMMDDHHMMSS``; empty when the study has no date.
    """

    patient_key: str = field(repr=False)
    study_time: str


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A study as it lies in the incoming folder.

    Attributes
    ----------
    instance_paths
        All its files, our own results among them.
    revision
        Hash of the instances that are not results of ours; equal for the same study sent again.
    instance_count
        How many those are; 0 for a folder with nothing but our own results.
    """

    study_uid: str
    card: StudyCard
    instance_paths: tuple[Path, ...]
    revision: str
    instance_count: int

    @property
    def job_id(self) -> str:
        """Name of the job of this revision of the study."""
        return f"{self.study_uid}:{self.revision}"


def read_arrival(folder: Path) -> Arrival:
    """Read the headers of all files of a study's incoming folder."""
    paths = tuple(sorted(folder.glob("*.dcm")))
    headers = {path: read_header(path) for path in paths}
    foreign = [path for path, header in headers.items() if header is None or not is_own_result(header)]
    return Arrival(
        study_uid=folder.name,
        card=card_of([header for header in headers.values() if header is not None]),
        instance_paths=paths,
        revision=revision_of({path.stem: path for path in foreign}),
        instance_count=len(foreign),
    )


def revision_of(instances: Mapping[str, Path]) -> str:
    """Hash a set of instances; their order does not count, nor does what a sender wrote before the data set.

    Parameters
    ----------
    instances
        Files by SOP Instance UID: an instance that came again with other content makes another revision.
    """
    lines = sorted(f"{uid} {_data_set_hash(path)}" for uid, path in instances.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _data_set_hash(path: Path) -> str:
    """Hash a file behind its file meta information, which names its sender."""
    try:
        offset = split_dataset(path)[1]
    except (InvalidDicomError, EOFError, ValueError, AttributeError, struct.error) as error:
        _log.warning("%s is hashed whole, since it is no DICOM file: %s", path.name, type(error).__name__)
        offset = 0
    with path.open("rb") as file:
        file.seek(offset)
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_card(folder: Path) -> StudyCard | None:
    """Read the first legible file of a study that is still arriving; None where there is none."""
    for path in folder.glob("*.dcm"):
        header = read_header(path)
        if header is not None:
            return card_of([header])
    return None


def read_header(path: Path) -> Dataset | None:
    """Read the few attributes that tell a job's identity; None for a file that is no DICOM or is gone."""
    try:
        return pydicom.dcmread(path, specific_tags=_TAGS, stop_before_pixels=True)
    except (InvalidDicomError, OSError, EOFError, ValueError, AttributeError, KeyError, NotImplementedError) as error:
        _log.warning("the header of %s cannot be read: %s", path.name, type(error).__name__)
        return None


def card_of(headers: list[Dataset]) -> StudyCard:
    """Tell whose study it is and from when; the earliest time counts."""
    times = sorted(filter(None, map(_study_time, headers)))
    identities = sorted({_text(header, "IssuerOfPatientID") + "\n" + _text(header, "PatientID") for header in headers})
    patient = next((identity for identity in identities if identity.partition("\n")[2]), "")
    return StudyCard(
        patient_key=hashlib.sha256(patient.encode()).hexdigest()[:16] if patient else "",
        study_time=times[0] if times else "",
    )


def _study_time(header: Dataset) -> str:
    date = _text(header, "StudyDate").replace(".", "")
    time = _text(header, "StudyTime").replace(":", "").partition(".")[0]
    if not (len(date) == 8 and date.isdigit()):
        return ""
    return date + (time if time.isdigit() else "").ljust(6, "0")[:6]


def _text(header: Dataset, keyword: str) -> str:
    value = header.get(keyword)
    return "" if value is None else str(value).strip()
