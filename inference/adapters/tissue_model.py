"""What every model can be asked, whoever made it: the study's images in, the probability of each tissue out."""

from collections.abc import Mapping
from typing import Protocol

from highdicom import Volume

from inference.adapters.manifest import PluginManifest
from tracking.timepoint import Tissue


class TissueModel(Protocol):
    """A model that is ready to run."""

    @property
    def manifest(self) -> PluginManifest:
        """What the model is and what it expects."""

    def tissue_probabilities(self, channels: Mapping[str, Volume], brain: Volume) -> dict[Tissue, Volume]:
        """Return the probability of each tissue that the model knows.

        Parameters
        ----------
        channels
            Images by source (`inference.adapters.manifest.SOURCES`), not normalised, float32, all on the grid of the
            T1c; a prior mask is 0 or 1. Sources that the study has not are left out.
        brain
            Boolean mask on the same grid.

        Returns
        -------
        dict
            float32 volumes of 0 to 1 on the same grid. A model that does not tell necrosis from enhancing tumour gives
            the whole lesion as ``Tissue.ENHANCING``.

        Raises
        ------
        PluginError
            If a channel is missing that the model needs, lies on another grid, or the model's answer is unusable.
        """
