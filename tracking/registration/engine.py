"""The one interface to every registration engine; each works on images whose headers already hold the start.

The start is applied to the moving image's header, not to its voxels, so nothing is interpolated twice and no
engine needs to read another's transform files.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from tracking.registration.transform import DisplacementField


class RegistrationError(RuntimeError):
    """An engine gave up; the message is the engine's own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImagePair:
    """What an engine gets.

    Attributes
    ----------
    fixed, moving
        float32 images with cubic voxels of the same size, brought near each other by their headers.
    fixed_mask, moving_mask
        uint8; only voxels inside count.
    """

    fixed: sitk.Image
    moving: sitk.Image
    fixed_mask: sitk.Image
    moving_mask: sitk.Image


class Engine(Protocol):
    """A registration program. Both methods map fixed to moving, in LPS mm, and raise `RegistrationError`."""

    @property
    def name(self) -> str:
        """Shown in the report."""

    def rigid(self, pair: ImagePair, *, threads: int) -> NDArray[np.float64]:
        """Return the homogeneous 4 × 4 matrix of the rotation and translation."""

    def deformable(self, pair: ImagePair, *, threads: int) -> DisplacementField:
        """Return the displacement on the grid of the fixed image."""
