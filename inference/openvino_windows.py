"""The main module of a process in which OpenVINO computes windows, and which loads numpy and OpenVINO alone.

Design rule: OpenVINO shares a process with no other library that computes. Beside some of them it has damaged memory.

    python -m inference.openvino_windows PARENT CONNECTION MODEL.xml PRECISION THREADS
"""

import os
import sys
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from inference.bound import die_with_parent

READY: Final = b"ready"


def serve(connection: "Connection[Any, Any]", model: Any) -> None:
    """Say that the model is ready, then answer each window with its logits until there are no more.

    Parameters
    ----------
    connection
        Brings images and takes logits: the bytes of float32 arrays in the model's shapes.
    model
        An ``openvino.CompiledModel``.
    """
    request, shape = model.create_infer_request(), tuple(model.input(0).shape)
    connection.send_bytes(READY)
    while True:
        try:
            window = np.frombuffer(connection.recv_bytes(), np.float32).reshape(shape)
        except EOFError:
            return
        logits = request.infer([window], share_inputs=True, share_outputs=True)[0]
        connection.send_bytes(np.ascontiguousarray(logits, np.float32).data)


def compile_model(path: Path, precision: str, threads: int) -> Any:
    """Return a model that is compiled for this machine's processor, an ``openvino.CompiledModel``.

    Parameters
    ----------
    path
        The model's ``.xml``; its ``.bin`` lies beside it.
    precision
        ``"f32"`` or ``"bf16"``.
    threads
        How many threads it may use.
    """
    options = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,  # one window at a time: memory for one, and always the same order
        "ENABLE_CPU_PINNING": False,  # other processes have a right to these cores, too
    }
    return openvino().Core().compile_model(path, "CPU", options)


def openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, which would report the import and every conversion."""
    # A module that is None counts as not installed, and OpenVINO then takes its own stand-in, which sends nothing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_module("openvino")  # late: only a process of its own may load it


def main() -> None:
    """Serve whoever started this process."""
    parent, descriptor, path, precision, threads = sys.argv[1:]
    die_with_parent(int(parent))
    os.dup2(2, 1)  # what a library prints goes where errors go
    serve(Connection(int(descriptor)), compile_model(Path(path), precision, int(threads)))


if __name__ == "__main__":
    main()
