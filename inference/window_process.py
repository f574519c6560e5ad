"""A process that computes windows in OpenVINO, as seen by the one that needs them.

Design rule: whatever becomes of the process, whoever waits for it is told in time, and an answer that is not what it
should be counts as none.
"""

import subprocess
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import prod
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inference.bound import environment_for_modules, how_it_ended, start_bound
from inference.openvino_windows import READY

START_LIMIT_S: Final = 300.0
WINDOW_LIMIT_S: Final = 120.0
_MODULE = "inference.openvino_windows"
_FLOAT32_BYTES = 4
_LAST_BREATH_S = 5.0


class EngineError(RuntimeError):
    """OpenVINO cannot be used, or not any more; the message says why."""


class WindowProcess:
    """One process that computes windows; it ends with this object, or with this process.

    Parameters
    ----------
    model
        The ``.xml`` of a model whose ``.bin`` lies beside it.
    answers
        Shape of the logits of a window: (1, labels, i, j, k).
    precision
        ``"f32"`` or ``"bf16"``.
    threads
        How many processor threads it may use.

    Raises
    ------
    EngineError
        If it does not become ready.
    """

    def __init__(self, model: Path, *, answers: tuple[int, ...], precision: str, threads: int) -> None:
        self._answers = answers
        self._connection, theirs = Pipe()
        with theirs:
            self._process = start_bound(
                _MODULE, str(theirs.fileno()), str(model), precision, str(threads),
                environment=environment_for_modules(), stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
            )  # fmt: skip
        self._finalizer = weakref.finalize(self, _end, self._process, self._connection)
        with self._answering_within(START_LIMIT_S):
            if self._connection.recv_bytes() != READY:
                raise EngineError("OpenVINO's process did not say that it is ready")

    @property
    def process_id(self) -> int:
        """The process, for whoever measures what it needs."""
        return self._process.pid

    def compute(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits (1, labels, i, j, k) of images (1, channels, i, j, k), as `inference.windows.Network`.

        Raises
        ------
        EngineError
            If the process has died, takes too long or answers what cannot be logits; it has ended then.
        """
        with self._answering_within(WINDOW_LIMIT_S):
            self._connection.send_bytes(window.data)
            answer = self._connection.recv_bytes()
            if len(answer) != prod(self._answers) * _FLOAT32_BYTES:
                raise EngineError(f"OpenVINO's process answered {len(answer)} bytes, not logits of {self._answers}")
            logits = np.frombuffer(answer, np.float32).reshape(self._answers)
            if not np.isfinite(logits).all():
                raise EngineError("OpenVINO's process answered what is no number")
        return logits

    def close(self) -> None:
        """End the process."""
        self._finalizer()

    @contextmanager
    def _answering_within(self, limit_s: float) -> Iterator[None]:
        """End the process if a block takes too long or fails: what it still says must not answer the next question."""
        began_s = time.monotonic()
        too_late = threading.Timer(limit_s, self._process.kill)  # which ends any waiting for it
        too_late.daemon = True
        too_late.start()
        try:
            yield
        except (EOFError, OSError) as error:
            took_s = time.monotonic() - began_s
            status = self._last_status()
            late = f" after it did not answer within {limit_s:g} s" if took_s >= limit_s else ""
            raise EngineError(f"OpenVINO's process ended ({how_it_ended(status)}){late}") from error
        except BaseException:
            self.close()
            raise
        finally:
            too_late.cancel()

    def _last_status(self) -> int:
        """Return the exit status of the process, which ends by itself or is ended."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_BREATH_S)
        self.close()
        return self._process.returncode


def _end(process: "subprocess.Popen[bytes]", connection: "Connection[Any, Any]") -> None:
    connection.close()
    process.kill()
    process.wait()
