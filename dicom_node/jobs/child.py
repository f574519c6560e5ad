"""Heavy steps in a process of their own, under a time limit, which dies with the worker.

Design rule: a heavy step can crash, hang or eat all memory without harm to anything but itself; the job gets one
sentence that says so.
"""

import contextlib
import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from dicom_node.errors import NodeError, RetriableError
from dicom_node.jobs.calls import dump_arguments, dump_result, load_arguments, load_result, reference_of, resolve
from dicom_node.jobs.failure import as_node_error, restore

_log = logging.getLogger(__name__)
FRUGAL = {
    # OpenMP threads spin while they wait, which costs a third more CPU time for nothing where cores are shared.
    "OMP_WAIT_POLICY": "PASSIVE",
    # glibc gives large buffers back after every convolution, and the kernel zeroes them anew for the next: a third of
    # the wall time of the network. Kept, they cost 50 MB more at the peak.
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(2**28),
}
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_POLL_S = 0.2
_LONGEST_LINE = 2000


class StepCancelledError(NodeError):
    """The job was cancelled while its step ran."""


@dataclass(frozen=True, kw_only=True)
class ChildLimits:
    """How long a child may run, and the event that ends it earlier."""

    time_limit_s: float
    cancelled: threading.Event


def run_in_child(step: str, function: Callable[..., Any], arguments: tuple[Any, ...], *, limits: ChildLimits) -> Any:
    """Run ``function(*arguments)`` in a new process and return its result.

    Raises
    ------
    NodeError
        What the function raised; or that it ran too long, died, or was cancelled.
    """
    request = {
        "step": step,
        "function": reference_of(function),
        "arguments": dump_arguments(function, arguments),
        "parent": os.getpid(),
    }
    answer = _execute(step, json.dumps(request).encode(), limits)
    if "error" in answer:
        raise restore(answer["error"]["class"], answer["error"]["message"])
    return load_result(function, answer["result"])


def die_with_parent(parent: int) -> None:
    """Let the kernel end this process when the thread that started it ends (Linux ``PR_SET_PDEATHSIG``)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # It died before the line above.
        os._exit(1)


def _execute(step: str, request: bytes, limits: ChildLimits) -> dict[str, Any]:
    read_end, write_end = os.pipe()
    relay = threading.Thread(target=_relay_log, args=(os.fdopen(read_end, "rb"),), daemon=True)
    # From a file in memory, since `communicate` with a time-out forgets what it has not sent when it is called again.
    with os.fdopen(write_end, "wb") as log, os.fdopen(os.memfd_create("request"), "w+b") as task:
        task.write(request)
        task.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-m", "dicom_node.jobs.child"],
            stdin=task,
            stdout=subprocess.PIPE,
            stderr=log,
            env=_child_environment(),
            start_new_session=True,  # so that a time-out also ends what the step itself has started
        )
    relay.start()
    try:
        output = _wait(step, process, limits)
    finally:
        _end(process)
        relay.join()
    return _read_answer(step, process.returncode, output)


def _child_environment() -> dict[str, str]:
    """Return this process's environment for a child that finds the same modules and computes without waste."""
    path = os.pathsep.join(path for path in sys.path if path)
    return FRUGAL | os.environ | {"PYTHONPATH": path}


def _wait(step: str, process: "subprocess.Popen[bytes]", limits: ChildLimits) -> bytes:
    """Return what the child wrote to its stdout."""
    deadline = time.monotonic() + limits.time_limit_s
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=_POLL_S)[0]
        if limits.cancelled.is_set():
            raise StepCancelledError(f"Step {step} was ended since its job was cancelled.")
        if time.monotonic() > deadline:
            raise NodeError(
                f"Step {step} ran longer than {limits.time_limit_s:g} s and was ended: look at the study, "
                "or raise limits.heavy_step_time_limit_s."
            )


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the child and whatever it left behind in its session."""
    with contextlib.suppress(ProcessLookupError):  # Mostly nothing is left.
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read_answer(step: str, return_code: int, output: bytes) -> dict[str, Any]:
    if return_code == 0 and output:
        answer: dict[str, Any] = json.loads(output)
        return answer
    if return_code == -signal.SIGKILL:
        raise RetriableError(f"Step {step} was killed by the system, most likely for want of memory.")
    how = f"signal {-return_code}" if return_code < 0 else f"exit status {return_code}"
    raise NodeError(f"Step {step} crashed ({how}): the log holds what it said last.")


def _relay_log(stream: IO[bytes]) -> None:
    with stream:
        for line in stream:
            text = line.decode("utf-8", "replace").rstrip().rpartition("\r")[2]
            if text:
                _log.info("%s", text[:_LONGEST_LINE])


def main() -> None:
    """Read one call from stdin, run it, write its result or its failure to the first stdout."""
    request = json.load(sys.stdin)
    die_with_parent(request["parent"])
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # What a library prints must not land in the answer.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as answer:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        json.dump(_answer(request), answer)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        function = resolve(request["function"])
        result = function(*load_arguments(function, request["arguments"]))
        return {"result": dump_result(function, result)}
    except Exception as error:  # noqa: BLE001 - the edge of the process: every failure becomes a sentence
        failure = as_node_error(error, request["step"])
        return {"error": {"class": type(failure).__name__, "message": str(failure)}}


if __name__ == "__main__":
    main()
