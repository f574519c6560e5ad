"""The embedded archive: DICOM files in a folder that a person can read without us, and an index that can be lost.

::

    <root>/<Study Instance UID>/<Series Instance UID>/<SOP Instance UID>.dcm
    <root>/index.sqlite                                     made anew when it is missing
    <root>/.partial/                                        being written
"""

import errno
import logging
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pydicom
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError

from dicom_node.errors import ConfigurationError, DeliveryError, IncompleteFetchError, StorageFullError
from dicom_node.network.archive.folder_index import FolderIndex, IndexedInstance, studies_of
from dicom_node.network.archive.listing import is_same_issuer
from dicom_node.network.archive.protocol import ArchivedStudy
from dicom_node.network.durable import make_folder_durably, write_durably
from dicom_node.network.instance import InvalidInstanceError, is_uid, read_file

_PARTIAL: Final = ".partial"
_INDEX: Final = "index.sqlite"
_INDEXED_KEYWORDS: Final = [
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "SeriesDescription",
    "Manufacturer", "SeriesNumber", "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "PatientID",
    "IssuerOfPatientID",
]  # fmt: skip
_log = logging.getLogger(__name__)


class FolderArchive:
    """An `Archive` in a folder; several processes may use it at once.

    Parameters
    ----------
    root
        Made when missing.

    Raises
    ------
    ConfigurationError
        The folder cannot be written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._index = FolderIndex(root / _INDEX, self._scan)
        try:
            make_folder_durably(root.absolute())
            (root / _PARTIAL).mkdir(exist_ok=True)
        except OSError as error:
            msg = f"The archive's folder {root} cannot be written ({error.strerror}). Choose another, or allow it."
            raise ConfigurationError(msg) from error

    def find_studies(self, patient_id: str, *, issuer_of_patient_id: str = "") -> tuple[ArchivedStudy, ...]:
        """See `Archive.find_studies`."""
        if not patient_id:
            return ()
        studies = studies_of(self._index.of_patient(patient_id))
        return tuple(s for s in studies if is_same_issuer(s.issuer_of_patient_id, issuer_of_patient_id))

    def find_study(self, study_uid: str) -> ArchivedStudy | None:
        """See `Archive.find_study`."""
        studies = studies_of(self._index.of_study(study_uid))
        return studies[0] if studies else None

    def count_instances(self, study_uid: str) -> int:
        """See `Archive.count_instances`."""
        return len(self._index.of_study(study_uid))

    def fetch_series(self, study_uid: str, series_uid: str, *, into: Path) -> tuple[Path, ...]:
        """See `Archive.fetch_series`."""
        instances = [row for row in self._index.of_study(study_uid) if row.series_uid == series_uid]
        if not instances:
            raise IncompleteFetchError(f"The archive {self._root} holds no series {series_uid} of study {study_uid}.")
        return tuple(self._copy(instance, into) for instance in instances)

    def fetch_study(self, study_uid: str, *, into: Path) -> tuple[Path, ...]:
        """See `Archive.fetch_study`."""
        instances = self._index.of_study(study_uid)
        if not instances:
            raise IncompleteFetchError(f"The archive {self._root} holds no study {study_uid}.")
        return tuple(self._copy(instance, into / instance.series_uid) for instance in instances)

    def store(self, paths: Iterable[Path]) -> None:
        """See `Archive.store`. Other content under the same SOP Instance UID replaces what was there."""
        self._index.add([self._put(path) for path in paths])

    def held_instances(self, sop_instance_uids: Iterable[str]) -> frozenset[str]:
        """See `Archive.held_instances`."""
        listed = self._index.lookup(sop_instance_uids)
        return frozenset(row.sop_instance_uid for row in listed if (self._root / row.relative_path).is_file())

    def check(self) -> str:
        """See `Archive.check`."""
        try:
            write_durably(self._root / _PARTIAL / "check", (b"",), self._root / _PARTIAL)
            (self._root / _PARTIAL / "check").unlink(missing_ok=True)
        except OSError as error:
            msg = f"The archive's folder {self._root} cannot be written ({error.strerror}). Make room, or allow it."
            raise ConfigurationError(msg) from error
        studies, instances = self._index.totals()
        return f"Folder {self._root}: {studies} studies with {instances} instances."

    def reindex(self) -> None:
        """Make the index anew, for when files were put into the folder or taken away by hand."""
        self._index.rebuild()

    def _copy(self, instance: IndexedInstance, into: Path) -> Path:
        into.mkdir(parents=True, exist_ok=True)
        target = into / f"{instance.sop_instance_uid}.dcm"
        try:
            shutil.copyfile(self._root / instance.relative_path, target)
        except FileNotFoundError as error:
            msg = (
                f"The archive {self._root} lists instance {instance.sop_instance_uid} of study {instance.study_uid}, "
                "but its file is gone. Send it again, or make the index anew."
            )
            raise IncompleteFetchError(msg) from error
        return target

    def _put(self, path: Path) -> IndexedInstance:
        try:
            _header, content = read_file(path)
            instance = _describe(path)
        except (OSError, InvalidInstanceError, ValueError) as error:
            raise DeliveryError(f"{path} cannot be stored: {error}") from error
        target = self._root / instance.relative_path
        if not target.is_file() or target.read_bytes() != content:
            self._write(target, content)
        return instance

    def _write(self, target: Path, content: bytes) -> None:
        try:
            write_durably(target, (content,), self._root / _PARTIAL)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise StorageFullError(f"The archive's disk is full: {target} could not be written.") from error
            raise

    def _scan(self) -> Iterator[IndexedInstance]:
        for path in self._root.glob("*/*/*.dcm"):
            try:
                instance = _describe(path)
            except (OSError, InvalidDicomError, ValueError) as error:
                _log.warning("%s is in the archive's folder but cannot be listed: %s", path, error)
                continue
            if self._root / instance.relative_path == path:
                yield instance
            else:
                _log.warning("%s is not listed: its header says that it belongs to %s.", path, instance.relative_path)


def _describe(path: Path) -> IndexedInstance:
    """Read the attributes of the index from a DICOM file; ValueError when an UID is missing or malformed."""
    header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_INDEXED_KEYWORDS)
    number = _text(header, "SeriesNumber")
    return IndexedInstance(
        sop_instance_uid=_uid(header, "SOPInstanceUID"),
        sop_class_uid=_uid(header, "SOPClassUID"),
        series_uid=_uid(header, "SeriesInstanceUID"),
        modality=_text(header, "Modality"),
        description=_text(header, "SeriesDescription"),
        manufacturer=_text(header, "Manufacturer"),
        series_number=int(number) if number.lstrip("-").isdecimal() else None,
        study_uid=_uid(header, "StudyInstanceUID"),
        study_date=_text(header, "StudyDate"),
        study_time=_text(header, "StudyTime"),
        accession_number=_text(header, "AccessionNumber"),
        patient_id=_text(header, "PatientID"),
        issuer_of_patient_id=_text(header, "IssuerOfPatientID"),
    )


def _text(header: FileDataset, keyword: str) -> str:
    value = header.get(keyword)
    return "" if value is None else str(value).strip()


def _uid(header: FileDataset, keyword: str) -> str:
    text = _text(header, keyword)
    if not is_uid(text):
        raise ValueError(f"{keyword} is missing or no valid UID")
    return text
