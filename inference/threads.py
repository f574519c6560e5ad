"""Torch takes only as many processor threads as it is allowed, and gives them back."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Run a block with at most ``threads`` torch threads (None: one per core that this process may use)."""
    import torch  # late: torch takes seconds to load

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, threads or len(os.sched_getaffinity(0))))
    try:
        yield
    finally:
        torch.set_num_threads(before)
