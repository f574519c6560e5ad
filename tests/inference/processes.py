"""What tests ask of other processes."""

import contextlib
import time
from pathlib import Path


def is_alive(process_id: int) -> bool:
    stat = Path(f"/proc/{process_id}/stat")
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def is_gone(process_id: int, *, within_s: float = 5) -> bool:
    """Wait for the kernel, which takes a moment to end what it has decided to end."""
    deadline = time.monotonic() + within_s
    while is_alive(process_id) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_alive(process_id)
