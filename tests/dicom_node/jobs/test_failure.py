"""What a failure becomes on its way to the person who reads it."""

import errno
import sqlite3

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from dicom_node.errors import IncompleteFetchError, NodeError, RetriableError, StorageFullError
from dicom_node.jobs.failure import as_node_error, is_disk_full, restore
from dicom_node.network.sender import PeerError
from inference.weights import WeightsError


def test_sentences_of_ours_stay_as_they_are() -> None:
    error = as_node_error(IncompleteFetchError("3 of 4 came."), "fetch")
    assert (type(error), str(error)) == (IncompleteFetchError, "3 of 4 came.")


def test_subclass_elsewhere_stays_retriable() -> None:
    error = as_node_error(PeerError("nobody there"), "fetch")
    assert type(error) is RetriableError


def test_sentence_of_the_array_packages_is_kept() -> None:
    assert str(as_node_error(WeightsError("no manifest at x"), "read")) == "no manifest at x"


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
