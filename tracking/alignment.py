"""What matching needs to know of a registration; `Registration` has it, and so has a transform from elsewhere."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracking.registration.result import RegistrationKind
from tracking.registration.transform import Transform

FloatArray = NDArray[np.float64]

DEFAULT_SIGMA_MM = 1.0


class Alignment(Protocol):
    """The prior (moving) study brought to the current (fixed) one."""

    @property
    def fixed_study_uid(self) -> str:
        """Study Instance UID of the current study."""

    @property
    def moving_study_uid(self) -> str:
        """Study Instance UID of the prior study."""

    @property
    def kind(self) -> RegistrationKind:
        """How far registration came."""

    @property
    def transform(self) -> Transform:
        """From the current to the prior study, LPS mm."""

    def sigma_at(self, points_mm: ArrayLike) -> FloatArray:
        """Return one standard deviation of the position of points (n, 3) of the current study, mm, shape (n,)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenAlignment:
    """A transform that was found elsewhere; as it stands, that studies lie on each other already.

    Attributes
    ----------
    fixed_study_uid, moving_study_uid
        The current and the prior study.
    transform
        From the current to the prior study, LPS mm.
    sigma_mm
        One standard deviation of the position of a carried-over point, the same everywhere.

    Raises
    ------
    ValueError
        If ``sigma_mm`` is not a number above 0.
    """

    fixed_study_uid: str
    moving_study_uid: str
    transform: Transform = field(default_factory=lambda: Transform(matrix=np.eye(4)))
    sigma_mm: float = DEFAULT_SIGMA_MM

    def __post_init__(self) -> None:
        if not (np.isfinite(self.sigma_mm) and self.sigma_mm > 0):
            raise ValueError(f"sigma_mm is {self.sigma_mm}; give the error of the registration, a number above 0.")

    @property
    def kind(self) -> RegistrationKind:
        """Taken on trust."""
        return RegistrationKind.RIGID if self.transform.displacement is None else RegistrationKind.DEFORMABLE

    def sigma_at(self, points_mm: ArrayLike) -> FloatArray:
        """Return ``sigma_mm`` for every point, shape (n,)."""
        return np.full(len(np.asarray(points_mm, float).reshape(-1, 3)), self.sigma_mm)
