"""The main module of a process that turns a network's weights into a model of OpenVINO's, and then ends.

python -m inference.openvino_conversion PARENT MANIFEST.toml TARGET.xml
"""

import os
import sys
import warnings
from pathlib import Path

import torch

from inference.bound import die_with_parent
from inference.openvino_windows import openvino
from inference.weights import load_network, verify_weights


def convert(manifest_path: Path, target: Path) -> None:
    """Write a network as OpenVINO has it, in float32, for one window of its manifest's size.

    Parameters
    ----------
    manifest_path
        The weights lie beside it.
    target
        An ``.xml``; a ``.bin`` is written beside it.
    """
    manifest = verify_weights(manifest_path)
    example = torch.zeros(1, len(manifest.channels), *manifest.window)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter about its own code
        program = torch.export.export(load_network(manifest, manifest_path), (example,))
        model = openvino().convert_model(program)
    model.reshape(list(example.shape))
    openvino().save_model(model, target, compress_to_fp16=False)


def main() -> None:
    """Convert what whoever started this process has named."""
    parent, manifest_path, target = sys.argv[1:]
    die_with_parent(int(parent))
    os.dup2(2, 1)  # what a library prints goes where errors go
    convert(Path(manifest_path), Path(target))


if __name__ == "__main__":
    main()
