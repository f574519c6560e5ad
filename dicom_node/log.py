"""Logging: one line per event, in UTC, to the terminal and to a rotating file; never a patient's name.

Design rule: what a DICOM library says about the content of a header can quote it, so such texts are cut down to what
cannot name a patient: warnings of pydicom are left out, and the message of an exception that passed through a DICOM
library is withheld.
"""

import logging
import logging.handlers
import time
import traceback
import warnings
from pathlib import Path
from types import TracebackType

from dicom_node.errors import ConfigurationError

FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s"
_MAXIMUM_BYTES = 10_000_000
_FILES_KEPT = 5
_QUOTING_PACKAGES = ("pydicom", "pynetdicom", "highdicom", "pyorthanc")


class OneLineFormatter(logging.Formatter):
    """UTC times, line breaks escaped, exceptions told without texts that may quote a header."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__(FORMAT, datefmt="%Y-%m-%dT%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        return super().format(record).replace("\r", " ").replace("\n", " | ")

    def formatException(  # noqa: N802 - the name is logging's own
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """Return the exception with its chain, each message only where it cannot quote a header."""
        return "" if ei[1] is None else describe_exception(ei[1])


def describe_exception(error: BaseException) -> str:
    """Tell where an exception came from, what kind it is and, where no DICOM library was involved, what it says."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    message = "message withheld, since it may quote a header" if _passed_dicom_library(error) else str(error)
    text = f"{type(error).__name__}: {message} [{places}]"
    cause = _cause_of(error)
    return text if cause is None else f"{text} <- {describe_exception(cause)}"


def may_quote_header(error: BaseException) -> bool:
    """Tell whether the exception, or one that led to it, came through a library that quotes headers."""
    cause = _cause_of(error)
    return _passed_dicom_library(error) or (cause is not None and may_quote_header(cause))


def _passed_dicom_library(error: BaseException) -> bool:
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return any(f"/{package}/" in file for file in files for package in _QUOTING_PACKAGES)


def _cause_of(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def set_up_logging(*, level: str = "INFO", file: Path | None = None) -> None:
    """Send the log of this process to stderr and, where given, to a rotating ``file`` that no other process writes.

    Raises
    ------
    ConfigurationError
        The file cannot be written.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if file is not None:
        handlers.append(_rotating(file))
    root = logging.getLogger()
    for handler in handlers:
        handler.setFormatter(OneLineFormatter())
        handler.setLevel(level)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = False  # A full disk must not turn each line of the log into a traceback.
    _quieten_libraries()


def _rotating(file: Path) -> logging.Handler:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return logging.handlers.RotatingFileHandler(
            file, maxBytes=_MAXIMUM_BYTES, backupCount=_FILES_KEPT, encoding="utf-8"
        )
    except OSError as error:
        raise ConfigurationError(
            f"The log {file} cannot be written ({error.strerror}): make room, or set node.data_dir to another folder."
        ) from error


def _quieten_libraries() -> None:
    for name in ("pydicom", "highdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in ("pynetdicom", "httpx", "httpcore", "matplotlib", "PIL", "numba"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for package in _QUOTING_PACKAGES:
        warnings.filterwarnings("ignore", module=package)
