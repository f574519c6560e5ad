"""Heavy steps in a process of their own, under a time limit, which dies with the worker.

Design rule: a heavy step can crash, hang or eat all memory without harm to anything but itself; the job gets one
sentence that says so.
"""

import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dicom_node.errors import NodeError, RetriableError
from dicom_node.jobs.calls import dump_arguments, dump_result, load_arguments, load_result, reference_of, resolve
from dicom_node.jobs.failure import as_node_error, restore
from dicom_node.jobs.resident import Resident, serve
from inference.bound import how_it_ended

__all__ = ["ChildLimits", "StepCancelledError", "end_idle_children", "run_in_child"]

_MODULE = "dicom_node.jobs.child"
_idle: list[Resident] = []
_idle_lock = threading.Lock()


class StepCancelledError(NodeError):
    """The job was cancelled while its step ran."""


@dataclass(frozen=True, kw_only=True)
class ChildLimits:
    """How long a child may run, and the event that ends it earlier."""

    time_limit_s: float
    cancelled: threading.Event


def run_in_child(step: str, function: Callable[..., Any], arguments: tuple[Any, ...], *, limits: ChildLimits) -> Any:
    """Run ``function(*arguments)`` in another process and return its result.

    The process then waits for the next step, with all that it has loaded; see `dicom_node.jobs.resident`.

    Raises
    ------
    NodeError
        What the function raised; or that it ran too long, died, or was cancelled.
    """
    request = {"step": step, "function": reference_of(function), "arguments": dump_arguments(function, arguments)}
    answer = _execute(step, json.dumps(request).encode(), limits)
    if "error" in answer:
        raise restore(answer["error"]["class"], answer["error"]["message"])
    return load_result(function, answer["result"])


def end_idle_children() -> None:
    """End the processes that wait for a step."""
    while (child := _taken()) is not None:
        child.end()


def _execute(step: str, request: bytes, limits: ChildLimits) -> dict[str, Any]:
    deadline = time.monotonic() + limits.time_limit_s

    def check() -> None:
        if limits.cancelled.is_set():
            raise StepCancelledError(f"Step {step} was ended since its job was cancelled.")
        if time.monotonic() > deadline:
            raise NodeError(
                f"Step {step} ran longer than {limits.time_limit_s:g} s and was ended: look at the study, "
                "or raise limits.heavy_step_time_limit_s."
            )

    with contextlib.ExitStack() as unless_all_is_well:
        child = _fitting_child()
        unless_all_is_well.callback(child.end)
        line = child.ask(request, check=check)
        if not line:
            raise _death(step, child.last_status())
        answer: dict[str, Any] = json.loads(line)
        if "result" in answer and child.is_as_new():
            unless_all_is_well.pop_all()
            with _idle_lock:
                _idle.append(child)
    return answer


def _fitting_child() -> Resident:
    while (child := _taken()) is not None:
        if child.fits():
            return child
        child.end()
    return Resident(_MODULE)


def _taken() -> Resident | None:
    with _idle_lock:
        return _idle.pop() if _idle else None


def _death(step: str, status: int) -> NodeError:
    if status == -signal.SIGKILL:
        return RetriableError(f"Step {step} was killed by the system, most likely for want of memory.")
    return NodeError(f"Step {step} crashed ({how_it_ended(status)}): the log holds what it said last.")


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        function = resolve(request["function"])
        result = function(*load_arguments(function, request["arguments"]))
        return {"result": dump_result(function, result)}
    except Exception as error:  # noqa: BLE001 - the edge of the process: every failure becomes a sentence
        failure = as_node_error(error, request["step"])
        return {"error": {"class": type(failure).__name__, "message": str(failure)}}


if __name__ == "__main__":
    serve(_answer)
