"""The incoming folder: whatever arrives ends as a safe file under its study, or in quarantine with its reason.

::

    incoming/<Study Instance UID>/<SOP Instance UID>.dcm    received, complete, safe on disk
    incoming/.partial/                                      being written; emptied at start
    quarantine/<hash>.dcm or .dataset, <hash>.json          refused: the bytes, and why
    quarantine/superseded/<hash>.dcm, <hash>.json           replaced by other content under the same UID

What cannot even be kept, on a full disk, is left with its sender and told by a notice.
"""

import hashlib
import json
import logging
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pynetdicom.dsutils import split_dataset

from dicom_node.errors import ConfigurationError, StorageFullError
from dicom_node.network.durable import make_folder_durably, sweep, sync_folder, write_aside, write_durably
from dicom_node.network.incoming_lock import naming_files
from dicom_node.network.instance import (
    InstanceHeader,
    InvalidInstanceError,
    file_meta,
    is_uid,
    peek_study_uid,
    read_header,
)
from dicom_node.notices import NoticeBoard

SUCCESS: Final = 0x0000
OUT_OF_RESOURCES: Final = 0xA700
DATA_SET_DOES_NOT_MATCH_SOP_CLASS: Final = 0xA900
CANNOT_UNDERSTAND: Final = 0xC000

_PARTIAL: Final = ".partial"
_SUPERSEDED: Final = "superseded"
_GIB: Final = 2**30
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReceivedInstance:
    """One C-STORE request as it came.

    Attributes
    ----------
    data
        The encoded data set, exactly as sent.
    transfer_syntax_uid, sop_class_uid, sop_instance_uid
        As negotiated and as named in the command set; not validated.
    calling_ae_title
        Who sent it.
    """

    data: bytes
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    calling_ae_title: str


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """Why bytes are in quarantine, as written beside them.

    Attributes
    ----------
    file_name
        Name of the file with the bytes, in the folder of the reason file.
    reason
        One sentence for a person.
    status
        The C-STORE status that was answered.
    received_at
        ISO 8601, UTC.
    study_uid, sop_instance_uid
        Empty where they could not be read.
    """

    file_name: str
    reason: str
    status: int
    received_at: str
    calling_ae_title: str
    transfer_syntax_uid: str
    study_uid: str
    sop_instance_uid: str


def list_quarantined(quarantine_folder: Path) -> tuple[Quarantined, ...]:
    """All that was refused, oldest first; superseded instances are not among them."""
    reasons = [json.loads(path.read_text("utf-8")) for path in quarantine_folder.glob("*.json")]
    return tuple(sorted((Quarantined(**reason) for reason in reasons), key=lambda entry: entry.received_at))


