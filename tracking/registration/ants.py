"""The second engine and judge of the first: ANTs (Avants et al., Med Image Anal 2008) by way of antspyx.

ANTs reads its number of threads from the environment once per process, so ``threads`` counts at the first call.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ants
import numpy as np
import SimpleITK as sitk
from ants.config import set_ants_deterministic
from numpy.typing import NDArray

from tracking.registration.engine import ImagePair, RegistrationError
from tracking.registration.transform import DisplacementField

SEED = 1
THREADS_VARIABLE = "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"


@dataclass(frozen=True, kw_only=True)
class AntsEngine:
    """Rigid registration by Mattes mutual information, deformable by SyN with cross-correlation."""

    name: str = "ants"
    deformable_iterations: tuple[int, ...] = (40, 20)

    def rigid(self, pair: ImagePair, *, threads: int) -> NDArray[np.float64]:
        """Return the homogeneous 4 × 4 matrix, fixed to moving, LPS mm.

        Raises
        ------
        RegistrationError
            If ANTs fails.
        """
        with tempfile.TemporaryDirectory() as folder:
            files = _register(pair, folder, threads, type_of_transform="Rigid", aff_random_sampling_rate=1.0)
            return _read_rigid(_ending(files, ".mat"))

    def deformable(self, pair: ImagePair, *, threads: int) -> DisplacementField:
        """Return the displacement on the grid of the fixed image.

        Raises
        ------
        RegistrationError
            If ANTs fails.
        """
        options = {"type_of_transform": "SyNOnly", "syn_metric": "CC", "syn_sampling": 2}
        with tempfile.TemporaryDirectory() as folder:
            files = _register(pair, folder, threads, reg_iterations=self.deformable_iterations, **options)
            return DisplacementField.from_sitk(sitk.ReadImage(str(_ending(files, ".nii.gz"))))


def _register(pair: ImagePair, folder: str, threads: int, **options: Any) -> list[str]:
    """Run ANTs and return its forward transform files, all below ``folder``."""
    # antspyx takes a seed in this way alone. Without it the same pair failed in a quarter of all runs.
    set_ants_deterministic(on=True, seed_value=SEED)
    os.environ[THREADS_VARIABLE] = str(threads)
    images = {name: ants.from_sitk(getattr(pair, name)) for name in ("fixed", "moving")}
    masks = {"mask": ants.from_sitk(pair.fixed_mask), "moving_mask": ants.from_sitk(pair.moving_mask)}
    try:
        result = ants.registration(
            **images, **masks, mask_all_stages=True, initial_transform="Identity",
            outprefix=f"{folder}/", **options,
        )  # fmt: skip
    except (RuntimeError, ValueError, OSError) as error:
        raise RegistrationError(f"ANTs failed: {error}") from error
    return [str(name) for name in result["fwdtransforms"]]


def _ending(files: list[str], ending: str) -> Path:
    for file in files:
        if file.endswith(ending) and Path(file).exists():
            return Path(file)
    raise RegistrationError(f"ANTs wrote no transform that ends in {ending}.")


def _read_rigid(path: Path) -> NDArray[np.float64]:
    transform = sitk.AffineTransform(sitk.ReadTransform(str(path)))
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    origin = np.zeros(3)
    matrix[:3, 3] = np.asarray(transform.TransformPoint(origin.tolist()))
    return matrix
