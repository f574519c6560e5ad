"""The Storage and Verification SCP: it answers 0x0000 only for what is safe on disk, and never goes down.

It loads neither torch nor the analysis, so that receiving goes on whatever happens to the worker.
"""

import logging
import signal
import socket
import threading
import time
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from socketserver import BaseServer
from types import TracebackType
from typing import Final, Self, cast

from pydicom import uid
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.association import ServiceUser
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at import time
from pynetdicom.transport import ThreadedAssociationServer

from dicom_node.errors import ConfigurationError
from dicom_node.network.inbox import Inbox, ReceivedInstance
from dicom_node.notices import NoticeBoard

TRANSFER_SYNTAXES: Final = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.RLELossless,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
    uid.HTJ2K,
)
"""Every encoding of an image that can be decoded later; video is left out."""

_LARGEST_PDU_BYTES: Final = 131072
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ListenerSettings:
    """How the listener receives.

    Attributes
    ----------
    incoming_folder
        Where studies arrive: ``<Study Instance UID>/<SOP Instance UID>.dcm``.
    quarantine_folder
        Where refused instances are kept; ``quarantine`` beside the incoming folder when None.
    notices_file
        Where senders that were refused are noted; ``notices/listener`` beside the incoming folder when None.
    ae_title
        The only called AE title that is accepted.
    host, port
        Address to listen on; port 0 takes a free one.
    max_associations
        More at a time are rejected with "local limit exceeded". Each may hold one instance in memory.
    network_timeout_s
        A peer that says nothing for this long is dropped, in the middle of an instance too.
    acse_timeout_s
        A connection that does not ask for an association within this time is dropped.
    drain_timeout_s
        How long running associations may go on after a request to stop.
    minimum_free_bytes
        Instances are refused as on a full disk while less than this is free.
    """

    incoming_folder: Path
    quarantine_folder: Path | None = None
    notices_file: Path | None = None
    ae_title: str = "METSEG"
    host: str = "127.0.0.1"
    port: int = 11112
    max_associations: int = 32
    network_timeout_s: float = 30.0
    acse_timeout_s: float = 5.0
    drain_timeout_s: float = 5.0
    minimum_free_bytes: int = 256 * 2**20


class _Server(ThreadedAssociationServer):
    request_queue_size = 128  # a burst of senders waits in the kernel instead of being refused

    def shutdown(self) -> None:
        """Stop to accept; pynetdicom's own way out serves only servers that `AE.start_server` made."""
        BaseServer.shutdown(self)
        self.server_close()


