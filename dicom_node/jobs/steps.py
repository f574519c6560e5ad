"""Steps without an engine: one after the other, in this process."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from dicom_node.jobs.failure import as_node_error

T = TypeVar("T")


class DirectSteps:
    """The `StepRunner` of ``dicom-node process``: it runs each step where it stands.

    Parameters
    ----------
    on_start
        Called with the name of each step as it begins.

    Attributes
    ----------
    timings_s
        Seconds per finished step, in order.
    """

    def __init__(self, on_start: Callable[[str], None] = lambda _: None) -> None:
        self._on_start = on_start
        self.timings_s: dict[str, float] = {}

    def __call__(self, name: str, function: Callable[..., T], /, *args: Any, heavy: bool = False) -> T:  # noqa: ARG002 - the protocol's
        """Run ``function(*args)`` and return its value.

        Raises
        ------
        NodeError
            The step failed.
        """
        self._on_start(name)
        started = time.monotonic()
        try:
            result = function(*args)
        except Exception as error:
            raise as_node_error(error, name) from error
        self.timings_s[name] = round(time.monotonic() - started, 3)
        return result
