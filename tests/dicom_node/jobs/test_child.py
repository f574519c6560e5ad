"""A heavy step in a process of its own; functions of the standard library are at hand in every process."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from dicom_node.errors import ArchiveUnavailableError, NodeError, RetriableError
from dicom_node.jobs import resident
from dicom_node.jobs.child import ChildLimits, StepCancelledError, end_idle_children, run_in_child
from tests.dicom_node.jobs import story
from tests.inference.processes import is_alive


@pytest.fixture(autouse=True)
def _no_child_from_before() -> Iterator[None]:
    end_idle_children()
    yield
    end_idle_children()


def process_of_next_step() -> int:
    process_id: int = run_in_child("x", story.process_id, (), limits=limits())
    return process_id


def limits(*, time_limit_s: float = 60) -> ChildLimits:
    return ChildLimits(time_limit_s=time_limit_s, cancelled=threading.Event())


def test_result_comes_back_from_another_process() -> None:
    assert run_in_child("x", story.double_in_process, ((1.5, 2.5),), limits=limits()) == ((3.0, 5.0), False)


def test_what_a_step_prints_does_not_harm_its_result(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # it would empty C's buffers, too
    caplog.set_level("INFO")
    assert run_in_child("x", story.chatter, (3,), limits=limits()) == 3
    assert "printed by a library" in caplog.text
    assert "printed from C" in caplog.text
    assert "printed through C's buffer" in caplog.text
    assert "logged by a step" in caplog.text


def test_all_that_a_step_says_is_logged_before_its_result_is_used(caplog: pytest.LogCaptureFixture) -> None:
    def slowly(_: logging.LogRecord) -> bool:
        time.sleep(0.002)
        return True

    caplog.set_level("INFO")
    logger = logging.getLogger(resident.__name__)
    logger.addFilter(slowly)
    try:
        run_in_child("x", story.say_much, (300,), limits=limits())
    finally:
        logger.removeFilter(slowly)
    assert "line 299 of much" in caplog.text


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


def test_the_process_and_what_it_has_loaded_stay_for_the_next_step() -> None:
    first = process_of_next_step()
    assert is_alive(first)
    assert process_of_next_step() == first != os.getpid()


def test_the_process_outlives_the_thread_that_needed_it() -> None:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(process_of_next_step()))
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert is_alive(found[0])
    assert process_of_next_step() == found[0]


@pytest.mark.parametrize("how", ["unavailable", "kill", "abort", "exit"])
def test_a_step_that_failed_takes_its_process_with_it_and_no_other_step(how: str) -> None:
    before = process_of_next_step()
    with pytest.raises(NodeError):
        run_in_child("x", story.fail, (how,), limits=limits())
    assert not is_alive(before)
    assert process_of_next_step() != before


def test_a_step_that_ran_too_long_takes_its_process_with_it() -> None:
    before = process_of_next_step()
    with pytest.raises(NodeError, match="ran longer than 1 s"):
        run_in_child("x", story.sleep, (60.0,), limits=limits(time_limit_s=1))
    assert not is_alive(before)
    assert process_of_next_step() != before


def test_what_a_step_leaves_running_is_ended_with_its_process() -> None:
    first = run_in_child("x", story.leave_another, (f"left-{os.getpid()}",), limits=limits())
    time.sleep(0.2)
    assert not story.others_of(f"left-{os.getpid()}")
    assert process_of_next_step() != first


def test_another_environment_needs_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    first = process_of_next_step()
    monkeypatch.setenv("DICOM_NODE_MODEL__THREADS", "1")
    second = process_of_next_step()
    assert second != first
    assert not is_alive(first)
    assert process_of_next_step() == second


@pytest.mark.parametrize(("limit", "steps"), [("MOST_STEPS", 2), ("MOST_IDLE_BYTES", 1)])
def test_a_process_is_replaced_after_many_steps_or_when_it_keeps_much_memory(
    limit: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resident, limit, steps)
    processes = [process_of_next_step() for _ in range(2 * steps)]
    assert len(set(processes)) == 2
    assert not any(is_alive(one) for one in processes)


def test_two_steps_at_a_time_have_a_process_each() -> None:
    slow = threading.Thread(target=lambda: run_in_child("x", story.sleep, (1.5,), limits=limits()))
    slow.start()
    time.sleep(0.3)
    one = process_of_next_step()
    assert slow.is_alive()
    slow.join()
    assert is_alive(one)


@pytest.mark.parametrize("busy", [False, True])
def test_a_process_ends_with_the_one_that_started_it(busy: bool) -> None:
    code = """
import os, signal, sys, threading, time
from dicom_node.jobs.child import ChildLimits, run_in_child
from tests.dicom_node.jobs import story
from tests.inference.processes import is_alive
limits = ChildLimits(time_limit_s=60, cancelled=threading.Event())
print(run_in_child("x", story.process_id, (), limits=limits), flush=True)
if sys.argv[1] == "True":
    threading.Thread(target=run_in_child, args=("x", story.sleep, (60.0,)), kwargs={"limits": limits}).start()
    time.sleep(0.5)
os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", code, str(busy)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    assert found.returncode == -9
    time.sleep(0.3)
    assert not is_alive(int(found.stdout))


def test_a_process_that_does_not_even_read_its_request_is_ended_in_time() -> None:
    stopped = process_of_next_step()
    os.kill(stopped, signal.SIGSTOP)
    with pytest.raises(NodeError, match="ran longer than 1 s"):
        run_in_child("x", story.double_in_process, ((0.5,) * 100_000,), limits=limits(time_limit_s=1))
    assert not is_alive(stopped)


def test_a_step_finds_no_request_where_input_would_be() -> None:
    assert run_in_child("x", story.read_input, (), limits=limits()) == ""
    assert run_in_child("x", story.double_in_process, ((1.0,),), limits=limits()) == ((2.0,), False)
