"""The process that computes windows, seen from outside: whatever it does, whoever waits is told why, and in time."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from inference import window_process
from inference.window_process import EngineError, WindowProcess
from tests.inference.processes import is_alive

SHAPE = (1, 2, 64, 64, 64)
WINDOW = np.zeros((1, 1, *SHAPE[2:]), np.float32)  # more than fits into a pipe that nobody reads


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(window_process, "_MODULE", "tests.inference.strange_windows")
    began_s = time.monotonic()
    yield
    assert time.monotonic() - began_s < 20


def start(behaviour: str) -> WindowProcess:
    voxels = WINDOW.size
    return WindowProcess(Path("none.xml"), answers=SHAPE, precision=behaviour, threads=voxels)


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("crash", r"ended \(signal 11\)"),
        ("silent", "did not answer within 1 s"),
        ("does-not-read", "did not answer within 1 s"),
        ("half-a-message", "did not answer within 1 s"),
        ("half", "answered 1048576 bytes"),
        ("no-number", "what is no number"),
    ],
)
def test_what_is_no_answer_is_said_in_time_and_ends_the_process(
    behaviour: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_process, "WINDOW_LIMIT_S", 1)
    process = start(behaviour)
    with pytest.raises(EngineError, match=message):
        process.compute(WINDOW)
    assert not is_alive(process.process_id)
    with pytest.raises(EngineError):
        process.compute(WINDOW)


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("cannot-start", r"ended \(exit status 3\)"),
        ("never-ready", "did not answer within 2 s"),
        ("not-ready", "did not say that it is ready"),
    ],
)
def test_one_that_does_not_get_ready_is_no_engine(
    behaviour: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_process, "START_LIMIT_S", 2 if behaviour == "never-ready" else 60)
    with pytest.raises(EngineError, match=message):
        start(behaviour)


def test_it_ends_with_what_holds_it() -> None:
    process = start("silent")
    process_id = process.process_id
    assert is_alive(process_id)
    del process
    assert not is_alive(process_id)
