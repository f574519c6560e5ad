"""A follow-up's lesions: what is detected without the prior, and what is only found again with the prior in view.

The rules by which both answers become one [after CHUV's re-segmentation; the merging is ours]:

1. What the detector finds is kept with its outline: on follow-ups of held-out heads its outlines were nearer to the
   truth than those of the re-segmentation, see the model card.
2. A known lesion at whose place the detector finds nothing is there if the re-segmentation finds it, with its outline.
3. A known lesion is gone only if neither finds anything at its place: complete response is possible, but not by one
   network's silence.
"""

import cc3d
import numpy as np
from highdicom import Volume
from numpy.typing import NDArray

from inference.inputs import PRIOR_MASK
from inference.postprocessing import CONNECTIVITY, KNOWN_REACH_MM, surroundings
from inference.segmentation import tissue_probabilities
from inference.tissue_model import ModelDescription, TissueModel
from tracking.timepoint import Timepoint, Tissue


def can_resegment(manifest: ModelDescription) -> bool:
    """Return whether a model makes use of a prior mask or of earlier images."""
    return PRIOR_MASK in manifest.channels or manifest.remembers


def resegment(
    timepoint: Timepoint, brain: Volume, model: TissueModel, *, known: Volume, earlier: Volume | None = None
) -> dict[Tissue, Volume]:
    """Return the probability of each tissue, as `tissue_probabilities` does, with the prior's lesions in view.

    Parameters
    ----------
    timepoint
        The current study.
    brain
        Its brain mask, on the grid of its T1c.
    model
        One with the channel ``prior_mask``, or one that remembers.
    known
        The prior study's lesions (more than 0), registered to the current study, on the same grid.
    earlier
        The prior study's T1c, registered, on the same grid, for a model that remembers.

    Raises
    ------
    ValueError
        If the model is neither.
    """
    if not can_resegment(model.manifest):
        raise ValueError(
            f"{model.manifest.name} has no channel {PRIOR_MASK} and no memory: it cannot segment lesions again"
        )
    return tissue_probabilities(timepoint, brain, model, prior=known, earlier=earlier)


def merged_probability(detected: Volume, resegmented: Volume, known: Volume, *, threshold: float) -> Volume:
    """Make one probability map of both answers, by the rules of this module.

    Parameters
    ----------
    detected, resegmented
        Probability of lesion without and with the prior in view, on one grid.
    known
        The prior study's lesions (more than 0), registered, on the same grid.
    threshold
        Probability from which a voxel belongs to a lesion.

    Returns
    -------
    Volume
        float32: the detector's values, and those of the re-segmentation on the regions that it finds at the places of
        known lesions that the detector misses.
    """
    seen = detected.array >= threshold
    lesions = known.array > 0
    missed = lesions & ~_touching(lesions, surroundings(seen, detected.spacing, KNOWN_REACH_MM))
    near = surroundings(missed, detected.spacing, KNOWN_REACH_MM)
    again = _touching(resegmented.array >= threshold, near) & ~seen
    return detected.with_array(np.where(again, resegmented.array, detected.array).astype(np.float32))


def _touching(mask: NDArray[np.bool_], place: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the 26-connected regions of ``mask`` that have a voxel in ``place``."""
    components = cc3d.connected_components(mask, connectivity=CONNECTIVITY)
    wanted = np.zeros(int(components.max()) + 1, bool)
    wanted[np.unique(components[place])] = True
    wanted[0] = False
    return np.asarray(wanted[components], bool)
