"""From a study's images to its lesions: which model runs on which timepoint, and what comes out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray

from inference.brain import find_brain
from inference.inputs import SUBTRACTION, network_input, sequences_for
from inference.labels import TISSUES_OF_LABEL
from inference.manifest import Manifest
from inference.postprocessing import OperatingPoint, find_lesions
from inference.predictor import Predictor
from inference.preprocessing import normalise, to_model_grid
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
    model: Manifest


def segment(timepoint: Timepoint, predictor: Predictor, *, prior: Volume | None = None) -> Segmentation:
    """Find the lesions of one study.

    Parameters
    ----------
    timepoint
        Its T1c is used on any grid, and what else the model's channels name and the study has, where its geometry says
        that it lies; its brain mask is made when there is none.
    predictor
        The model.
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
    found = tissue_probabilities(timepoint, brain, predictor, prior=prior)
    probability = lesion_probability(found)
    lesions = find_lesions(
        probability.array,
        brain.array.astype(bool),
        point=OperatingPoint.of(predictor.manifest),
        spacing_mm=t1c.spacing,
    )
    return Segmentation(
        lesions=t1c.with_array(lesions),
        probability=probability,
        tissues=tissues_of(lesions, found),
        model=predictor.manifest,
    )


def lesions_at_known_places(probability: Volume, brain: Volume, known: Volume, manifest: Manifest) -> Volume:
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
    timepoint: Timepoint, brain: Volume, predictor: Predictor, *, prior: Volume | None = None
) -> dict[Tissue, Volume]:
    """Run a model on one study.

    Parameters
    ----------
    timepoint, predictor, prior
        As for `segment`.
    brain
        Brain mask on the grid of the T1c.

    Returns
    -------
    dict
        float32 probability of each tissue that the model knows, on the grid of the T1c, 0 away from the brain; a model
        that does not tell the tissues of a lesion apart answers for the whole lesion as `Tissue.ENHANCING`.
    """
    t1c, manifest = timepoint.images[MRSequence.T1C], predictor.manifest
    image, mask = to_model_grid(t1c, brain, spacing_mm=manifest.spacing_mm)
    images = _prepared(timepoint, image, mask, manifest)
    known = None if prior is None else resample_like(_as_numbers(prior), image, interpolation="nearest").array > 0
    classes = predictor.predict(network_input(manifest.channels, images, mask.array, prior=known))
    return {
        TISSUES_OF_LABEL[label][0]: resample_like(image.with_array(values), t1c, interpolation="linear")
        for label, values in zip(manifest.labels[1:], classes[1:], strict=True)
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


def _prepared(timepoint: Timepoint, image: Volume, mask: Volume, manifest: Manifest) -> dict[str, NDArray[np.float32]]:
    """Return the images that the model wants and the study has, on the model's grid, normalised."""
    raw = {MRSequence.T1C: image.array} | {
        sequence: resample_like(volume, image, interpolation="linear").array
        for sequence, volume in timepoint.images.items()
        if sequence != MRSequence.T1C and sequence in sequences_for(manifest.channels)
    }
    prepared = {str(sequence): normalise(array, mask.array) for sequence, array in raw.items()}
    if MRSequence.T1 in raw:  # on native intensities, before they are normalised (Rudie et al. 2021)
        prepared[SUBTRACTION] = normalise(raw[MRSequence.T1C] - raw[MRSequence.T1], mask.array)
    return prepared


def _as_numbers(mask: Volume) -> Volume:
    return mask.with_array((mask.array > 0).astype(np.uint8))
