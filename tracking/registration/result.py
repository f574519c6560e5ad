"""What registration hands on: a transform, how good it is, and how far to trust it."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from highdicom import Volume
from numpy.typing import ArrayLike, NDArray

from tracking.registration.quality import Quality
from tracking.registration.transform import Transform
from tracking.registration.uncertainty import Residuals


class RegistrationKind(StrEnum):
    """How far registration came."""

    NONE = "none"  # failed: brain centre laid on brain centre, or as they stand in one frame of reference
    IDENTITY = "identity"  # one frame of reference, and moving did not improve it
    RIGID = "rigid"
    DEFORMABLE = "deformable"


@dataclass(frozen=True, kw_only=True, eq=False)
class Registration:
    """The prior (moving) study brought to the current (fixed) one.

    Attributes
    ----------
    fixed_study_uid, moving_study_uid
        Study Instance UIDs.
    engine
        Name of the registration program.
    kind
        The best step that passed its checks.
    transform
        From the fixed to the moving study, LPS mm.
    before, after
        Agreement of the two brains without and with registration.
    sigma_mm
        One standard deviation of the position of a carried-over point, over the whole brain: what the images show to be
        off, and how finely the voxels of both studies place a point.
    residuals
        What blocks of the brain are still off, measured on the images (see `uncertainty`); None where it was not.
    remarks
        Sentences for the radiologist: what failed, and what was used instead.
    """

    fixed_study_uid: str
    moving_study_uid: str
    engine: str
    kind: RegistrationKind
    transform: Transform
    before: Quality
    after: Quality
    sigma_mm: float
    residuals: Residuals | None = None
    remarks: tuple[str, ...] = ()

    def sigma_at(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Return one standard deviation of the position of points (n, 3) of the fixed (current) study, mm, (n,)."""
        points = np.asarray(points_mm, float).reshape(-1, 3)
        if self.residuals is None:
            return np.full(len(points), self.sigma_mm)
        elsewhere = self.sigma_mm**2 - self.residuals.overall_mm**2
        return np.asarray(np.sqrt(self.residuals.at(points) ** 2 + max(elsewhere, 0.0)))

    def warp(self, moving: Volume, fixed: Volume, *, interpolation: str = "linear", fill: float = 0.0) -> Volume:
        """Sample a volume of the moving study on a grid of the fixed study; see `Transform.warp`."""
        return self.transform.warp(moving, fixed, interpolation=interpolation, fill=fill)

    def map_points(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Carry points (n, 3) of the moving (prior) study over to the fixed (current) study, LPS mm."""
        return self.transform.to_fixed(points_mm)
