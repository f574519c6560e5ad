"""Every failure of a step as a sentence for a person, and whether it is worth another try.

Design rule: a failure crosses processes and restarts as the name of a class of `dicom_node.errors` and its sentence;
whatever else goes wrong becomes a `NodeError` that names its kind and where the log tells more. ``inference`` and
``tracking`` know no `NodeError`; what they say themselves, in a ``raise`` of a `ValueError`, is a sentence, too. What
Python, numpy or a DICOM library says when it fails is none, and may quote a header.
"""

import dis
import errno
import logging
import sqlite3
import uuid
from pathlib import Path

from dicom_node import errors
from dicom_node.errors import NodeError, StorageFullError
from dicom_node.log import describe_exception, may_quote_header

_log = logging.getLogger(__name__)
_ROOT = Path(__file__).parents[2]
_OUR_PACKAGES = ("inference", "tracking")
_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)


def as_node_error(error: Exception, step: str) -> NodeError:
    """Return ``error`` as a `NodeError`; what nobody foresaw is logged under a reference that the sentence names."""
    if isinstance(error, NodeError):
        return restore(_class_name(error), str(error))
    if _is_sentence_of_ours(error):
        return NodeError(str(error))
    if is_disk_full(error):
        place = getattr(error, "filename", None) or "the data folder"
        return StorageFullError(
            f"The disk that holds {place} is full (step {step}): free some space; the job then goes on by itself."
        )
    reference = uuid.uuid4().hex[:8]
    _log.error("step %s failed [reference %s]: %s", step, reference, describe_exception(error))
    return NodeError(
        f"Step {step} failed unexpectedly with {type(error).__name__}: see the log at reference {reference}."
    )


def _is_sentence_of_ours(error: Exception) -> bool:
    """Tell whether the array packages wrote the message themselves, and not from what a DICOM library said."""
    is_our_class = type(error).__module__.partition(".")[0] in _OUR_PACKAGES
    return (is_our_class or (isinstance(error, ValueError) and _is_raised_by_us(error))) and not may_quote_header(error)


def _is_raised_by_us(error: Exception) -> bool:
    """Tell whether a ``raise`` statement of the array packages made the error.

    Code in C leaves no frame behind, so that ``float("Doe^Jane")`` seems to fail in the line that calls it: what tells
    is the instruction that was last executed there.
    """
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    if innermost is None:
        return False
    code = innermost.tb_frame.f_code
    is_ours = any(_ROOT / package in Path(code.co_filename).parents for package in _OUR_PACKAGES)
    return is_ours and dis.opname[code.co_code[innermost.tb_lasti]] == "RAISE_VARARGS"


def _class_name(error: NodeError) -> str:
    """Name the nearest class that `dicom_node.errors` holds; modules have subclasses of their own."""
    names: list[str] = [kind.__name__ for kind in type(error).__mro__ if getattr(errors, kind.__name__, None) is kind]
    return names[0]


def is_disk_full(error: BaseException) -> bool:
    """Tell whether the disk, or its quota, is used up; sqlalchemy wraps SQLite's error in one of its own."""
    if isinstance(error, OSError) and error.errno in _DISK_IS_FULL:
        return True
    if isinstance(error, sqlite3.OperationalError) and "disk is full" in str(error):
        return True
    return error.__cause__ is not None and is_disk_full(error.__cause__)


def restore(class_name: str, message: str) -> NodeError:
    """Return the error that was stored as the name of its class and its message."""
    kind = getattr(errors, class_name, NodeError)
    if isinstance(kind, type) and issubclass(kind, NodeError):
        return kind(message)
    return NodeError(message)
