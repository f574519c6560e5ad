"""The one door to every model: channels in, probabilities out, on the model's own grid."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a model is and what it expects; read from the file beside its weights.

    Attributes
    ----------
    name, version
        Shown in SEG, SR and reports; a new training is a new version.
    sha256
        Checksum of the weights file.
    channels
        Sources of the input channels in order, for example ``("T1c",)``.
    labels
        Names of the output channels in order, for example ``("background", "lesion")``.
    spacing_mm
        Edge of the cubic voxels of the model's grid.
    window
        Sliding-window size in voxels (i, j, k).
    features
        Channel counts of the network's levels (MONAI BasicUNet).
    threshold
        Probability from which a voxel is lesion, chosen on validation data.
    minimum_volume_mm3
        Smaller components are dropped.
    training_data, licence
        For the report and the model card.
    """

    name: str
    version: str
    sha256: str
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    spacing_mm: float
    window: tuple[int, int, int]
    features: tuple[int, ...]
    threshold: float
    minimum_volume_mm3: float
    training_data: str
    licence: str


class Predictor(Protocol):
    """A model that is ready to run."""

    @property
    def manifest(self) -> Manifest:
        """What the model is and what it expects."""

    def predict(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return class probabilities.

        Parameters
        ----------
        channels
            Normalised images, shape (channels, i, j, k), on cubic voxels of ``manifest.spacing_mm``.

        Returns
        -------
        NDArray
            Probabilities, shape (labels, i, j, k), summing to 1 over the first axis.
        """
