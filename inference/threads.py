"""Whatever computes takes only as many processor threads as it is allowed, and gives them back."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


def thread_count(threads: int | None) -> int:
    """Return how many threads to use (None or 0: one per core that this process may use)."""
    return max(1, threads or len(os.sched_getaffinity(0)))


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Run a block with at most ``threads`` torch threads (None: one per core that this process may use)."""
    import torch  # late: torch takes seconds to load

    before = torch.get_num_threads()
    torch.set_num_threads(thread_count(threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)
