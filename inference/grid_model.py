"""Our own networks: the study's images onto cubic voxels, normalised as in training, and the answer back again."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy import ndimage

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

        Interpolation would lower the peaks by which lesions are judged, most of all between thick slices. So what is
        lesion on the new grid takes the highest probability that the network gave within the reach of its voxel.
        """
        labels = self.manifest.labels
        found = {
            label: resample_like(image.with_array(values), t1c, interpolation="linear").array
            for label, values in zip(labels[1:], classes[1:], strict=True)
        }
        lesion = [labels[number] for number in lesion_classes(labels)]
        if not lesion:  # a network for edema alone
            return _by_tissue(found, t1c)
        others = [number for number, label in enumerate(labels) if label not in lesion]
        # 1 - p is exact where p is nearly 1.
        doubt = ndimage.minimum_filter(classes[others].sum(axis=0), size=_reach(image, t1c))
        highest = 1 - resample_like(image.with_array(doubt), t1c, interpolation="nearest").array
        total = np.sum([found[label] for label in lesion], axis=0)
        raised = (total >= self.manifest.threshold) & (highest > total)
        factor = np.divide(highest, total, out=np.ones_like(total), where=raised)
        found |= {label: found[label] * factor for label in lesion}
        return _by_tissue(found, t1c)


def _by_tissue(found: Mapping[str, NDArray[np.float32]], t1c: Volume) -> dict[Tissue, Volume]:
    return {TISSUES_OF_LABEL[label][0]: t1c.with_array(values) for label, values in found.items()}


def _reach(image: Volume, t1c: Volume) -> tuple[int, ...]:
    """Return how many voxels of ``image`` along each of its axes hold a voxel of the T1c, wherever it lies; odd."""
    steps = np.linalg.inv(image.affine[:3, :3]) @ t1c.affine[:3, :3]
    return tuple(int(2 * np.ceil(extent / 2 - 1e-6) + 1) for extent in np.abs(steps).sum(axis=1))
