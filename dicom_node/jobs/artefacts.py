"""Intermediate volumes of a job as files, so that each step can be repeated and restarted on its own."""

from pathlib import Path

import numpy as np
from highdicom import Volume


def save_volume(path: Path, volume: Volume) -> Path:
    """Write ``volume`` (array i, j, k; affine LPS mm; frame of reference) to ``path`` in one piece.

    The file appears under its name only when it is whole, so a killed step leaves nothing half-written behind.
    """
    partial = path.with_suffix(".partial.npz")
    frame = volume.frame_of_reference_uid or ""
    np.savez_compressed(partial, array=volume.array, affine=volume.affine, frame_of_reference_uid=frame)
    partial.replace(path)
    return path


def load_volume(path: Path) -> Volume:
    """Read what `save_volume` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        frame = str(stored["frame_of_reference_uid"]) or None
        return Volume(stored["array"], stored["affine"], "PATIENT", frame_of_reference_uid=frame)
