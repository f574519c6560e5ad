"""From a study's images to its lesions: which model runs on which timepoint, and what comes out."""

from dataclasses import dataclass

from highdicom import Volume

from inference.predictor import Manifest


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
