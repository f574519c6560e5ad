"""How far registration is off: the error of every study at every place, with a size that is exact on average."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

FloatArray = NDArray[np.float64]

WAVES = 24


class ErrorKind(StrEnum):
    """What the error of registration looks like."""

    SMOOTH = "smooth"  # rigid part and a smooth random field
    SHIFT = "shift"  # one translation for the whole brain
    SCATTER = "scatter"  # each lesion by itself: nothing to learn from its neighbours


@dataclass(frozen=True, kw_only=True, eq=False)
class Misalignment:
    """The error of one study against the patient's reference space, mm.

    Attributes
    ----------
    rms_mm
        Root mean square length over the brain.
    """

    kind: ErrorKind
    rms_mm: float
    seed: int
    correlation_mm: float
    brain_mm: FloatArray

    def at(self, points_mm: FloatArray, body: int) -> FloatArray:
        """Error at points (n, 3) of the reference space, for the lesion with this number."""
        if self.rms_mm == 0:
            return np.zeros_like(points_mm)
        if self.kind == ErrorKind.SCATTER:
            rng = np.random.default_rng((self.seed, body))
            return np.broadcast_to(rng.normal(0, self.rms_mm / np.sqrt(3), 3), points_mm.shape)
        if self.kind == ErrorKind.SHIFT:
            return np.broadcast_to(self.rms_mm * _direction(np.random.default_rng(self.seed)), points_mm.shape)
        return self._smooth(points_mm)

    def _smooth(self, points_mm: FloatArray) -> FloatArray:
        rng = np.random.default_rng(self.seed)
        rigid_part = rng.uniform(0.2, 0.7)
        shift = _direction(rng) * np.sqrt(rigid_part / 2)
        axis = _direction(rng)
        # A turn by θ moves the points of an ellipsoid by θ times their distance from the axis, rms.
        reach_mm = float(np.sqrt((np.linalg.norm(np.cross(np.eye(3), axis), axis=1) ** 2 * self.brain_mm**2).sum() / 5))
        turn = Rotation.from_rotvec(axis * np.sqrt(rigid_part / 2) * self.rms_mm / reach_mm)
        waves = rng.normal(0, 1 / self.correlation_mm, (WAVES, 3))
        phases = rng.uniform(0, 2 * np.pi, WAVES)
        amplitudes = rng.normal(0, 1, (WAVES, 3)) * np.sqrt(2 / WAVES / 3) * np.sqrt(1 - rigid_part)
        field = np.cos(points_mm @ waves.T + phases) @ amplitudes
        return np.asarray(self.rms_mm * (field + shift) + turn.apply(points_mm) - points_mm)


def _direction(rng: np.random.Generator) -> FloatArray:
    vector = rng.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))
