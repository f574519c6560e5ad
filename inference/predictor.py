"""The one door to every model: channels in, probabilities out, on the model's own grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from inference.threads import torch_threads

if TYPE_CHECKING:
    from torch import nn


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
    peak_threshold
        A component is kept if its highest probability reaches this: the operating point on the FROC curve.
    minimum_volume_mm3
        Smaller components are dropped.
    overlap
        Share by which neighbouring windows overlap.
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
    peak_threshold: float = 0.0
    overlap: float = 0.5


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


@dataclass(frozen=True, kw_only=True, eq=False)
class TorchPredictor:
    """A network that runs in torch over sliding windows, on the GPU where there is one.

    Attributes
    ----------
    manifest
        What the model is and what it expects.
    network
        In evaluation mode, with float32 weights.
    threads
        Processor threads to use; None: one per core.
    """

    manifest: Manifest
    network: nn.Module
    threads: int | None = None

    def predict(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return class probabilities; see `Predictor.predict`.

        Raises
        ------
        ValueError
            If the number of channels is not the manifest's.
        """
        import torch  # late: torch takes seconds to load, and reading a manifest needs none of it
        from monai.inferers.inferer import SlidingWindowInferer

        wanted = len(self.manifest.channels)
        if channels.ndim != 4 or channels.shape[0] != wanted:
            raise ValueError(f"{self.manifest.name} takes {wanted} channels (channels, i, j, k), not {channels.shape}")
        device = next(self.network.parameters()).device
        inferer = SlidingWindowInferer(
            roi_size=self.manifest.window, sw_batch_size=1, overlap=self.manifest.overlap, mode="gaussian"
        )
        with torch_threads(self.threads), torch.inference_mode():
            logits = inferer(torch.from_numpy(channels)[None].to(device), self.network)
            probabilities = torch.softmax(logits[0].float(), dim=0)
        return probabilities.cpu().numpy().astype(np.float32)
