"""Whether a quicker arithmetic says what the trained one says: measured with the real weights on a generated head.

Design rule: nothing quicker than float32 in torch is used on trust. What was measured once is kept beside the weights'
other derived files, under their checksum, and measured again when the weights, the software or the processor change.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.brain import find_brain
from inference.inputs import SUBTRACTION, network_input
from inference.manifest import Manifest
from inference.preprocessing import normalise, to_model_grid
from tracking.timepoint import MRSequence

HEAD_SEED: Final = 1
HEAD_DATE: Final = date(2024, 3, 11)
LESIONS_MM3: Final = (6000.0, 1500.0, 500.0, 250.0, 120.0, 60.0, 40.0, 30.0)
FEWEST_VOXELS: Final = 500
DOUBTFUL: Final = 0.1
"""Voxels that are anything else with a smaller probability are background for any threshold."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two computations of one network are apart.

    Attributes
    ----------
    voxels
        How many either of them calls anything but background.
    dice
        Dice of what they call so.
    difference
        95th percentile of the difference of their probabilities, over all voxels that are not surely background.
    """

    voxels: int
    dice: float
    difference: float


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How far two computations may be apart; ``FEWEST_VOXELS`` must be there to judge by."""

    dice: float
    difference: float

    def allow(self, agreement: Agreement | None) -> bool:
        """Tell whether two computations are near enough; None: they were not compared."""
        return (
            agreement is not None
            and agreement.voxels >= FEWEST_VOXELS
            and agreement.dice >= self.dice
            and agreement.difference <= self.difference
        )


# On 14 held-out cases torch's bfloat16 differed by at most .0063 and .028 from its float32 with the detector 1.1.0.
BFLOAT16: Final = Limits(dice=0.99, difference=0.05)
SAME_ARITHMETIC: Final = Limits(dice=0.999, difference=0.005)
"""For float32 in another order of its sums."""


def compare(expected: NDArray[np.float32], found: NDArray[np.float32], *, threshold: float) -> Agreement:
    """Compare two results of one network.

    Parameters
    ----------
    expected, found
        Class probabilities (labels, i, j, k); class 0 is the background.
    threshold
        Probability of all other classes together from which a voxel is no background.
    """
    one, other = (1 - result[0] >= threshold for result in (expected, found))
    voxels, both = int((one | other).sum()), int((one & other).sum())
    total = int(one.sum()) + int(other.sum())
    doubtful = 1 - np.minimum(expected[0], found[0]) >= DOUBTFUL
    differences = np.abs(expected - found).max(axis=0)[doubtful]
    return Agreement(
        voxels=voxels,
        dice=2 * both / total if total else 0.0,
        difference=float(np.quantile(differences, 0.95)) if differences.size else 1.0,
    )


def generated_channels(manifest: Manifest, *, threads: int | None = None) -> NDArray[np.float32]:
    """Return what a network sees of a generated head with eight lesions of 30 to 6,000 mm³, always the same.

    Parameters
    ----------
    manifest
        Every image that it names is given the T1c; a prior mask is empty, as at a first visit.
    threads
        Processor threads to use; None: one per core.

    Returns
    -------
    NDArray
        float32 (channels, i, j, k).
    """
    # Late: torch takes seconds to load, and mostly the comparison was made before.
    from inference.synthesis.courses import LesionCourse
    from inference.synthesis.patient import Examination, generate_patient

    patient = generate_patient(
        HEAD_SEED,
        dates=[HEAD_DATE],
        courses=[LesionCourse(name=f"{size:.0f}", volumes_mm3=(size,)) for size in LESIONS_MM3],
        examination=Examination(sequences=(MRSequence.T1C,)),
    )
    t1c = patient.studies[0].images[MRSequence.T1C]
    brain = find_brain(t1c, threads=threads)
    image, mask = to_model_grid(t1c, brain, spacing_mm=manifest.spacing_mm)
    prepared = normalise(image.array, mask.array)
    images = dict.fromkeys((*map(str, MRSequence), SUBTRACTION), prepared)
    return network_input(manifest.channels, images, mask.array)
