"""What a model is and what it expects, in one frozen value that is read from the file beside its weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from inference.confidence import Confidence

Activation = Literal["leaky_relu", "relu", "mish"]
Normalisation = Literal["instance", "batch"]
NetworkName = Literal["unet", "stt"]

# Of a network with memory, as published (Link et al., Nat Commun 2024).
MOST_TIMEPOINTS: Final = 8


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
    least_confidence
        A component is kept if the model is as sure of it as this: the operating point on the FROC curve.
    confidence
        How sure the model is of a component; None: the component's highest probability.
    minimum_volume_mm3
        Smaller components are dropped.
    overlap
        Share by which neighbouring windows overlap.
    activation, normalisation
        After each convolution of the network.
    network
        ``unet``, or ``stt``: it also takes the images of an earlier study (`inference.inputs.EARLIER_T1C`).
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
    least_confidence: float = 0.0
    confidence: Confidence | None = None
    overlap: float = 0.5
    activation: Activation = "leaky_relu"
    normalisation: Normalisation = "instance"
    network: NetworkName = "unet"

    def __post_init__(self) -> None:
        check_point(self.threshold, self.least_confidence)

    @property
    def remembers(self) -> bool:
        """Whether the model takes images of an earlier study."""
        return self.network == "stt"


def check_point(threshold: float, least_confidence: float) -> None:
    """Check that an operating point can be one.

    Raises
    ------
    ValueError
        If a value is no share from 0 to 1: beyond that no lesion would ever be told of.
    """
    for name, value in (("threshold", threshold), ("least_confidence", least_confidence)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} {value}: give a share from 0 to 1")


def hint_for(unknown: Sequence[str]) -> str:
    """Return what to do about keys that manifests once had."""
    return "; instead of peak_threshold give least_confidence, 0 to 1" if "peak_threshold" in unknown else ""
