"""The SQLite index of a folder of DICOM files: it may be lost at any time, since it is rebuilt from the files.

Each call opens its own connection, so that threads and processes share the index through SQLite's own locks.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Final

from dicom_node.errors import ArchiveUnavailableError, ConfigurationError
from dicom_node.network.archive.listing import by_number, oldest_first, parse_study_date
from dicom_node.network.archive.protocol import ArchivedSeries, ArchivedStudy

_SCHEMA_VERSION: Final = 1
_BUSY_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, kw_only=True)
class IndexedInstance:
    """One row: where an instance is filed, and what is listed about its series and study."""

    sop_instance_uid: str
    sop_class_uid: str
    series_uid: str
    modality: str
    description: str
    manufacturer: str
    series_number: int | None
    study_uid: str
    study_date: str
    study_time: str
    accession_number: str
    patient_id: str
    issuer_of_patient_id: str

    @property
    def relative_path(self) -> Path:
        """Where its file is, seen from the folder of the archive."""
        return Path(self.study_uid, self.series_uid, f"{self.sop_instance_uid}.dcm")


_COLUMNS: Final = tuple(field.name for field in fields(IndexedInstance))
_CREATE: Final = (
    "DROP TABLE IF EXISTS instances",
    f"CREATE TABLE instances ({', '.join(_COLUMNS)}, PRIMARY KEY (sop_instance_uid)) WITHOUT ROWID",
    "CREATE INDEX by_study ON instances (study_uid)",
    "CREATE INDEX by_patient ON instances (patient_id)",
)
_INSERT: Final = f"INSERT OR REPLACE INTO instances VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - constants


class FolderIndex:
    """The index in the SQLite file `path`; `scan` lists what is in the folder, for when the index is lost."""

    def __init__(self, path: Path, scan: Callable[[], Iterable[IndexedInstance]]) -> None:
        self._path = path
        self._scan = scan

    def add(self, instances: Iterable[IndexedInstance]) -> None:
        """List instances in one transaction, in place of what was listed under the same SOP Instance UIDs."""
        with self._transaction() as connection:
            _insert(connection, instances)

    def rebuild(self) -> None:
        """List what the folder holds now, and nothing else."""
        with self._transaction() as connection:
            self._fill(connection)

    def of_patient(self, patient_id: str) -> tuple[IndexedInstance, ...]:
        """All instances with this patient ID."""
        return self._select("patient_id = ?", (patient_id,))

    def of_study(self, study_uid: str) -> tuple[IndexedInstance, ...]:
        """All instances of a study."""
        return self._select("study_uid = ?", (study_uid,))

    def lookup(self, sop_instance_uids: Iterable[str]) -> tuple[IndexedInstance, ...]:
        """Those of the given instances that are listed."""
        return tuple(row for uid in sop_instance_uids for row in self._select("sop_instance_uid = ?", (uid,)))

    def totals(self) -> tuple[int, int]:
        """How many studies and instances are listed."""
        with self._connection() as connection:
            studies, instances = connection.execute(
                "SELECT COUNT(DISTINCT study_uid), COUNT(*) FROM instances"
            ).fetchone()
        return int(studies), int(instances)

    def _select(self, condition: str, values: tuple[str, ...]) -> tuple[IndexedInstance, ...]:
        query = f"SELECT {', '.join(_COLUMNS)} FROM instances WHERE {condition}"  # noqa: S608 - no value from outside
        with self._connection() as connection:
            rows = connection.execute(query, values).fetchall()
        return tuple(IndexedInstance(**dict(zip(_COLUMNS, row, strict=True))) for row in rows)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Open a connection to a complete index; what is not committed when it closes is rolled back."""
        try:
            with closing(sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                if _version(connection) != _SCHEMA_VERSION:
                    self._create(connection)
                yield connection
        except sqlite3.OperationalError as error:
            msg = f"The archive's index {self._path} cannot be used just now: {error}. It is tried again."
            raise ArchiveUnavailableError(msg) from error
        except sqlite3.DatabaseError as error:
            msg = f"The archive's index {self._path} is damaged ({error}). Delete it: it is made anew from the files."
            raise ConfigurationError(msg) from error

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        if _version(connection) != _SCHEMA_VERSION:  # another process may have been faster
            self._fill(connection)
        connection.execute("COMMIT")

    def _fill(self, connection: sqlite3.Connection) -> None:
        for statement in _CREATE:
            connection.execute(statement)
        _insert(connection, self._scan())
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")


def studies_of(instances: Iterable[IndexedInstance]) -> tuple[ArchivedStudy, ...]:
    """Group instances into their studies, oldest first."""
    studies: dict[str, list[IndexedInstance]] = {}
    for instance in instances:
        studies.setdefault(instance.study_uid, []).append(instance)
    return oldest_first(map(_study, studies.values()))


def _study(instances: list[IndexedInstance]) -> ArchivedStudy:
    series: dict[str, list[IndexedInstance]] = {}
    for instance in instances:
        series.setdefault(instance.series_uid, []).append(instance)
    first = instances[0]
    return ArchivedStudy(
        study_uid=first.study_uid,
        study_date=parse_study_date(first.study_date),
        study_time=first.study_time,
        patient_id=first.patient_id,
        issuer_of_patient_id=first.issuer_of_patient_id,
        accession_number=first.accession_number,
        series=by_number(map(_series, series.values())),
    )


def _series(instances: list[IndexedInstance]) -> ArchivedSeries:
    first = instances[0]
    return ArchivedSeries(
        series_uid=first.series_uid,
        modality=first.modality,
        description=first.description,
        manufacturer=first.manufacturer,
        series_number=first.series_number,
        sop_class_uids=tuple(sorted({instance.sop_class_uid for instance in instances})),
        instance_count=len(instances),
    )


def _insert(connection: sqlite3.Connection, instances: Iterable[IndexedInstance]) -> None:
    connection.executemany(_INSERT, (astuple(instance) for instance in instances))


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
