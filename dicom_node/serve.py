"""``dicom-node serve``: listener and worker as two processes under a supervisor that restarts either when it dies.

Design rule: receiving must go on whatever happens to the analysis, so the listener is a process of its own that never
loads torch; the supervisor does nothing but start, watch and stop, and dies last.
"""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from dicom_node.config import CONFIGURATION_VARIABLE, Configuration, load_configuration, open_configured_archive
from dicom_node.errors import ConfigurationError, NodeError
from dicom_node.jobs.lock import lock_folder
from dicom_node.log import describe_exception, set_up_logging
from dicom_node.notices import NoticeBoard
from dicom_node.packages import require_own_packages

_GIB = 2**30
_POLL_S = 0.3
_STOP_LIMIT_S = 15.0
_FIRST_BACK_OFF_S = 1.0
_LONGEST_BACK_OFF_S = 60.0
_HEALTHY_S = 60.0
_SAID_NOTHING = "The log holds what it said last."
_log = logging.getLogger("dicom_node.serve")  # also where this module is run as a program


@dataclass(kw_only=True)
class _Service:
    """One supervised process, and what it says when it cannot go on."""

    name: str
    notices: NoticeBoard
    process: "subprocess.Popen[bytes] | None" = None
    last_words: IO[bytes] | None = None
    started_at_s: float = 0.0
    start_due_at_s: float = 0.0
    back_off_s: float = field(default=_FIRST_BACK_OFF_S)

    def start(self) -> None:
        """Start the process; it ends with this one."""
        self.last_words = os.fdopen(os.memfd_create("last words"), "w+b")  # in memory, since the disk may be full
        fd = self.last_words.fileno()
        command = [sys.executable, "-m", "dicom_node.serve", self.name, str(os.getpid()), str(fd)]
        self.process = subprocess.Popen(command, env=_same_search_path(), pass_fds=(fd,))  # noqa: S603 - our own module
        self.started_at_s = time.monotonic()
        _log.info("%s started as process %d", self.name, self.process.pid)

    def watch(self) -> None:
        """Note a death, and start the process again when its time has come."""
        now_s = time.monotonic()
        is_healthy = now_s - self.started_at_s > _HEALTHY_S
        if self.process is not None and self.process.poll() is not None:
            if is_healthy:
                self.back_off_s = _FIRST_BACK_OFF_S
            self.start_due_at_s = now_s + self.back_off_s
            self._tell_death(self.process.returncode)
            self.back_off_s = min(2 * self.back_off_s, _LONGEST_BACK_OFF_S)
            self.process = None
        elif self.process is not None and is_healthy:
            self.notices.withdraw("process", self.name)
        if self.process is None and now_s >= self.start_due_at_s:
            self.start()

    def stop(self) -> None:
        """End the process, gently at first."""
        if self.process is None:
            return
        try:
            self.process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            _log.warning("%s does not end by itself and is killed", self.name)
            self.process.kill()
            self.process.wait()

    def _tell_death(self, return_code: int) -> None:
        """Tell the log and `dicom-node jobs` why the process ended."""
        how = _how_it_ended(return_code)
        why = self._why()
        _log.error("%s ended (%s): %s It is started again in %g s.", self.name, how, why, self.back_off_s)
        self.notices.tell("process", self.name, f"It ended with {how}: {why}")

    def _why(self) -> str:
        if self.last_words is None:
            return _SAID_NOTHING
        with self.last_words as words:
            words.seek(0)
            return words.read().decode("utf-8", "replace") or _SAID_NOTHING


def serve(configuration: Configuration, configuration_path: Path | None) -> None:
    """Receive and analyse until SIGTERM or SIGINT.

    Parameters
    ----------
    configuration
        Effective options; those that come from the command line must be in the environment, since the two processes
        read file and environment again.
    configuration_path
        TOML file, or None.

    Raises
    ------
    ForeignPackageError
        Another program's package stands in the place of one of ours.
    ConfigurationError
        The port or the data folder is in use, or an option names what cannot be used.
    """
    require_own_packages()
    with lock_folder(configuration.node.data_dir, "serve"):
        _check_port(configuration)
        _check_model(configuration)
        if configuration.archive.kind == "orthanc":
            configuration.archive.password()  # Without it no job could ever end.
        set_up_logging(level=configuration.node.log_level, file=configuration.log_folder / "serve.log")
        if configuration_path is not None:
            os.environ[CONFIGURATION_VARIABLE] = str(configuration_path.absolute())
        notices = NoticeBoard(configuration.notices_folder / "serve")
        _supervise([_Service(name=name, notices=notices) for name in ("listener", "worker")])


