"""A heavy step in a process of its own; functions of the standard library are at hand in every process."""

import os
import threading
import time

import pytest

from dicom_node.errors import ArchiveUnavailableError, NodeError, RetriableError
from dicom_node.jobs.child import ChildLimits, StepCancelledError, run_in_child
from tests.dicom_node.jobs import story


def limits(*, time_limit_s: float = 60) -> ChildLimits:
    return ChildLimits(time_limit_s=time_limit_s, cancelled=threading.Event())


def test_result_comes_back_from_another_process() -> None:
    assert run_in_child("x", story.double_in_process, ((1.5, 2.5),), limits=limits()) == ((3.0, 5.0), False)


def test_what_a_step_prints_does_not_harm_its_result(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert run_in_child("x", story.chatter, (3,), limits=limits()) == 3
    assert "printed by a library" in caplog.text
    assert "logged by a step" in caplog.text


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("unavailable", ArchiveUnavailableError, "The archive does not answer."),
        ("kill", RetriableError, "for want of memory"),
        ("abort", NodeError, r"crashed \(signal 6\)"),
        ("exit", NodeError, r"crashed \(exit status 3\)"),
    ],
)
def test_failure_comes_back_as_a_sentence(how: str, kind: type[NodeError], message: str) -> None:
    with pytest.raises(kind, match=message):
        run_in_child("x", story.fail, (how,), limits=limits())


def test_long_step_is_ended_with_all_that_it_started() -> None:
    started = time.monotonic()
    with pytest.raises(NodeError, match="ran longer than 4 s"):
        run_in_child("x", story.start_another_and_sleep, (str(os.getpid()),), limits=limits(time_limit_s=4))
    assert time.monotonic() - started < 10
    time.sleep(0.2)
    assert not story.others_of(str(os.getpid()))


def test_cancelled_step_is_ended() -> None:
    cancelled = threading.Event()
    threading.Timer(1.0, cancelled.set).start()
    with pytest.raises(StepCancelledError):
        run_in_child("x", story.sleep, (60.0,), limits=ChildLimits(time_limit_s=60, cancelled=cancelled))


def test_large_values_pass() -> None:
    numbers = tuple(float(i) for i in range(200_000))
    doubled, _ = run_in_child("x", story.double_in_process, (numbers,), limits=limits())
    assert doubled[-1] == 2 * numbers[-1]
