"""What the node needs of an archive, and nothing more: a PACS, Orthanc or a folder can stand behind it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class ArchivedSeries:
    """One series as the archive lists it.

    Attributes
    ----------
    series_uid, modality, description, manufacturer, series_number
        Attributes of the General Series and General Equipment modules; the texts may be empty.
    sop_class_uids
        SOP classes of its instances: all of them, or that of one instance where the archive would have to open
        every file to tell (a series of images has one).
    instance_count
        How many instances the archive holds.
    """

    series_uid: str
    modality: str
    description: str
    manufacturer: str
    series_number: int | None
    sop_class_uids: tuple[str, ...]
    instance_count: int


@dataclass(frozen=True, kw_only=True)
class ArchivedStudy:
    """One study as the archive lists it. Patient identity stays out of `repr`.

    Attributes
    ----------
    study_date
        None when the study has none or a malformed one.
    study_time, accession_number, issuer_of_patient_id
        As in the header; may be empty.
    series
        By series number, those without one last.
    """

    study_uid: str
    study_date: date | None
    study_time: str
    patient_id: str = field(repr=False)
    issuer_of_patient_id: str = field(repr=False)
    accession_number: str = field(repr=False)
    series: tuple[ArchivedSeries, ...]

    @property
    def instance_count(self) -> int:
        """How many instances of the study the archive holds."""
        return sum(series.instance_count for series in self.series)


class Archive(Protocol):
    """An archive of DICOM instances.

    Every method may raise `ArchiveUnavailableError` when the archive does not answer, after a few tries, and
    `ConfigurationError` when it refuses the user. All of them can be repeated without harm.
    """

    def find_studies(self, patient_id: str, *, issuer_of_patient_id: str = "") -> tuple[ArchivedStudy, ...]:
        """All studies of a patient, oldest first, those without a date before all others.

        The patient ID must be equal, and so must the issuers where both sides name one. An empty ID has no studies.
        """

    def find_study(self, study_uid: str) -> ArchivedStudy | None:
        """Return the study, or None when the archive does not have it."""

    def count_instances(self, study_uid: str) -> int:
        """How many instances of the study the archive holds; 0 when it does not have it."""

    def fetch_series(self, study_uid: str, series_uid: str, *, into: Path) -> tuple[Path, ...]:
        """Write all instances of a series as ``<SOP Instance UID>.dcm`` into a folder, which is made when missing.

        Raises
        ------
        IncompleteFetchError
            The archive holds no such series, or gave fewer instances than it lists.
        """

    def fetch_study(self, study_uid: str, *, into: Path) -> tuple[Path, ...]:
        """Write all instances of a study as ``<Series Instance UID>/<SOP Instance UID>.dcm`` into a folder.

        Raises
        ------
        IncompleteFetchError
            The archive holds no such study, or gave fewer instances than it lists.
        """

    def store(self, paths: Iterable[Path]) -> None:
        """Put DICOM files into the archive. What it holds already may be sent again.

        Raises
        ------
        DeliveryError
            A file is no DICOM instance, or the archive refuses it; the message says which and why.
        StorageFullError
            The archive has no room.
        """

    def held_instances(self, sop_instance_uids: Iterable[str]) -> frozenset[str]:
        """Those of the given SOP Instance UIDs that the archive holds now."""

    def check(self) -> str:
        """One sentence for a person: what the archive is and what it holds.

        Raises
        ------
        NodeError
            It cannot be used; the message says why and what to do.
        """
