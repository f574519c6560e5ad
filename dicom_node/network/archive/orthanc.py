"""Orthanc over REST, through pyorthanc: an httpx client that takes our time-outs and hides no retries of its own.

The alternative, orthanc-api-client, is as well kept, but retries inside (which would multiply with ours), sets no
time-out, and brings a second HTTP library. Retries live in `OrthancArchive._ask` alone: each request is tried four
times within about four seconds, which bridges a restart; whatever lasts longer is the job engine's matter.
"""

from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import httpx
import pydicom
import pyorthanc
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from dicom_node.errors import (
    ArchiveUnavailableError,
    ConfigurationError,
    DeliveryError,
    IncompleteFetchError,
    StorageFullError,
)
from dicom_node.network.archive.listing import by_number, is_same_issuer, oldest_first, parse_study_date
from dicom_node.network.archive.protocol import ArchivedSeries, ArchivedStudy
from dicom_node.network.instance import InvalidInstanceError, is_uid, read_file

_TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0)
_ATTEMPTS: Final = 4
_ORTHANC_FULL_STORAGE: Final = 17  # OrthancStatus of its error "Full storage"


class OrthancArchive:
    """An `Archive` in Orthanc 1.10 or later. Nothing is asked before the first use.

    Parameters
    ----------
    url
        Of the REST API, as ``http://127.0.0.1:8042``.
    user, password
        Empty where Orthanc asks for none.
    """

    def __init__(self, url: str, *, user: str = "", password: str = "") -> None:
        self._url = url.rstrip("/")
        self._client: Any = pyorthanc.Orthanc(self._url, user, password, return_raw_response=True, timeout=_TIMEOUT)

    def find_studies(self, patient_id: str, *, issuer_of_patient_id: str = "") -> tuple[ArchivedStudy, ...]:
        """See `Archive.find_studies`."""
        if not patient_id:
            return ()
        query = {"Level": "Study", "Query": {"PatientID": patient_id}, "Expand": True}
        found = self._ask(self._client.post_tools_find, query).json()
        # Orthanc takes '*' and '?' in an ID for wildcards and ignores case: equality is ours to check.
        studies = [self._study(entry) for entry in found if _tags(entry, "Patient").get("PatientID") == patient_id]
        return oldest_first(s for s in studies if is_same_issuer(s.issuer_of_patient_id, issuer_of_patient_id))

    def find_study(self, study_uid: str) -> ArchivedStudy | None:
        """See `Archive.find_study`."""
        for orthanc_id in self._lookup(study_uid, "Study"):
            return self._study(self._ask(self._client.get_studies_id, orthanc_id).json())
        return None

    def count_instances(self, study_uid: str) -> int:
        """See `Archive.count_instances`."""
        answers = (self._ask(self._client.get_studies_id_statistics, i) for i in self._lookup(study_uid, "Study"))
        return sum(int(answer.json()["CountInstances"]) for answer in answers)

    def fetch_series(self, study_uid: str, series_uid: str, *, into: Path) -> tuple[Path, ...]:
        """See `Archive.fetch_series`."""
        for entry in self._series_entries(study_uid):
            if _tags(entry).get("SeriesInstanceUID") == series_uid:
                return self._fetch(entry, into)
        raise IncompleteFetchError(f"Orthanc at {self._url} holds no series {series_uid} of study {study_uid}.")

    def fetch_study(self, study_uid: str, *, into: Path) -> tuple[Path, ...]:
        """See `Archive.fetch_study`."""
        entries = self._series_entries(study_uid)
        if not entries:
            raise IncompleteFetchError(f"Orthanc at {self._url} holds no study {study_uid}.")
        folders = [into / self._safe(_tags(entry).get("SeriesInstanceUID", "")) for entry in entries]
        return tuple(
            path for entry, folder in zip(entries, folders, strict=True) for path in self._fetch(entry, folder)
        )

    def store(self, paths: Iterable[Path]) -> None:
        """See `Archive.store`. With Orthanc's OverwriteInstances off, what it holds under the same UID stays."""
        for path in paths:
            answer = self._ask(self._client.post_instances, _read_for_storing(path), accept=(400,))
            if answer.status_code == httpx.codes.BAD_REQUEST:
                detail = answer.json().get("Details", answer.json().get("Message", ""))
                raise DeliveryError(f"Orthanc at {self._url} refuses {path}: {detail}.")

    def held_instances(self, sop_instance_uids: Iterable[str]) -> frozenset[str]:
        """See `Archive.held_instances`."""
        return frozenset(uid for uid in sop_instance_uids if self._lookup(uid, "Instance"))

    def check(self) -> str:
        """See `Archive.check`."""
        system = self._ask(self._client.get_system).json()
        counts = self._ask(self._client.get_statistics).json()
        return (
            f"Orthanc {system['Version']} {system['Name']!r} at {self._url}: "
            f"{counts['CountStudies']} studies with {counts['CountInstances']} instances."
        )

    def _ask(
        self, request: Callable[..., httpx.Response], *arguments: Any, accept: tuple[int, ...] = ()
    ) -> httpx.Response:
        """Make one request, again when Orthanc does not answer; every request here can be repeated without harm."""
        attempts = Retrying(
            retry=retry_if_exception_type(ArchiveUnavailableError),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential(multiplier=0.5),
            reraise=True,
        )
        return attempts(self._ask_once, request, arguments, accept)

    def _ask_once(
        self, request: Callable[..., httpx.Response], arguments: tuple[Any, ...], accept: tuple[int, ...]
    ) -> httpx.Response:
        try:
            answer = request(*arguments)
        except httpx.TransportError as error:
            msg = f"Orthanc at {self._url} does not answer ({error}). Check that it runs and that the address is right."
            raise ArchiveUnavailableError(msg) from error
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"{self._url!r} is no address of an Orthanc ({error}).") from error
        if answer.is_success or answer.status_code in accept:
            return answer
        raise self._failure(answer)

    def _failure(self, answer: httpx.Response) -> Exception:
        code = answer.status_code
        if code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return ConfigurationError(
                f"Orthanc at {self._url} refuses the user (HTTP {code}). Check user and password."
            )
        if code == httpx.codes.INSUFFICIENT_STORAGE or f'"OrthancStatus" : {_ORTHANC_FULL_STORAGE},' in answer.text:
            return StorageFullError(f"Orthanc at {self._url} has no room.")
        if code >= httpx.codes.INTERNAL_SERVER_ERROR:
            return ArchiveUnavailableError(f"Orthanc at {self._url} answers HTTP {code} to {answer.request.url.path}.")
        return ConfigurationError(f"{self._url} answers HTTP {code} to {answer.request.url.path}: is it an Orthanc?")

    def _lookup(self, uid: str, level: str) -> list[str]:
        """Orthanc's identifiers of a DICOM UID."""
        # Not post_tools_lookup: it passes the UID in a way that httpx deprecates.
        found = self._ask(lambda: self._client.post(f"{self._url}/tools/lookup", content=uid)).json()
        return [entry["ID"] for entry in found if entry["Type"] == level]

    def _series_entries(self, study_uid: str) -> list[dict[str, Any]]:
        identifiers = self._lookup(study_uid, "Study")
        return [entry for i in identifiers for entry in self._ask(self._client.get_studies_id_series, i).json()]

    def _study(self, entry: dict[str, Any]) -> ArchivedStudy:
        series_entries = self._ask(self._client.get_studies_id_series, entry["ID"]).json()
        tags = _tags(entry)
        return ArchivedStudy(
            study_uid=tags["StudyInstanceUID"],
            study_date=parse_study_date(tags.get("StudyDate", "")),
            study_time=tags.get("StudyTime", ""),
            patient_id=_tags(entry, "Patient").get("PatientID", ""),
            issuer_of_patient_id=self._issuer(series_entries),
            accession_number=tags.get("AccessionNumber", ""),
            series=by_number(self._series(series) for series in series_entries),
        )

    def _issuer(self, series_entries: list[dict[str, Any]]) -> str:
        """Issuer of Patient ID, which Orthanc does not index: from one instance."""
        for entry in series_entries:
            answer = self._ask(self._client.get_instances_id_simplified_tags, entry["Instances"][0])
            return str(answer.json().get("IssuerOfPatientID") or "").strip()
        return ""

    def _series(self, entry: dict[str, Any]) -> ArchivedSeries:
        tags, instances = _tags(entry), entry["Instances"]
        number = tags.get("SeriesNumber", "").strip()
        sop_class = self._ask(self._client.get_instances_id_metadata_name, instances[0], "SopClassUid").text
        return ArchivedSeries(
            series_uid=tags["SeriesInstanceUID"],
            modality=tags.get("Modality", ""),
            description=tags.get("SeriesDescription", ""),
            manufacturer=tags.get("Manufacturer", ""),
            series_number=int(number) if number.lstrip("-").isdecimal() else None,
            sop_class_uids=(sop_class,),
            instance_count=len(instances),
        )

    def _fetch(self, entry: dict[str, Any], into: Path) -> tuple[Path, ...]:
        into.mkdir(parents=True, exist_ok=True)
        listed = self._ask(self._client.get_series_id_instances, entry["ID"]).json()
        paths = tuple(path for instance in listed for path in self._fetch_instance(instance, into))
        if len(paths) < len(entry["Instances"]):
            msg = (
                f"Orthanc at {self._url} lists {len(entry['Instances'])} instances of series "
                f"{_tags(entry).get('SeriesInstanceUID')}, but gave {len(paths)}."
            )
            raise IncompleteFetchError(msg)
        return paths

    def _fetch_instance(self, entry: dict[str, Any], into: Path) -> Iterator[Path]:
        """Write one instance; nothing comes when Orthanc no longer has it, or gives another one than it lists."""
        uid = self._safe(_tags(entry).get("SOPInstanceUID", ""))
        answer = self._ask(self._client.get_instances_id_file, entry["ID"], accept=(404,))
        if answer.is_success and _sop_instance_uid(answer.content) == uid:
            path = into / f"{uid}.dcm"
            path.write_bytes(answer.content)
            yield path

    def _safe(self, uid: str) -> str:
        if not is_uid(uid):
            raise IncompleteFetchError(f"Orthanc at {self._url} lists an instance or series without a valid UID.")
        return uid


def _tags(entry: dict[str, Any], level: str = "") -> dict[str, str]:
    tags: dict[str, str] = entry.get(f"{level}MainDicomTags", {})
    return tags


def _read_for_storing(path: Path) -> bytes:
    try:
        return read_file(path)[1]
    except (OSError, InvalidInstanceError) as error:
        raise DeliveryError(f"{path} cannot be stored: {error}") from error


def _sop_instance_uid(content: bytes) -> str:
    header = pydicom.dcmread(BytesIO(content), stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
    return str(header.get("SOPInstanceUID", ""))
