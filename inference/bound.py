"""Processes that end with the one that started them, however that one ends.

Design rule: nothing of this project outlives what asked for it, so that a node that was killed leaves memory and
processor to the one that is started after it.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# The kernel ends a child with the thread that started it, not with its process: this thread lasts as long as that.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")


def start_bound(
    module: str, *arguments: str, environment: Mapping[str, str], **options: Any
) -> "subprocess.Popen[bytes]":
    """Start a process in a session of its own.

    Parameters
    ----------
    module
        Its main module, which calls `die_with_parent` with its first argument before anything else.
    arguments
        Those that come after this process's id.
    environment
        See `environment_for_modules`.
    options
        For `subprocess.Popen`.
    """
    command = [sys.executable, "-m", module, str(os.getpid()), *arguments]

    def start() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(command, env=environment, start_new_session=True, **options)  # noqa: S603 - our module

    return _starter.submit(start).result()


def die_with_parent(parent: int) -> None:
    """Let the kernel end this process when the thread that started it ends (Linux ``PR_SET_PDEATHSIG``)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # It died before the line above.
        os._exit(1)


def environment_for_modules() -> dict[str, str]:
    """Return this process's environment for another one that finds the same modules."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def how_it_ended(status: int) -> str:
    """Return the words for an exit status as `subprocess` has it: ``signal 11`` or ``exit status 3``."""
    return f"signal {-status}" if status < 0 else f"exit status {status}"
