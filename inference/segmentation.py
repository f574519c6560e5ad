"""From a study's images to its lesions: which model runs on which timepoint, and what comes out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray

from inference.brain import find_brain
from inference.confidence import confidence_of
from inference.inputs import EARLIER_T1C, PRIOR_MASK, SUBTRACTION, sequences_for
from inference.postprocessing import OperatingPoint, find_lesions
from inference.tissue_model import ModelDescription, TissueModel
from tracking.geometry import resample_like
from tracking.timepoint import MRSequence, Timepoint, Tissue

EDEMA_THRESHOLD: Final = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Segmentation:
    """Lesions of one study on the grid of its T1c.

    Attributes
    ----------
    lesions
        uint16 volume: 0 background, n lesion number n (26-connected components, numbered from 1 by falling volume).
    probability
        float32 volume: probability of lesion.
    tissues
        uint8 volume of `tracking.timepoint.Tissue`: necrosis or enhancing in lesions, edema around them, 0 elsewhere;
        None if the model does not tell the tissues of a lesion apart.
    model
        The model that made it.
    """

    lesions: Volume
    probability: Volume
    tissues: Volume | None
    model: ModelDescription

    @property
    def confidence(self) -> dict[int, float] | None:
        """How sure the model is of each lesion, by its number; None if that was never calibrated."""
        return lesion_confidence(self.lesions, self.probability, self.model)


def segment(timepoint: Timepoint, model: TissueModel, *, prior: Volume | None = None) -> Segmentation:
    """Find the lesions of one study.

    Parameters
    ----------
    timepoint
        Its T1c is used on any grid, and what else the model's channels name and the study has, where its geometry says
        that it lies; its brain mask is made when there is none.
    model
        What finds them.
    prior
        Where the prior study has lesions (more than 0), on the grid of the T1c, for a model with the channel
        ``prior_mask``; None: nothing is known of a prior study.

    Returns
    -------
    Segmentation
        Lesions and probability on the grid of the T1c.

    Raises
    ------
    BrainNotFoundError
        If the timepoint has no brain mask and none can be found.
    ValueError
        If the model wants a channel that does not exist, or the brain mask is empty.
    """
    t1c = timepoint.images[MRSequence.T1C]
    brain = find_brain(t1c) if timepoint.brain is None else timepoint.brain
    found = tissue_probabilities(timepoint, brain, model, prior=prior)
    probability = lesion_probability(found)
    lesions = find_lesions(
        probability.array,
        brain.array.astype(bool),
        point=OperatingPoint.of(model.manifest),
        spacing_mm=t1c.spacing,
    )
    return Segmentation(
        lesions=t1c.with_array(lesions),
        probability=probability,
        tissues=tissues_of(lesions, found),
        model=model.manifest,
    )


def lesions_at_known_places(probability: Volume, brain: Volume, known: Volume, manifest: ModelDescription) -> Volume:
    """Judge a probability map again, now that it is known where lesions were before.

    Parameters
    ----------
    probability
        As `segment` returned it.
    brain, known
        Brain mask and earlier lesions (more than 0), on the same grid.
    manifest
        Of the model that made the map.

    Returns
    -------
    Volume
        uint16 lesions, numbered like those of `segment`; the same, or more, or larger ones at the known places.
    """
    lesions = find_lesions(
        probability.array,
        brain.array.astype(bool),
        point=OperatingPoint.of(manifest),
        spacing_mm=probability.spacing,
        known=known.array > 0,
    )
    return probability.with_array(lesions)


def tissue_probabilities(
    timepoint: Timepoint,
    brain: Volume,
    model: TissueModel,
    *,
    prior: Volume | None = None,
    earlier: Volume | None = None,
) -> dict[Tissue, Volume]:
    """Run a model on one study.

    Parameters
    ----------
    timepoint, model, prior
        As for `segment`.
    brain
        Brain mask on the grid of the T1c.
    earlier
        The prior study's T1c, registered, on the grid of the T1c, for a model that remembers; None: there is none.

    Returns
    -------
    dict
        float32 probability of each tissue that the model knows, on the grid of the T1c, 0 away from the brain; a model
        that does not tell the tissues of a lesion apart answers for the whole lesion as `Tissue.ENHANCING`.
    """
    channels = _channels(timepoint, model.manifest.channels, prior)
    if model.manifest.remembers and earlier is not None:
        channels[EARLIER_T1C] = earlier.astype(np.float32)
    return model.tissue_probabilities(channels, brain)


def _channels(timepoint: Timepoint, wanted: Sequence[str], prior: Volume | None) -> dict[str, Volume]:
    """Return the images that a model can use and the study has, on the grid of the T1c, not normalised."""
    t1c = timepoint.images[MRSequence.T1C].astype(np.float32)
    images = {MRSequence.T1C: t1c} | {
        sequence: resample_like(volume, t1c, interpolation="linear")
        for sequence, volume in timepoint.images.items()
        if sequence != MRSequence.T1C and sequence in sequences_for(wanted)
    }
    channels = {str(sequence): image for sequence, image in images.items()}
    if SUBTRACTION in wanted and MRSequence.T1 in images:  # on native intensities (Rudie et al. 2021)
        channels[SUBTRACTION] = t1c.with_array(t1c.array - images[MRSequence.T1].array)
    if PRIOR_MASK in wanted and prior is not None:
        channels[PRIOR_MASK] = t1c.with_array((prior.array > 0).astype(np.float32))
    return channels


def lesion_confidence(lesions: Volume, probability: Volume, manifest: ModelDescription) -> dict[int, float] | None:
    """Return how sure a model is of each lesion, 0 to 1, by its number; None if that was never calibrated.

    What lies under the least confidence is left out: it is a lesion for another reason, such as a prior study.

    Parameters
    ----------
    lesions
        0 background, n lesion number n.
    probability
        Probability of lesion on the same grid.
    manifest
        Of the model that made it.
    """
    if manifest.confidence is None:
        return None
    found = confidence_of(lesions.array, probability.array, spacing_mm=lesions.spacing, how=manifest.confidence)
    return {
        int(number): float(found[number])
        for number in np.unique(lesions.array)
        if number and found[number] >= manifest.least_confidence
    }


def lesion_probability(found: Mapping[Tissue, Volume]) -> Volume:
    """Return the probability of any tissue of a lesion, float32."""
    parts = [found[tissue] for tissue in (Tissue.ENHANCING, Tissue.NECROSIS) if tissue in found]
    return parts[0].with_array(np.asarray(np.sum([part.array for part in parts], axis=0, dtype=np.float32)))


def tissues_of(lesions: NDArray[np.uint16], found: Mapping[Tissue, Volume]) -> Volume | None:
    """Return the tissue of every voxel as `Segmentation.tissues` has it, or None if the model cannot tell."""
    if Tissue.NECROSIS not in found:
        return None
    enhancing, necrosis = found[Tissue.ENHANCING].array, found[Tissue.NECROSIS].array
    tissues = np.where(necrosis > enhancing, Tissue.NECROSIS, Tissue.ENHANCING).astype(np.uint8)
    around = np.zeros(lesions.shape, np.uint8)
    if Tissue.EDEMA in found:
        around[found[Tissue.EDEMA].array >= EDEMA_THRESHOLD] = Tissue.EDEMA
    return found[Tissue.NECROSIS].with_array(np.where(lesions > 0, tissues, around))
