"""One synthetic training example: a whole head on a 1 mm grid with known lesions."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingHead:
    """A T1c head with lesions painted in, on cubic 1 mm voxels, after a simulated acquisition.

    Attributes
    ----------
    image
        float32 (i, j, k): intensities in arbitrary units, not yet normalised.
    brain
        bool (i, j, k): brain mask.
    lesions
        int16 (i, j, k): 0 background, n the n-th lesion (enhancing tissue and necrosis).
    ignore
        bool (i, j, k): where nothing is known (a real glioma); counts neither as lesion nor as background.
    """

    image: Tensor
    brain: Tensor
    lesions: Tensor
    ignore: Tensor
