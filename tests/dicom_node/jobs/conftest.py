"""Fixtures of the engine's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dicom_node.jobs.running_node import Node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A data folder without a worker yet; a worker that a test starts is killed after it."""
    node = Node(tmp_path)
    yield node
    if node.process is not None and node.process.poll() is None:
        node.kill()
