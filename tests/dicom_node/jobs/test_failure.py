"""What a failure becomes on its way to the person who reads it."""

import errno
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from pydicom.valuerep import DSfloat
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

import tracking
from dicom_node.errors import IncompleteFetchError, NodeError, RetriableError, StorageFullError
from dicom_node.jobs.failure import as_node_error, is_disk_full, restore
from dicom_node.network.sender import PeerError
from inference.preprocessing import brain_box
from inference.weights import WeightsError


def test_sentences_of_ours_stay_as_they_are() -> None:
    error = as_node_error(IncompleteFetchError("3 of 4 came."), "fetch")
    assert (type(error), str(error)) == (IncompleteFetchError, "3 of 4 came.")


def test_subclass_elsewhere_stays_retriable() -> None:
    error = as_node_error(PeerError("nobody there"), "fetch")
    assert type(error) is RetriableError


def test_sentence_of_the_array_packages_is_kept() -> None:
    assert str(as_node_error(WeightsError("no manifest at x"), "read")) == "no manifest at x"


def test_real_refusal_of_the_array_packages_keeps_its_sentence() -> None:
    with pytest.raises(ValueError, match="brain mask is empty") as caught:
        brain_box(np.zeros((3, 3, 3), dtype=bool), margin=(1, 1, 1))
    assert str(as_node_error(caught.value, "segment")) == str(caught.value)


def fail_inside(code: str, place: str) -> Exception:
    """Run code as if it stood in a file of the repository, and return what it raised."""
    name = str(Path(tracking.__file__).parents[1] / place)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - whatever its message
        exec(compile(code, name, "exec"), {"np": np, "DSfloat": DSfloat})
    return caught.value


@pytest.mark.parametrize("place", ["tracking/timepoint.py", "inference/networks/unet.py"])
def test_sentence_that_the_array_packages_raise_is_kept(place: str) -> None:
    code = "try:\n    {}['mask']\nexcept KeyError as error:\n    raise ValueError('Find the brain first.') from error"
    assert str(as_node_error(fail_inside(code, place), "compare")) == "Find the brain first."


QUOTING = "try:\n    DSfloat('Doe^Jane')\nexcept ValueError as error:\n    raise ValueError(f'{error}') from error"


@pytest.mark.parametrize(
    ("code", "place"),
    [
        ("float('Doe^Jane')", "tracking/timepoint.py"),
        ("int('Doe^Jane')", "inference/brain.py"),
        ("np.zeros(3) + np.zeros(4)", "tracking/timepoint.py"),
        ("DSfloat('Doe^Jane')", "tracking/timepoint.py"),
        (QUOTING, "tracking/timepoint.py"),
        ("raise ValueError('Doe^Jane')", "dicom_node/studies/study.py"),
        ("raise ValueError('Doe^Jane')", "elsewhere/tracking/timepoint.py"),
    ],
)
def test_what_is_no_sentence_of_the_array_packages_is_withheld(
    code: str, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    error = as_node_error(fail_inside(code, place), "compare")
    assert str(error).startswith("Step compare failed unexpectedly with ValueError: see the log")


def test_text_that_a_dicom_library_quoted_reaches_neither_job_nor_log(caplog: pytest.LogCaptureFixture) -> None:
    error = as_node_error(fail_inside("DSfloat('Doe^Jane')", "tracking/timepoint.py"), "compare")
    assert "Doe" not in str(error) + caplog.text


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_can_be_tried_again(number: int) -> None:
    error = as_node_error(OSError(number, "full", "/data/volume.npz"), "segment")
    assert type(error) is StorageFullError
    assert "/data/volume.npz" in str(error)


def test_full_database_is_a_full_disk() -> None:
    connection = create_engine("sqlite://").connect()
    connection.execute(text("pragma max_page_count = 2"))
    connection.execute(text("create table t (content blob)"))
    with pytest.raises(OperationalError) as caught:
        connection.execute(text("insert into t values (zeroblob(100000))"))
    assert is_disk_full(caught.value)
    assert not is_disk_full(sqlite3.OperationalError("no such table: t"))


def test_unforeseen_failure_names_its_kind_and_a_reference(caplog: pytest.LogCaptureFixture) -> None:
    error = as_node_error(KeyError("spacing"), "segment")
    assert type(error) is NodeError
    assert "segment failed unexpectedly with KeyError" in str(error)
    assert str(error)[-9:-1] in caplog.text


def test_unknown_class_is_restored_as_a_permanent_failure() -> None:
    assert type(restore("Exception", "what?")) is NodeError
    assert type(restore("StorageFullError", "full")) is StorageFullError
