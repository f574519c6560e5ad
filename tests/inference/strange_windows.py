"""Stands in for the process that computes windows, and behaves as its precision says."""

import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from inference.bound import die_with_parent
from inference.openvino_windows import READY


def main() -> None:
    parent, descriptor, _, behaviour, voxels = sys.argv[1:]
    die_with_parent(int(parent))
    connection: Connection[Any, Any] = Connection(int(descriptor))
    if behaviour == "never-ready":
        time.sleep(60)
    if behaviour == "not-ready":
        connection.send_bytes(b"good morning")
    if behaviour == "cannot-start":
        sys.exit(3)
    connection.send_bytes(READY)
    if behaviour == "does-not-read":
        time.sleep(60)
    connection.recv_bytes()
    logits = np.zeros(2 * int(voxels), np.float32)
    if behaviour == "silent":
        time.sleep(60)
    if behaviour == "half":
        connection.send_bytes(logits[: int(voxels)].data)
    if behaviour == "no-number":
        logits[7] = np.nan
        connection.send_bytes(logits.data)
    if behaviour == "half-a-message":
        os.write(connection.fileno(), b"\x00\x00\x10\x00abc")
        os.kill(os.getpid(), signal.SIGSTOP)
    if behaviour == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(60)


if __name__ == "__main__":
    main()
