"""Rigid registration of the sequences of one study whose motion between the images is known exactly.

Heads are made from label maps, each seen as T1c with voxels of 1 mm and, after the patient has moved (up to 5 degrees
and 5 mm), as T1, T2 and FLAIR in slices of 4 mm with gaps of 0.4 mm, with noise, bias field and a tilt of its own.
The brain mask is the head's own. The error is how far points of the brain are from where they truly were; its peer in
the same run is ANTs' rigid registration as it comes (`antsRegistration` with Mattes' mutual information).

    python -m benchmarks.within_study [--maps 4]
"""

import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import ants
import numpy as np
import torch
import typer
from ants.config import set_ants_deterministic
from highdicom import Volume
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from inference.synthesis import chance
from inference.synthesis.deformation import sample, voxel_positions
from inference.synthesis.lesions import Grid
from inference.synthesis.patient import FULL_EXAMINATION
from inference.synthesis.scanner import Head, Scene, make_head, native_grid, rigid, scan
from inference.synthesis.tissues import load_label_map
from tracking.registration import align_sequence
from tracking.timepoint import MRSequence

FloatArray = NDArray[np.float64]
Method = Callable[[Volume, Volume, Volume, MRSequence], FloatArray]

MOVED = (MRSequence.T1, MRSequence.T2, MRSequence.FLAIR)
LARGEST_DEG, LARGEST_MM = 5.0, 5.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """One sequence of one head, registered by one method."""

    sequence: str
    method: str
    error_mm: float
    before_mm: float
    cpu_s: float


def ours(t1c: Volume, image: Volume, brain: Volume, sequence: MRSequence) -> FloatArray:
    """Register as the product does; return the matrix from the T1c to the sequence, LPS mm."""
    return align_sequence(t1c, image, brain, sequence=sequence).transform.matrix


def by_ants(t1c: Volume, image: Volume, brain: Volume, _sequence: MRSequence) -> FloatArray:
    """Register by ANTs with its own settings for rigid motion, with a seed so that a run can be repeated."""
    set_ants_deterministic(on=True, seed_value=1)
    found = ants.registration(_to_ants(t1c), _to_ants(image), type_of_transform="Rigid", mask=_to_ants(brain))
    transform = ants.read_transform(found["fwdtransforms"][0])
    parameters, centre = transform.parameters, transform.fixed_parameters
    matrix = np.eye(4)
    matrix[:3, :3] = parameters[:9].reshape(3, 3)
    matrix[:3, 3] = parameters[9:] + centre - matrix[:3, :3] @ centre
    return matrix


METHODS: dict[str, Method] = {"this project": ours, "ANTs": by_ants}


def measure(path: Path, *, seed: int, methods: dict[str, Method]) -> Iterator[Result]:
    """Make one head, move it between its images, and register each image by every method."""
    generator = chance.generator_for(seed, "within study")
    head = make_head(load_label_map(path), FULL_EXAMINATION.sequences, generator=generator)
    t1c, brain = _image(head, np.eye(4), MRSequence.T1C, generator)
    points = _points(brain)
    for sequence in MOVED:
        degrees, shift_mm = (
            [chance.uniform(generator, -largest, largest) for _ in range(3)] for largest in (LARGEST_DEG, LARGEST_MM)
        )
        motion = rigid(degrees=degrees, shift_mm=shift_mm).numpy().astype(float)
        image, _ = _image(head, motion, sequence, generator)
        truth = points @ motion[:3, :3].T + motion[:3, 3]
        for name, method in methods.items():
            began = _cpu_s()
            found = method(t1c, image, brain, sequence)
            used = _cpu_s() - began
            error = np.linalg.norm(points @ found[:3, :3].T + found[:3, 3] - truth, axis=1).mean()
            before = np.linalg.norm(points - truth, axis=1).mean()
            yield Result(sequence=sequence, method=name, error_mm=float(error), before_mm=float(before), cpu_s=used)


def _image(head: Head, pose: FloatArray, sequence: MRSequence, generator: torch.Generator) -> tuple[Volume, Volume]:
    """Return an image of the head after a motion, and its brain."""
    prescription = FULL_EXAMINATION.prescription(sequence)
    tilt = rigid(degrees=[chance.uniform(generator, -4, 4) for _ in range(3)], shift_mm=(0, 0, 0))[:3, :3]
    scene = Scene(head=head, lesions=(), pose=torch.from_numpy(pose).float())
    grid = native_grid(prescription, centre_mm=head.middle_mm, tilt=tilt)
    seen = scan(scene, sequence, prescription, grid, generator=generator)
    return _volume(seen, grid), _volume(_brain(scene, grid), grid)


def _brain(scene: Scene, grid: Grid) -> torch.Tensor:
    there = scene.in_head(grid)
    points = voxel_positions(there.shape) @ there.affine[:3, :3].T + there.affine[:3, 3]
    return sample(scene.head.anatomy.brain.float(), scene.head.atlas_positions(points)) > 0.5


def _volume(array: torch.Tensor, grid: Grid) -> Volume:
    return Volume(array.numpy(), grid.affine.numpy().astype(float), "PATIENT")


def _points(brain: Volume) -> FloatArray:
    indices = np.argwhere(brain.array)[::997]
    return np.asarray(indices @ brain.affine[:3, :3].T + brain.affine[:3, 3])


def _to_ants(volume: Volume) -> ants.ANTsImage:
    spacing = np.linalg.norm(volume.affine[:3, :3], axis=0)
    return ants.from_numpy(
        np.ascontiguousarray(volume.array, np.float32),
        origin=volume.affine[:3, 3].tolist(),
        spacing=spacing.tolist(),
        direction=volume.affine[:3, :3] / spacing,
    )


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(
    data: Annotated[Path, typer.Option(help="Folder with label maps.")] = Path("../shared/data/label_maps"),
    maps: Annotated[int, typer.Option(help="How many label maps.")] = 4,
    method: Annotated[list[str] | None, typer.Option(help="Only these; all by default.")] = None,
) -> None:
    """Measure registration within a study on heads whose motion is known."""
    paths = sorted(data.glob("*.nii.gz"))[:maps]
    if not paths:
        raise typer.BadParameter(f"there is no *.nii.gz in {data}", param_hint="--data")
    chosen = {name: METHODS[name] for name in method or METHODS}
    console = Console()
    results = []
    for seed, path in enumerate(paths):
        for result in measure(path, seed=seed, methods=chosen):
            results.append(result)
            console.print(result, soft_wrap=True)
    table = Table(
        "sequence", "method", "moved, mm", "error, mean mm", "worst head", "CPU s", title=f"{len(paths)} heads"
    )
    for sequence in MOVED:
        for name in chosen:
            mine = [one for one in results if (one.sequence, one.method) == (sequence, name)]
            errors = [one.error_mm for one in mine]
            table.add_row(
                sequence,
                name,
                f"{np.mean([one.before_mm for one in mine]):.1f}",
                f"{np.mean(errors):.2f}",
                f"{max(errors):.2f}",
                f"{np.mean([one.cpu_s for one in mine]):.1f}",
            )
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