def _supervise(services: list[_Service]) -> None:
    stopping = _stop_on_signals()
    for service in services:
        service.notices.withdraw("process", service.name)  # of an earlier run
    try:
        while not stopping:
            for service in services:
                service.watch()
            time.sleep(_POLL_S)
    finally:
        for service in services:
            if service.process is not None and service.process.poll() is None:
                service.process.terminate()
        for service in services:
            service.stop()
            service.notices.withdraw("process", service.name)
        _log.info("stopped")


def _same_search_path() -> dict[str, str]:
    """Return the environment in which a child finds the packages that were found here, wherever it is started."""
    path = os.pathsep.join(path for path in sys.path if path)
    return os.environ | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def _stop_on_signals() -> list[int]:
    """Return a list that becomes non-empty with the first SIGTERM or SIGINT."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    return received


def _check_port(configuration: Configuration) -> None:
    host, port = configuration.node.host, configuration.node.port
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "no valid address"
            raise ConfigurationError(
                f"node.host = {host}, node.port = {port} cannot be listened on ({reason}): "
                "choose another port or address, or end the program that uses it."
            ) from error


def _check_model(configuration: Configuration) -> None:
    """Refuse to receive studies that could not be analysed."""
    from inference.models import verify_model  # late: numpy is slow to load
    from inference.weights import WeightsError, default_manifest_path

    try:
        verify_model(configuration.model.manifest or default_manifest_path())
    except WeightsError as error:
        raise ConfigurationError(f"model.manifest names no usable model: {error}.") from error


def _how_it_ended(return_code: int) -> str:
    return f"signal {-return_code}" if return_code < 0 else f"exit status {return_code}"


def run_listener_process(configuration: Configuration) -> None:
    """Be the listener."""
    from dicom_node.network.receiver import ListenerSettings, run_listener  # late: the worker needs none of it

    run_listener(
        ListenerSettings(
            incoming_folder=configuration.incoming_folder,
            quarantine_folder=configuration.quarantine_folder,
            notices_file=configuration.notices_folder / "listener",
            ae_title=configuration.node.ae_title,
            host=configuration.node.host,
            port=configuration.node.port,
            max_associations=configuration.node.maximum_associations,
            network_timeout_s=configuration.node.network_timeout_s,
            minimum_free_bytes=round(configuration.node.minimum_free_disk_gib * _GIB),
        )
    )


def run_worker_process(configuration: Configuration, configuration_path: Path | None) -> None:
    """Be the worker."""
    from dicom_node.jobs.pipeline import STEP_COUNT, follow_up  # late: the listener must not load the analysis
    from dicom_node.jobs.worker import WorkerParts, run_worker

    _report_archive(configuration)
    parts = WorkerParts(pipeline=follow_up, steps_total=STEP_COUNT, stated_count=_stated_count(configuration))
    run_worker(configuration, configuration_path, parts)


def _report_archive(configuration: Configuration) -> None:
    """Say at the start how the archive is; one that is down may come back, and until then jobs wait."""
    try:
        _log.info("archive: %s", open_configured_archive(configuration).check())
    except NodeError as error:
        _log.warning("The archive cannot be used now; studies are received, and their jobs wait for it. %s", error)


def _stated_count(configuration: Configuration) -> Callable[[str], int | None]:
    """Return how to ask the archive for a study's number of instances; the embedded one knows no more than the node."""
    if configuration.archive.kind == "folder":
        return lambda _: None
    archive = open_configured_archive(configuration)

    def ask(study_uid: str) -> int | None:
        try:
            return archive.count_instances(study_uid)
        except NodeError as error:
            _log.warning("the archive cannot say how many instances a study has: %s", error)
            return None

    return ask


def main() -> int:
    """Run as ``python -m dicom_node.serve listener|worker <process id of the supervisor> <file descriptor>``.

    To the descriptor goes, as last words, why the process cannot go on.
    """
    name, parent, last_words = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    from inference.bound import die_with_parent  # late: `inference` may be another program's, see `packages`

    die_with_parent(parent)
    os.set_inheritable(last_words, False)
    path = os.environ.get(CONFIGURATION_VARIABLE)
    configuration_path = Path(path) if path else None
    try:
        configuration = load_configuration(configuration_path)
        set_up_logging(level=configuration.node.log_level, file=configuration.log_folder / f"{name}.log")
        if name == "listener":
            run_listener_process(configuration)
        else:
            run_worker_process(configuration, configuration_path)
    except NodeError as error:
        os.write(last_words, str(error).encode())
        _log.error("%s", error)
        return 1
    except Exception as error:  # noqa: BLE001 - the edge of the process; the supervisor starts it again
        os.write(last_words, f"An unexpected {type(error).__name__}; the log has the details.".encode())
        _log.critical("%s stops: %s", name, describe_exception(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
