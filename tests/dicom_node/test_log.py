"""One line per event, in UTC, and nothing that a DICOM library may have quoted from a header."""

import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.valuerep import DSfloat

from dicom_node.errors import ConfigurationError
from dicom_node.log import describe_exception, set_up_logging


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with warnings.catch_warnings():
        set_up_logging(file=tmp_path / "node.log")
        yield tmp_path / "node.log"
    root.handlers[:] = handlers
    root.setLevel(level)


def test_one_line_per_event_in_utc(log: Path) -> None:
    logging.getLogger("x").info("two\nlines")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO x: two \| lines\n", log.read_text())


def test_exception_of_a_dicom_library_is_told_without_its_message(log: Path) -> None:
    try:
        DSfloat("Doe^Jane")
    except ValueError:
        logging.getLogger("x").exception("a study failed")
    text = log.read_text()
    assert "valuerep.py" in text
    assert "ValueError" in text
    assert "Doe" not in text


def test_our_own_messages_are_told_with_their_cause() -> None:
    def read_volume() -> None:
        try:
            _ = dict[str, str]()["spacing"]
        except KeyError as error:
            raise ValueError("no volume") from error

    with pytest.raises(ValueError, match="no volume") as caught:
        read_volume()
    text = describe_exception(caught.value)
    assert re.match(r"ValueError: no volume \[test_log.py:\d+ .*\] <- KeyError: 'spacing' \[test_log.py", text)


def test_log_that_cannot_be_written_is_a_wrong_option(log: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"/proc/nowhere/node\.log cannot be written"):
        set_up_logging(file=Path("/proc/nowhere/node.log"))


def test_warnings_of_pydicom_do_not_appear(log: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.warn_explicit("Doe^Jane", UserWarning, "valuerep.py", 1, module="pydicom.valuerep")
    assert not caught
    logging.getLogger("pydicom").error("Doe^Jane")
    assert not log.exists() or "Doe" not in log.read_text()
