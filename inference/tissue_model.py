"""What every model can be asked, whoever made it: the study's images in, the probability of each tissue out."""

from collections.abc import Mapping
from typing import Protocol

from highdicom import Volume

from inference.confidence import Confidence
from tracking.timepoint import Tissue


class ModelDescription(Protocol):
    """What is known of a model before it is loaded; see `inference.manifest.Manifest` for the meaning."""

    @property
    def name(self) -> str:
        """Shown in SEG, SR and reports."""

    @property
    def version(self) -> str:
        """A new training is a new version."""

    @property
    def sha256(self) -> str:
        """Checksum of the weights."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Sources of the input channels in order."""

    @property
    def remembers(self) -> bool:
        """Whether the model takes images of an earlier study."""

    @property
    def threshold(self) -> float:
        """Probability from which a voxel is lesion."""

    @property
    def least_confidence(self) -> float:
        """How sure the model must be of a lesion."""

    @property
    def confidence(self) -> Confidence | None:
        """How sure the model is of a lesion; None: the lesion's highest probability."""

    @property
    def minimum_volume_mm3(self) -> float:
        """Volume of the smallest lesion that is kept."""

    @property
    def training_data(self) -> str:
        """For the report and the model card."""

    @property
    def licence(self) -> str:
        """For the report and the model card."""


class TissueModel(Protocol):
    """A model that is ready to run."""

    @property
    def manifest(self) -> ModelDescription:
        """What the model is and what it expects."""

    def tissue_probabilities(self, channels: Mapping[str, Volume], brain: Volume) -> dict[Tissue, Volume]:
        """Return the probability of each tissue that the model knows.

        Parameters
        ----------
        channels
            Images by source (`inference.inputs.SOURCES`), not normalised, float32, all on the grid of the T1c; a prior
            mask is 0 or 1. Sources that the study has not are left out.
        brain
            Boolean mask on the same grid.

        Returns
        -------
        dict
            float32 volumes of 0 to 1 on the same grid. A model that does not tell necrosis from enhancing tumour gives
            the whole lesion as ``Tissue.ENHANCING``.

        Raises
        ------
        WeightsError
            If a channel is missing that the model needs, lies on another grid, or the model's answer is unusable.
        """
