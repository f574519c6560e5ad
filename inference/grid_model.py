"""Our own networks: the study's images onto cubic voxels, normalised as in training, and the answer back again."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy.special import expit, logit

from inference.confidence import SUREST
from inference.inputs import EARLIER_T1C, PRIOR_MASK, network_input
from inference.labels import TISSUES_OF_LABEL, lesion_classes
from inference.manifest import Manifest
from inference.predictor import Predictor
from inference.preprocessing import normalise, to_model_grid
from tracking.geometry import resample_like
from tracking.timepoint import MRSequence, Tissue


@dataclass(frozen=True, kw_only=True, eq=False)
class GridModel:
    """A network of ours as a `inference.tissue_model.TissueModel`.

    Attributes
    ----------
    predictor
        The network on its grid.
    """

    predictor: Predictor

    @property
    def manifest(self) -> Manifest:
        """What the network is and what it expects."""
        return self.predictor.manifest

    def tissue_probabilities(self, channels: Mapping[str, Volume], brain: Volume) -> dict[Tissue, Volume]:
        """Return the probability of each tissue; see `inference.tissue_model.TissueModel`.

        Raises
        ------
        ValueError
            If the network wants a channel that does not exist, or the brain mask is empty.
        """
        t1c = channels[str(MRSequence.T1C)]
        image, mask = to_model_grid(t1c, brain, spacing_mm=self.manifest.spacing_mm)
        raw = {str(MRSequence.T1C): image.array} | {
            name: resample_like(volume, image, interpolation="linear").array
            for name, volume in channels.items()
            if name in (*self.manifest.channels, EARLIER_T1C) and name not in (str(MRSequence.T1C), PRIOR_MASK)
        }
        known = None
        if PRIOR_MASK in channels and PRIOR_MASK in self.manifest.channels:
            known = resample_like(channels[PRIOR_MASK], image, interpolation="nearest").array > 0
        prepared = {name: normalise(array, mask.array) for name, array in raw.items()}
        inputs = [network_input(self.manifest.channels, prepared, mask.array, prior=known)]
        if self.manifest.remembers and EARLIER_T1C in prepared:
            earlier = {str(MRSequence.T1C): prepared[EARLIER_T1C]}
            inputs.insert(0, network_input(self.manifest.channels, earlier, mask.array))
        classes = self.predictor.predict(np.concatenate(inputs))
        return self._on_grid_of(t1c, image, classes)

    def _on_grid_of(self, t1c: Volume, image: Volume, classes: NDArray[np.float32]) -> dict[Tissue, Volume]:
        """Bring class probabilities from the network's grid to that of the T1c.

        What is lesion is interpolated by its log odds: they are what a lesion's confidence is made of, and between
        voxels of 0.999999 and 0.000001 the outline lies where they cancel. Probabilities say which tissue it is.
        """
        labels = self.manifest.labels
        found = {
            label: resample_like(image.with_array(values), t1c, interpolation="linear").array
            for label, values in zip(labels[1:], classes[1:], strict=True)
        }
        lesion = lesion_classes(labels)
        if not lesion:  # a network for edema alone
            return _by_tissue(found, t1c)
        log_odds = logit(np.clip(classes[list(lesion)].sum(axis=0), SUREST, 1 - SUREST))
        nothing = float(logit(SUREST))
        total = expit(resample_like(image.with_array(log_odds), t1c, interpolation="linear", fill=nothing).array)
        total[total < 2 * SUREST] = 0
        names = [labels[number] for number in lesion]
        parts = np.sum([found[label] for label in names], axis=0)
        factor = np.divide(total, parts, out=np.zeros_like(total), where=parts > 0)
        found |= {label: found[label] * factor for label in names}
        return _by_tissue(found, t1c)


def _by_tissue(found: Mapping[str, NDArray[np.float32]], t1c: Volume) -> dict[Tissue, Volume]:
    return {TISSUES_OF_LABEL[label][0]: t1c.with_array(values) for label, values in found.items()}