class Inbox:
    """The incoming folder of one listener; its methods may be called from many threads.

    Parameters
    ----------
    incoming_folder, quarantine_folder
        Made when missing; best on one file system.
    minimum_free_bytes
        Instances are refused as on a full disk while less than this is free, so that the node itself can go on.
    notices
        Told of instances that could not be stored.

    Raises
    ------
    ConfigurationError
        A folder cannot be written.
    """

    def __init__(
        self,
        incoming_folder: Path,
        quarantine_folder: Path,
        *,
        minimum_free_bytes: int = 0,
        notices: NoticeBoard | None = None,
    ) -> None:
        self._incoming = incoming_folder
        self._quarantine = quarantine_folder
        self._minimum_free_bytes = minimum_free_bytes
        self._notices = notices
        for folder in (incoming_folder, quarantine_folder):
            _prepare(folder)

    def keep(self, instance: ReceivedInstance) -> int:
        """File the instance and return the C-STORE status to answer (PS3.4 table B.2-1).

        `SUCCESS` is returned only when the bytes are safe on disk under their study.
        """
        try:
            self._require_space(len(instance.data))
            try:
                self._file(instance)
            except InvalidInstanceError as error:
                return self._refuse(instance, reason=str(error), status=CANNOT_UNDERSTAND)
            except _MismatchError as error:
                return self._refuse(instance, reason=str(error), status=DATA_SET_DOES_NOT_MATCH_SOP_CLASS)
        except (OSError, StorageFullError) as error:
            return self._leave_with_sender(instance, error)
        return SUCCESS

    def quarantine(self, instance: ReceivedInstance, *, reason: str) -> int:
        """Keep the bytes of an instance that could not be filed, and return the status to answer."""
        try:
            return self._refuse(instance, reason=reason, status=CANNOT_UNDERSTAND)
        except OSError as error:
            return self._leave_with_sender(instance, error)

    def _leave_with_sender(self, instance: ReceivedInstance, error: OSError | StorageFullError) -> int:
        """Tell everybody that an instance could not be stored, in words that are the same for all instances."""
        reason = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
        remedy = "make room there, or have the disk repaired, and send the study again."
        told = f"Storing in {self._incoming} failed ({reason}): {remedy}"
        _log.error("An instance from %r is answered with 0x%04X. %s", instance.calling_ae_title, OUT_OF_RESOURCES, told)
        if self._notices is not None:
            self._notices.tell("instance", repr(instance.calling_ae_title), told)
        return OUT_OF_RESOURCES

    def _require_space(self, size_bytes: int) -> None:
        if shutil.disk_usage(self._incoming).free < self._minimum_free_bytes + size_bytes:
            least = f"node.minimum_free_disk_gib = {self._minimum_free_bytes / _GIB:g}"
            raise StorageFullError(f"the disk is full: less than {least} would stay free")

    def _file(self, instance: ReceivedInstance) -> None:
        header = read_header(instance.data, instance.transfer_syntax_uid)
        _require_match(instance, header)
        aside = write_aside((_meta_from_command(instance), instance.data), self._incoming / _PARTIAL)
        try:
            self._commit(aside, instance, header)
        finally:
            aside.unlink(missing_ok=True)

    def _commit(self, aside: Path, instance: ReceivedInstance, header: InstanceHeader) -> None:
        """Give the file its name; the same bytes again change nothing, other bytes replace and keep the old ones."""
        path = self._incoming / header.study_uid / f"{header.sop_instance_uid}.dcm"
        with naming_files(self._incoming):
            make_folder_durably(path.parent)
            if not path.exists():
                aside.rename(path)
            elif not _holds(path, instance):
                self._supersede(path, header)
                aside.replace(path)
        sync_folder(path.parent)

    def _supersede(self, path: Path, header: InstanceHeader) -> None:
        """Copy the stored file to quarantine before another takes its name."""
        folder = self._quarantine / _SUPERSEDED
        content = path.read_bytes()
        record = Quarantined(
            file_name=f"{_fingerprint(content)}.dcm",
            reason="Another instance came with the same SOP Instance UID and other content; the newer one is used.",
            status=SUCCESS,
            received_at=datetime.now(UTC).isoformat(),
            calling_ae_title="",
            transfer_syntax_uid="",
            study_uid=header.study_uid,
            sop_instance_uid=header.sop_instance_uid,
        )
        self._write_with_reason(folder, record, content=(content,))
        _log.warning(
            "SOP Instance UID %s of study %s came again with other content: the newer is used, the older kept in %s.",
            header.sop_instance_uid,
            header.study_uid,
            folder / record.file_name,
        )

    def _refuse(self, instance: ReceivedInstance, *, reason: str, status: int) -> int:
        named = is_uid(instance.sop_instance_uid) and is_uid(instance.sop_class_uid)
        record = Quarantined(
            file_name=f"{_fingerprint(instance.data)}.{'dcm' if named else 'dataset'}",
            reason=reason,
            status=status,
            received_at=datetime.now(UTC).isoformat(),
            calling_ae_title=instance.calling_ae_title,
            transfer_syntax_uid=instance.transfer_syntax_uid,
            study_uid=peek_study_uid(instance.data, instance.transfer_syntax_uid),
            sop_instance_uid=instance.sop_instance_uid if named else "",
        )
        meta = _meta_from_command(instance) if named else b""
        self._write_with_reason(self._quarantine, record, content=(meta, instance.data))
        _log.error(
            "Refused an instance from %r with 0x%04X: %s It is kept in %s.",
            instance.calling_ae_title,
            status,
            reason,
            self._quarantine / record.file_name,
        )
        return status

    def _write_with_reason(self, folder: Path, record: Quarantined, *, content: tuple[bytes, ...]) -> None:
        reason = json.dumps(asdict(record), indent=2).encode()
        scratch = self._quarantine / _PARTIAL
        write_durably(folder / record.file_name, content, scratch)
        write_durably((folder / record.file_name).with_suffix(".json"), (reason,), scratch)


class _MismatchError(Exception):
    """The data set is another instance than the command set says."""


def _prepare(folder: Path) -> None:
    try:
        swept = sweep(folder / _PARTIAL)
        write_aside((), folder / _PARTIAL).unlink()
    except OSError as error:
        msg = f"The folder {folder} cannot be written ({error.strerror}). Choose another, or give this user access."
        raise ConfigurationError(msg) from error
    if swept:
        _log.warning("%d unfinished files of an interrupted run were removed from %s.", swept, folder)


def _require_match(instance: ReceivedInstance, header: InstanceHeader) -> None:
    if header.sop_instance_uid != instance.sop_instance_uid:
        raise _MismatchError("SOP Instance UIDs of the data set and of the C-STORE command differ.")
    if header.sop_class_uid != instance.sop_class_uid:
        raise _MismatchError("SOP Class UIDs of the data set and of the C-STORE command differ.")


def _meta_from_command(instance: ReceivedInstance) -> bytes:
    return file_meta(
        sop_class_uid=instance.sop_class_uid,
        sop_instance_uid=instance.sop_instance_uid,
        transfer_syntax_uid=instance.transfer_syntax_uid,
        source_ae_title=instance.calling_ae_title,
    )


def _holds(path: Path, instance: ReceivedInstance) -> bool:
    """Whether the file has the same data set in the same encoding; who sent it does not matter."""
    meta, offset = split_dataset(path)
    with path.open("rb") as stream:
        stream.seek(offset)
        return meta.get("TransferSyntaxUID") == instance.transfer_syntax_uid and stream.read() == instance.data


def _fingerprint(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
