"""The default engine: greedy (Yushkevich et al., Alzheimers Dement 2016), called in memory, without files.

Both studies are T1c, so normalised cross-correlation in small neighbourhoods is the right measure; between different
contrasts it would fail without a word. WNCC is the form of it that leaves masked voxels out: of 24 known rigid motions
of real heads it found all, to 0.1-0.3 mm, where NCC with the same masks found half. greedy adds a little noise to
its images; the fixed seed makes a repeated run give the same result on any number of threads.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from picsl_greedy import Greedy3D

from tracking.registration.engine import ImagePair, RegistrationError
from tracking.registration.transform import DisplacementField

# greedy's matrices are in RAS, everything here is in LPS.
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class GreedyEngine:
    """Rigid and deformable registration by greedy.

    Attributes
    ----------
    rigid_iterations, deformable_iterations
        Iterations per level, coarse to fine; each level halves the voxels of the one before.
    smoothing
        Gaussian smoothing of each update and of the whole warp, in greedy's notation.
    """

    name: str = "greedy"
    rigid_iterations: str = "100x50"
    deformable_iterations: str = "100x30"
    smoothing: str = "4vox 1vox"

    def rigid(self, pair: ImagePair, *, threads: int) -> NDArray[np.float64]:
        """Return the homogeneous 4 × 4 matrix, fixed to moving, LPS mm.

        Raises
        ------
        RegistrationError
            If greedy fails, for example because the images do not overlap.
        """
        return rigid_matrix(pair, measure="WNCC 3x3x3", iterations=self.rigid_iterations, threads=threads)

    def deformable(self, pair: ImagePair, *, threads: int) -> DisplacementField:
        """Return the displacement on the grid of the fixed image.

        Raises
        ------
        RegistrationError
            If greedy fails.
        """
        options = f"-m WNCC 2x2x2 -n {self.deformable_iterations} -s {self.smoothing} -wp 0 -o result"  # unrounded
        return DisplacementField.from_sitk(_execute(options, pair, threads))


def rigid_matrix(pair: ImagePair, *, measure: str, iterations: str, threads: int) -> NDArray[np.float64]:
    """Run greedy's rigid registration with a measure of its own (``"WNCC 3x3x3"``, ``"NMI"`` …).

    Raises
    ------
    RegistrationError
        If greedy fails, for example because the images do not overlap.
    """
    options = f"-a -dof 6 -ia-identity -m {measure} -n {iterations} -o result"
    matrix = np.asarray(_execute(options, pair, threads), float)
    return np.asarray(RAS_TO_LPS @ matrix @ RAS_TO_LPS)


def _execute(options: str, pair: ImagePair, threads: int) -> Any:
    """Run greedy on images in memory; its console output is kept only for the message of a failure."""
    greedy, console = Greedy3D(), io.StringIO()
    images: dict[str, sitk.Image] = {
        "fixed": pair.fixed,
        "moving": pair.moving,
        "fixed_mask": pair.fixed_mask,
        "moving_mask": pair.moving_mask,
    }
    command = f"-d 3 -seed 1 -threads {threads} -V 0 -i fixed moving -gm fixed_mask -mm moving_mask {options}"
    try:
        with _without_native_output():
            greedy.execute(command, out=console, err=console, result=None, **images)
    except (RuntimeError, ValueError) as error:
        raise RegistrationError(f"greedy failed: {error}") from error
    if greedy["result"] is None:
        raise RegistrationError(f"greedy gave no result: {console.getvalue()[-200:]}")
    return greedy["result"]


@contextmanager
def _without_native_output() -> Iterator[None]:
    """Keep the optimiser inside greedy, which writes to the process's standard output itself, off the terminal."""
    stdout = 1
    saved = os.dup(stdout)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  os.devnull is no file to have a path
            os.dup2(nowhere.fileno(), stdout)
        yield
    finally:
        os.dup2(saved, stdout)
        os.close(saved)
