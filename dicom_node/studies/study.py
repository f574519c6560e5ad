"""What was received, as plain values: a study, its series, and the files they lie in."""

from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series as received.

    Attributes
    ----------
    series_uid, modality, description, series_number
        Attributes of the General Series module (PS3.3 C.7.3.1); description and number may be empty.
    frame_of_reference_uids
        All that its instances name; a usable series has exactly one.
    instance_paths
        DICOM files, in no particular order.
    """

    series_uid: str
    modality: str
    description: str
    series_number: int | None
    frame_of_reference_uids: tuple[str, ...]
    instance_paths: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class Study:
    """One study as received. Patient identity stays out of `repr`, so it stays out of logs.

    Attributes
    ----------
    study_uid, accession_number, study_time
        Attributes of the General Study module (PS3.3 C.7.2.1).
    study_date
        Study Date; the date of the oldest series or acquisition when the study has none.
    patient_id, issuer_of_patient_id
        Attributes of the Patient module (PS3.3 C.7.1.1).
    """

    study_uid: str
    study_date: date
    study_time: str
    patient_id: str = field(repr=False)
    issuer_of_patient_id: str = field(default="", repr=False)
    accession_number: str = field(default="", repr=False)
    series: tuple[Series, ...]
    last_received: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class UnreadableFile:
    """A file that cannot be used as it is.

    Attributes
    ----------
    path
        The file.
    reason
        One sentence for a person; names no patient.
    series_uid
        The series that it says it belongs to; empty when not even that can be read.
    """

    path: Path
    reason: str
    series_uid: str = ""
