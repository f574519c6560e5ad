"""From a study's images to its lesions: which model runs on which timepoint, and what comes out."""

from dataclasses import dataclass

import numpy as np
from highdicom import Volume

from inference.brain import find_brain
from inference.postprocessing import OperatingPoint, find_lesions
from inference.predictor import Manifest, Predictor
from inference.preprocessing import normalise, to_model_grid
from tracking.geometry import resample_like
from tracking.timepoint import MRSequence, Timepoint


@dataclass(frozen=True, kw_only=True, eq=False)
class Segmentation:
    """Lesions of one study on the grid of its T1c.

    Attributes
    ----------
    lesions
        uint16 volume: 0 background, n lesion number n (26-connected components, numbered from 1 by falling volume).
    probability
        float32 volume: probability of lesion.
    model
        The model that made it.
    """

    lesions: Volume
    probability: Volume
    model: Manifest


def segment(timepoint: Timepoint, predictor: Predictor) -> Segmentation:
    """Find the lesions of one study.

    Parameters
    ----------
    timepoint
        Its T1c is used, on any grid; its brain mask is made when there is none.
    predictor
        A model with the one channel ``T1c``.

    Returns
    -------
    Segmentation
        Lesions and probability on the grid of the T1c.

    Raises
    ------
    BrainNotFoundError
        If the timepoint has no brain mask and none can be found.
    ValueError
        If the model wants other channels, or the brain mask is empty.
    """
    if predictor.manifest.channels != (MRSequence.T1C,):
        raise ValueError(f"{predictor.manifest.name} wants {predictor.manifest.channels}; only T1c can be given so far")
    t1c = timepoint.images[MRSequence.T1C]
    brain = find_brain(t1c) if timepoint.brain is None else timepoint.brain
    probability = lesion_probability(t1c, brain, predictor)
    lesions = find_lesions(
        probability.array,
        brain.array.astype(bool),
        point=OperatingPoint.of(predictor.manifest),
        spacing_mm=t1c.spacing,
    )
    return Segmentation(lesions=t1c.with_array(lesions), probability=probability, model=predictor.manifest)


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


def lesion_probability(t1c: Volume, brain: Volume, predictor: Predictor) -> Volume:
    """Return the probability of lesion on the grid of ``t1c``, float32; 0 away from the brain."""
    image, mask = to_model_grid(t1c, brain, spacing_mm=predictor.manifest.spacing_mm)
    prepared = normalise(image.array, mask.array)
    classes = predictor.predict(prepared[np.newaxis])
    return resample_like(image.with_array(classes[1]), t1c, interpolation="linear")