class Listener:
    """A running listener; also a context manager that stops it.

    Attributes
    ----------
    port
        The port it listens on.
    """

    def __init__(self, ae: AE, server: _Server, *, drain_timeout_s: float) -> None:
        self._ae = ae
        self._server = server
        self._drain_timeout_s = drain_timeout_s
        self.port = int(server.server_address[1])
        self._thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="listener", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Accept nothing more, let running associations end for a while, then abort them."""
        self._server.shutdown()
        self._thread.join()
        deadline = time.monotonic() + self._drain_timeout_s
        while any(a.is_established for a in self._server.active_associations) and time.monotonic() < deadline:
            time.sleep(0.05)
        for association in self._server.active_associations:
            _log.warning("The association with %s is aborted: the listener stops.", _peer(association.requestor))
            association.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_listener(settings: ListenerSettings) -> Listener:
    """Start to receive, in threads of this process.

    Raises
    ------
    ConfigurationError
        The address is in use or not ours, the AE title is not valid, or a folder cannot be written.
    """
    quarantine = settings.quarantine_folder or settings.incoming_folder.parent / "quarantine"
    notices = NoticeBoard(settings.notices_file or settings.incoming_folder.parent / "notices" / "listener")
    inbox = Inbox(settings.incoming_folder, quarantine, minimum_free_bytes=settings.minimum_free_bytes, notices=notices)
    ae = _application_entity(settings)
    handlers = _handlers(settings, inbox, notices)
    try:
        server = ae.make_server((settings.host, settings.port), evt_handlers=handlers, server_class=_Server)
    except OSError as error:
        msg = (
            f"Cannot listen on {settings.host}:{settings.port} ({error.strerror}). "
            "Choose another port or address, or end the program that uses it."
        )
        raise ConfigurationError(msg) from error
    listener = Listener(ae, cast("_Server", server), drain_timeout_s=settings.drain_timeout_s)
    _log.info(
        "%s listens on %s:%d, storing in %s.", settings.ae_title, settings.host, listener.port, settings.incoming_folder
    )
    return listener


def run_listener(settings: ListenerSettings) -> None:
    """Receive until SIGTERM or SIGINT; the main function of the listener's process.

    Raises
    ------
    ConfigurationError
        As `start_listener`.
    """
    logging.getLogger("pynetdicom").setLevel(logging.WARNING)  # at INFO it writes several lines for each instance
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    with start_listener(settings):
        stop.wait()


def _application_entity(settings: ListenerSettings) -> AE:
    try:
        ae = AE(ae_title=settings.ae_title)
    except ValueError as error:
        msg = f"ae_title: {settings.ae_title!r} is no AE title. Use 1 to 16 letters, digits, spaces, '_' or '-'."
        raise ConfigurationError(msg) from error
    ae.require_called_aet = True
    ae.maximum_associations = settings.max_associations
    ae.maximum_pdu_size = _LARGEST_PDU_BYTES
    ae.network_timeout = settings.network_timeout_s
    ae.acse_timeout = settings.acse_timeout_s
    ae.dimse_timeout = settings.network_timeout_s
    ae.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax or "", list(TRANSFER_SYNTAXES))
    return ae


def _handlers(settings: ListenerSettings, inbox: Inbox, notices: NoticeBoard) -> list[evt.EventHandlerType]:
    return [
        (evt.EVT_CONN_OPEN, _on_connection, [settings.network_timeout_s]),
        (evt.EVT_ACCEPTED, _on_accepted, [notices]),
        (evt.EVT_REJECTED, _on_rejected, [settings, notices]),
        (evt.EVT_ABORTED, _on_aborted),
        (evt.EVT_C_STORE, _on_store, [inbox]),
    ]


def _on_connection(event: evt.Event, timeout_s: float) -> None:
    """Answer small replies at once, and never wait for ever in the middle of a PDU of a dead peer."""
    transport = event.assoc.dul.socket
    if transport is not None and transport.socket is not None:
        transport.socket.settimeout(timeout_s)
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _on_accepted(event: evt.Event, notices: NoticeBoard) -> None:
    """Note an association that serves nothing, since every presentation context that it proposed was refused."""
    if not event.assoc.accepted_contexts:
        reason = "It proposed no SOP class and transfer syntax that this node takes: send it images or SEG and SR."
        _refuse(event, notices, reason)


def _on_rejected(event: evt.Event, settings: ListenerSettings, notices: NoticeBoard) -> None:
    request = event.assoc.requestor.primitive
    called = request.called_ae_title if request else None
    if called != settings.ae_title.strip():
        wrong = f"It called {called!r}, but this node is {settings.ae_title!r}"
        _refuse(event, notices, f"{wrong}: correct the called AE title at the sender.")
    else:
        limit = f"node.maximum_associations = {settings.max_associations}"
        _refuse(event, notices, f"No more than {limit} may be open: let it open fewer at a time, or raise the limit.")


def _refuse(event: evt.Event, notices: NoticeBoard, reason: str) -> None:
    peer = _peer(event.assoc.requestor)
    _log.warning("An association from %s was refused. %s", peer, reason)
    notices.tell("association", peer, reason)


def _on_aborted(event: evt.Event) -> None:
    _log.warning("The association with %s was aborted or lost.", _peer(event.assoc.requestor))


def _on_store(event: evt.Event, inbox: Inbox) -> int:
    request = cast("C_STORE", event.request)
    instance = ReceivedInstance(
        data=request.DataSet.getvalue() if isinstance(request.DataSet, BytesIO) else b"",
        transfer_syntax_uid=str(event.context.transfer_syntax),
        sop_class_uid=str(request.AffectedSOPClassUID),
        sop_instance_uid=str(request.AffectedSOPInstanceUID),
        calling_ae_title=str(event.assoc.requestor.ae_title),
    )
    try:
        return inbox.keep(instance)
    except Exception:  # noqa: BLE001 - the edge to the network: whatever breaks, the bytes stay and the listener too
        _log.exception("An instance from %r could not be filed.", instance.calling_ae_title)
        return inbox.quarantine(instance, reason="An unexpected error; the log has the details.")


def _peer(requestor: ServiceUser) -> str:
    """AE title and address of the other side, for the log."""
    address = requestor.address_info.address if requestor.address_info else "an unknown address"
    return f"{requestor.ae_title!r} at {address}"
