"""The Verification and Storage SCU: files go out byte for byte as they are, and every instance gets its answer."""

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom.errors import InvalidDicomError
from pydicom.uid import UID
from pynetdicom import AE, _config, build_context, evt
from pynetdicom.association import Association
from pynetdicom.dsutils import split_dataset
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at import time
from pynetdicom.status import code_to_category

from dicom_node.errors import RetriableError

_config.STORE_SEND_CHUNKED_DATASET = True  # send files as they are, without decoding and encoding them again

_MOST_CONTEXTS: Final = 128
_TIMEOUT_S: Final = 30.0
_CONNECTION_TIMEOUT_S: Final = 5.0


class PeerError(RetriableError):
    """A DICOM peer does not answer, or refuses the association."""


@dataclass(frozen=True, kw_only=True)
class SentInstance:
    """What became of one file.

    Attributes
    ----------
    path
        The file.
    problem
        Why the peer does not hold it now; empty when it does.
    status
        C-STORE status that the peer answered; None when it answered nothing.
    """

    path: Path
    problem: str = ""
    status: int | None = None

    @property
    def is_stored(self) -> bool:
        """Whether the peer said that it has the instance."""
        return not self.problem


@dataclass(frozen=True, kw_only=True)
class _Outgoing:
    path: Path
    sop_class_uid: UID
    transfer_syntax_uid: UID

    @property
    def context_key(self) -> tuple[UID, UID]:
        return self.sop_class_uid, self.transfer_syntax_uid


def echo_peer(host: str, port: int, called_ae_title: str, calling_ae_title: str = "METSEG") -> None:
    """Ask a peer whether it is there (C-ECHO).

    Raises
    ------
    PeerError
        Nothing listens there, the association is refused, or the answer is no success; the message says which.
    """
    ae = _application_entity(calling_ae_title)
    with _association(ae, (host, port), called_ae_title, [build_context(Verification)]) as association:
        status = association.send_c_echo() if association.accepted_contexts else None
    if status is None or "Status" not in status or status.Status != 0:
        raise PeerError(f"{called_ae_title!r} at {host}:{port} takes associations but does not answer C-ECHO.")


def send_files(
    paths: Iterable[Path], host: str, port: int, *, called_ae_title: str, calling_ae_title: str = "METSEG"
) -> tuple[SentInstance, ...]:
    """Send DICOM files to a Storage SCP (C-STORE), in one association unless there are more than 128 kinds of them.

    Each SOP class is proposed with the transfer syntaxes in which its files are; nothing is transcoded.

    Returns
    -------
    tuple of SentInstance
        One for every path: that it is stored, or why not. A file that cannot be read or is refused stops no other.

    Raises
    ------
    PeerError
        No association could be opened.
    """
    results: list[SentInstance] = []
    outgoing: list[_Outgoing] = []
    for path in paths:
        try:
            outgoing.append(_read_outgoing(path))
        except (OSError, InvalidDicomError, AttributeError) as error:
            results.append(SentInstance(path=path, problem=f"{path} is no DICOM file that can be sent: {error}"))
    ae = _application_entity(calling_ae_title)
    for batch in _batches(outgoing):
        contexts = [build_context(*key) for key in dict.fromkeys(file.context_key for file in batch)]
        with _association(ae, (host, port), called_ae_title, contexts) as association:
            results.extend(_send(association, file) for file in batch)
    return tuple(results)


def _application_entity(ae_title: str) -> AE:
    ae = AE(ae_title=ae_title)
    ae.connection_timeout = _CONNECTION_TIMEOUT_S
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = _TIMEOUT_S
    return ae


@contextmanager
def _association(
    ae: AE, address: tuple[str, int], called_ae_title: str, contexts: list[PresentationContext]
) -> Iterator[Association]:
    host, port = address
    association = ae.associate(
        host,
        port,
        contexts,
        ae_title=called_ae_title,
        evt_handlers=[(evt.EVT_CONN_OPEN, _disable_nagle)],
    )
    if not association.is_established:
        raise PeerError(_refusal(association, f"{host}:{port}", called_ae_title))
    _leave_answers_to_the_sender(association)
    try:
        yield association
    finally:
        association.release()


def _leave_answers_to_the_sender(association: Association) -> None:
    """Let nobody but the waiting sender take a message.

    The thread of pynetdicom's association looks for requests of the peer without blocking. Between two instances it
    may look once more than it should and take the answer to a C-STORE, which is then waited for in vain. A sender
    serves no requests.
    """
    take = association.dimse.get_msg

    def take_if_waiting(block: bool = False) -> Any:
        return take(block) if block else (None, None)

    association.dimse.get_msg = take_if_waiting  # type: ignore[method-assign]


def _disable_nagle(event: evt.Event) -> None:
    """Nagle's algorithm and delayed acknowledgement together cost 40 ms for every instance."""
    transport = event.assoc.dul.socket
    if transport is not None and transport.socket is not None:
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _refusal(association: Association, address: str, called_ae_title: str) -> str:
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        return (
            f"{address} refuses the association with {called_ae_title!r}: {answer.reason_str}. "
            f"Check the AE titles on both sides (ours is {association.requestor.ae_title!r})."
        )
    if association.rejected_contexts:
        return f"{called_ae_title!r} at {address} accepts none of what was proposed."
    return f"No DICOM peer answers at {address}. Check the address, the port, the firewall, and that it runs."


def _read_outgoing(path: Path) -> _Outgoing:
    meta, _offset = split_dataset(path)
    return _Outgoing(path=path, sop_class_uid=meta.MediaStorageSOPClassUID, transfer_syntax_uid=meta.TransferSyntaxUID)


def _batches(files: Iterable[_Outgoing]) -> Iterator[list[_Outgoing]]:
    """Files in their order, parted where an association would need more than 128 presentation contexts."""
    batch: list[_Outgoing] = []
    kinds: set[tuple[UID, UID]] = set()
    for file in files:
        if len(kinds | {file.context_key}) > _MOST_CONTEXTS:
            yield batch
            batch, kinds = [], set()
        batch.append(file)
        kinds.add(file.context_key)
    if batch:
        yield batch


def _send(association: Association, file: _Outgoing) -> SentInstance:
    if not association.is_established:
        return SentInstance(path=file.path, problem="The peer ended the association before this instance.")
    try:
        answer = association.send_c_store(file.path)
    except (ValueError, AttributeError) as error:
        return SentInstance(path=file.path, problem=f"The peer does not take {_kind(file)}: {error}")
    status = answer.get("Status")
    if status is None:
        association.abort()  # else pynetdicom takes a lost association for an open one, and waits again
        return SentInstance(path=file.path, problem="The peer did not answer.")
    if code_to_category(status) not in ("Success", "Warning"):
        return SentInstance(path=file.path, status=status, problem=f"The peer answered 0x{status:04X}.")
    return SentInstance(path=file.path, status=status)


def _kind(file: _Outgoing) -> str:
    return f"{file.sop_class_uid.name} in {file.transfer_syntax_uid.name}"
