"""``dicom-node check``: tries everything that the node will need, and says for each problem what to do.

Design rule: a check looks and asks, and changes nothing; each ends in one sentence, and one that fails does not keep
the others from running.
"""

import os
import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Literal

from dicom_node.config import Configuration, Peer, open_configured_archive
from dicom_node.errors import NodeError
from dicom_node.jobs.lock import is_locked
from dicom_node.packages import ForeignPackageError, require_own_packages

Verdict = Literal["ok", "note", "problem"]
_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check; only a ``problem`` keeps the node from working."""

    subject: str
    verdict: Verdict
    message: str


@dataclass(frozen=True, kw_only=True)
class _Check:
    subject: str
    run: Callable[[], Finding]
    needs_packages: bool = False


def run_checks(configuration: Configuration) -> Iterator[Finding]:
    """Run all checks, one after the other; what cannot run without our own packages is then named as left out."""
    packages = check_packages()
    yield packages
    for check in _checks(configuration):
        if check.needs_packages and packages.verdict == "problem":
            yield Finding(subject=check.subject, verdict="note", message="Left out: it needs the packages, see above.")
        else:
            yield _run(check)


def _checks(configuration: Configuration) -> Iterator[_Check]:
    yield _Check(subject="data folder", run=lambda: check_data_folder(configuration))
    yield _Check(subject="free disk", run=lambda: check_free_disk(configuration))
    yield _Check(subject="port", run=lambda: check_port(configuration))
    yield _Check(subject="job database", run=lambda: check_database(configuration))
    yield _Check(subject="archive", run=lambda: check_archive(configuration))
    yield _Check(subject="model weights", run=lambda: check_weights(configuration), needs_packages=True)
    yield _Check(subject="GPU", run=check_gpu)
    for peer in configuration.peers:
        yield _Check(subject=f"peer {peer.name}", run=partial(check_peer, peer, configuration))


def _run(check: _Check) -> Finding:
    try:
        return check.run()
    except (NodeError, OSError) as error:
        return _problem(check.subject, str(error))
    except ImportError as error:
        return _problem(check.subject, f"A part of the installation is broken ({error}): install it again.")


def check_data_folder(configuration: Configuration) -> Finding:
    """Tell whether the data folder can be written."""
    folder = configuration.node.data_dir
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return _problem("data folder", f"{folder} cannot be written: set node.data_dir, or give the node the right to.")
    return _ok("data folder", f"{folder} can be written.")


def check_free_disk(configuration: Configuration) -> Finding:
    """Tell whether there is more free disk than the node asks for."""
    folder = configuration.node.data_dir
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free_gib = shutil.disk_usage(existing).free / _GIB
    least_gib = configuration.node.minimum_free_disk_gib
    if free_gib < least_gib:
        return _problem(
            "free disk",
            f"{free_gib:.1f} GiB are free, node.minimum_free_disk_gib = {least_gib:g}: nothing is accepted; make room.",
        )
    return _ok("free disk", f"{free_gib:.1f} GiB are free.")


def check_port(configuration: Configuration) -> Finding:
    """Tell whether the port is free, or the node itself answers on it."""
    options = configuration.node
    where = f"{options.host}:{options.port}"
    if is_locked(options.data_dir, "serve"):
        return _check_running(configuration, where)
    try:
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((options.host, options.port))
    except OSError as error:
        return _problem("port", f"{where} cannot be listened on ({error.strerror}): set node.host and node.port.")
    return _ok("port", f"{where} is free.")


def _check_running(configuration: Configuration, where: str) -> Finding:
    from dicom_node.network.sender import PeerError, echo_peer  # late: pynetdicom is slow to load

    options = configuration.node
    try:
        echo_peer(_reachable(options.host), options.port, options.ae_title, options.ae_title)
    except PeerError as error:
        return _problem(
            "port", f"A node runs on this data folder, but: {error} Use the options that it was started with."
        )
    return _ok("port", f"The node runs and answers C-ECHO on {where} as {options.ae_title}.")


def check_database(configuration: Configuration) -> Finding:
    """Tell whether the engine's databases are sound."""
    folder = configuration.jobs_folder
    files = [path for path in (folder / "engine.sqlite", folder / "jobs.sqlite") if path.exists()]
    for path in files:
        try:
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
                answer = connection.execute("pragma quick_check").fetchone()[0]
        except sqlite3.DatabaseError as error:
            answer = str(error)
        if answer != "ok":
            return _problem(
                "job database",
                f"{path} is damaged ({answer}): stop the node and move the file away; "
                "every study in the incoming folder is then analysed anew.",
            )
    return _ok("job database", "The job database is sound." if files else "There is none yet.")


def check_archive(configuration: Configuration) -> Finding:
    """Ask the archive what it is and holds."""
    if configuration.archive.kind == "folder" and not configuration.archive_folder.exists():
        return _ok("archive", f"The embedded archive will be made in {configuration.archive_folder}.")
    return _ok("archive", open_configured_archive(configuration).check())


def check_weights(configuration: Configuration) -> Finding:
    """Compare the weights with the checksum in their manifest."""
    from inference.models import verify_model  # late: numpy is slow to load
    from inference.weights import WeightsError, default_manifest_path

    try:
        manifest = verify_model(configuration.model.manifest or default_manifest_path())
    except WeightsError as error:
        return _problem("model weights", str(error))
    return _ok("model weights", f"{manifest.name} {manifest.version}, checksum as in its manifest.")


def check_gpu() -> Finding:
    """Tell whether torch sees a GPU; the node works without."""
    import torch  # late: it takes seconds

    if torch.cuda.is_available():
        return _ok("GPU", f"{torch.cuda.get_device_name(0)} is used.")
    return Finding(subject="GPU", verdict="note", message="There is none; the processor is used, which takes minutes.")


def check_packages() -> Finding:
    """Tell whether ``inference`` and ``tracking`` are this program's own."""
    try:
        require_own_packages()
    except ForeignPackageError as error:
        return _problem("packages", str(error))
    return _ok("packages", "inference and tracking are this program's own.")


def check_peer(peer: Peer, configuration: Configuration) -> Finding:
    """Greet another node with C-ECHO."""
    from dicom_node.network.sender import echo_peer  # late: pynetdicom is slow to load

    echo_peer(peer.host, peer.port, peer.ae_title, configuration.node.ae_title)
    return _ok(f"peer {peer.name}", f"{peer.ae_title} at {peer.host}:{peer.port} answers C-ECHO.")


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ("", "0.0.0.0") else host  # noqa: S104 - compared, not bound


def _ok(subject: str, message: str) -> Finding:
    return Finding(subject=subject, verdict="ok", message=message)


def _problem(subject: str, message: str) -> Finding:
    return Finding(subject=subject, verdict="problem", message=message)
