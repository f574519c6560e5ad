"""Our own networks: the study's images onto cubic voxels, normalised as in training, and the answer back again."""

from collections.abc import Mapping
from dataclasses import dataclass

import cc3d
import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit, logit

from inference.confidence import SUREST, confidence_of, traits_of
from inference.inputs import EARLIER_T1C, PRIOR_MASK, network_input
from inference.labels import TISSUES_OF_LABEL, lesion_classes
from inference.manifest import Manifest
from inference.postprocessing import CONNECTIVITY
from inference.predictor import Predictor
from inference.preprocessing import normalise, to_model_grid
from tracking.geometry import resample_like
from tracking.timepoint import MRSequence, Tissue

MEAN_LOG_ODDS = 0
"""Column of the traits of a region."""
LEAST_LOG_ODDS = 0.01
"""Of a region of which a model is hardly sure: it stays above the threshold."""


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
        """Bring class probabilities from the network's grid, that of ``image``, to that of the T1c.

        What is lesion is interpolated by its log odds: between voxels of 0.999999 and 0.000001 the outline lies where
        they cancel. Probabilities say which tissue it is.
        """
        labels = self.manifest.labels
        found = {
            label: resample_like(image.with_array(values), t1c, interpolation="linear").array
            for label, values in zip(labels[1:], classes[1:], strict=True)
        }
        lesion = lesion_classes(labels)
        if not lesion:  # a network for edema alone
            return _by_tissue(found, t1c)
        own = image.with_array(classes[list(lesion)].sum(axis=0))
        total = as_sure_as(own, _sampled(own, t1c), self.manifest).array
        names = [labels[number] for number in lesion]
        parts = np.sum([found[label] for label in names], axis=0)
        factor = np.divide(total, parts, out=np.zeros_like(total), where=parts > 0)
        found |= {label: found[label] * factor for label in names}
        return _by_tissue(found, t1c)


def _sampled(probability: Volume, grid: Volume) -> Volume:
    """Return probabilities on another grid, interpolated by their log odds; 0 where there is next to nothing."""
    log_odds = probability.with_array(logit(np.clip(probability.array, SUREST, 1 - SUREST)))
    found = expit(resample_like(log_odds, grid, interpolation="linear", fill=float(logit(SUREST))).array)
    found[found < 2 * SUREST] = 0
    return grid.with_array(found)


def as_sure_as(own: Volume, sampled: Volume, manifest: Manifest) -> Volume:
    """Make a model as sure of each region on the grid of the images as it was on its own.

    Confidence was calibrated there. Between thick slices, or along the finer outline of thin ones, voxels of a region
    have other log odds in the mean, and its shape is another: so the log odds of a whole region are multiplied by
    what gives it back the confidence it had. That moves no outline.

    Parameters
    ----------
    own
        Probability of lesion on the model's own grid.
    sampled
        The same on the grid of the images.
    manifest
        With the confidence of the model; without one the values stay as they are.
    """
    how = manifest.confidence
    if how is None:
        return sampled
    judged, found = (
        cc3d.connected_components(volume.array >= manifest.threshold, connectivity=CONNECTIVITY)
        for volume in (own, sampled)
    )
    sure = confidence_of(judged, own.array, spacing_mm=own.spacing, how=how)
    # The voxel of the other grid that lies nearest may be just outside of a region.
    reach = ndimage.maximum_filter(sure[judged].astype(np.float32), size=3)
    traits = traits_of(found, sampled.array, spacing_mm=sampled.spacing)
    index = np.nonzero(found)
    numbers, wanted = found[index], np.zeros(len(traits))
    np.maximum.at(wanted, numbers, reach[_nearest(index, sampled, own)])
    factor = how.log_odds_for(wanted, traits).clip(min=LEAST_LOG_ODDS) / traits[:, MEAN_LOG_ODDS].clip(
        min=LEAST_LOG_ODDS
    )
    log_odds = logit(np.clip(sampled.array[index].astype(float), SUREST, 1 - SUREST))
    result = sampled.array.copy()
    result[index] = expit(np.where(log_odds > 0, factor[numbers] * log_odds, log_odds))
    return sampled.with_array(result)


def _nearest(index: tuple[NDArray[np.intp], ...], grid: Volume, other: Volume) -> tuple[NDArray[np.intp], ...]:
    """Return the voxels of another grid that lie nearest to voxels of a grid."""
    across = np.linalg.inv(other.affine) @ grid.affine
    places = across[:3, :3] @ np.stack(index) + across[:3, 3:]
    return tuple(
        np.clip(np.rint(axis), 0, size - 1).astype(np.intp)
        for axis, size in zip(places, other.spatial_shape, strict=True)
    )


def _by_tissue(found: Mapping[str, NDArray[np.float32]], t1c: Volume) -> dict[Tissue, Volume]:
    return {TISSUES_OF_LABEL[label][0]: t1c.with_array(values) for label, values in found.items()}
