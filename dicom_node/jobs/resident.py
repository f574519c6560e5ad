"""The process that heavy steps run in, one after another, so that what one step has loaded is there for the next.

Design rule: it serves again only after a step that ended well and left nothing behind. A step that failed, crashed,
ran too long or was cancelled takes its process with it, and the next begins in a new one.
"""

import contextlib
import ctypes
import gc
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

import psutil

from inference.bound import die_with_parent, environment_for_modules, start_bound

_log = logging.getLogger(__name__)
FRUGAL: Final = {
    # OpenMP threads spin while they wait, which costs a third more CPU time for nothing where cores are shared.
    "OMP_WAIT_POLICY": "PASSIVE",
    # glibc gives large buffers back after every convolution, and the kernel zeroes them anew for the next: a third of
    # the wall time of the network. Kept, they cost 50 MB more at the peak.
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(2**28),
}
MOST_STEPS: Final = 60
"""After so many steps a process is replaced, whatever it may have gathered."""
MOST_IDLE_BYTES: Final = 2**31
"""A process that keeps more memory than this between two steps, with what it has started, is replaced."""
_POLL_S = 0.2
_LAST_LINES_S = 5.0
_LONGEST_LINE = 2000
_END_OF_STEP = b"\x1e\n"  # ASCII's record separator: no text has it


class Resident:
    """One process that waits for steps.

    Parameters
    ----------
    module
        Its main module, which calls `serve`.
    """

    def __init__(self, module: str) -> None:
        self._environment = _environment()
        self._steps = 0
        self._all_said = threading.Event()
        pipe = subprocess.PIPE
        # Its session is its own, so that a time-out also ends what the step itself has started.
        self._process = start_bound(module, environment=self._environment, stdin=pipe, stdout=pipe, stderr=pipe)
        self._relay = threading.Thread(target=self._relay_log, daemon=True)
        self._relay.start()

    def ask(self, request: bytes, *, check: Callable[[], None]) -> bytes:
        """Send one line and return the line that answers it; nothing when the process has died.

        Parameters
        ----------
        check
            Called several times a second; what it raises ends the waiting.
        """
        self._steps += 1
        self._all_said.clear()
        # A thread of its own, as a pipe takes only so much until the process reads.
        threading.Thread(target=self._send, args=(request,), daemon=True).start()
        answer = self._receive(check)
        self._all_said.wait(_LAST_LINES_S)
        return answer

    def fits(self) -> bool:
        """Tell whether the process lives, in the environment that a new one would have."""
        return self._process.poll() is None and self._environment == _environment()

    def is_as_new(self) -> bool:
        """Tell whether the process may take another step."""
        return (
            self.fits()
            and self._steps < MOST_STEPS
            and not _others_in_session(self._process.pid)
            and _resident_bytes(self._process.pid) <= MOST_IDLE_BYTES
        )

    def last_status(self) -> int:
        """Return the exit status of a process that has died by itself, and clear up behind it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_LINES_S)
        self.end()
        return self._process.returncode

    def end(self) -> None:
        """End the process and whatever it left behind in its session."""
        left = _others_in_session(self._process.pid)
        with contextlib.suppress(ProcessLookupError):  # Mostly nothing is left.
            os.killpg(self._process.pid, signal.SIGKILL)
        for process_id in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        self._process.wait()
        self._relay.join(_LAST_LINES_S)
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                _stream(stream).close()

    def _send(self, request: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):  # It died, or was ended: whoever waits for the answer is told.
            _stream(self._process.stdin).write(request + b"\n")
            _stream(self._process.stdin).flush()

    def _receive(self, check: Callable[[], None]) -> bytes:
        answer, descriptor = bytearray(), _stream(self._process.stdout).fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while not answer.endswith(b"\n"):
            if poll.poll(_POLL_S * 1000):
                part = os.read(descriptor, 2**20)
                if not part:
                    return b""
                answer += part
            else:
                check()
        return bytes(answer)

    def _relay_log(self) -> None:
        with _stream(self._process.stderr) as stream:
            for line in stream:
                if line == _END_OF_STEP:
                    self._all_said.set()
                elif text := line.decode("utf-8", "replace").rstrip().rpartition("\r")[2]:
                    _log.info("%s", text[:_LONGEST_LINE])
        self._all_said.set()


def serve(answer: Callable[[Any], Any]) -> None:
    """Be a resident process: read requests, line by line, until there are no more, and answer each with one line.

    Parameters
    ----------
    answer
        Turns one request into its answer, both values of JSON; it must not raise.
    """
    die_with_parent(int(sys.argv[1]))
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    with os.fdopen(os.dup(0), "rb") as requests, os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        # What a library prints must not land among the answers, and what it reads must not be a request.
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
        for line in requests:
            text = json.dumps(answer(json.loads(line)))
            _tidy()
            answers.write(text + "\n")
            answers.flush()


def _environment() -> dict[str, str]:
    """Return this process's environment for a child that finds the same modules and computes without waste."""
    return FRUGAL | environment_for_modules()


def _tidy() -> None:
    """Give back what the step does not need any more, and write out what it still has to say."""
    gc.collect()
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()  # does nothing where no GPU was used
    c = ctypes.CDLL(None)
    c.malloc_trim(0)
    c.fflush(None)
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(2, b"\n" + _END_OF_STEP)


def _others_in_session(leader: int) -> list[int]:
    """Return the processes that a process has started and left, unless they began a session of their own."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # It is gone by now.
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == leader != int(path.parent.name):
                found.append(int(path.parent.name))
    return found


def _resident_bytes(process_id: int) -> int:
    """Return the memory of a process and of all that it has started."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):  # It is gone by now.
        process = psutil.Process(process_id)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss
    return total


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the process was started without this pipe")
    return stream
