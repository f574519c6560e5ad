"""How far the volume of an unchanged lesion moves from one scan to the next: ``python -m benchmarks.rescans [SHAPES]``.

Bodies of known volume are scanned again and again, each time turned and shifted at random: partial volume in voxels of
1 mm by 1 mm by the slice spacing, an in-plane blur of 1.2 mm (full width at half maximum), noise, and then a threshold.
The threshold differs from scan to scan, since two segmentations never draw the same edge; how much it differs is not
free, but set so that the edge error on 1 mm voxels is the 0.3 mm that `tracking.measurement` takes from the literature.
What this program measures is how that error grows with the slice spacing; its last table shows how often unchanged
lesions would be called changed. ``SHAPES`` (default ``../shared/data/lesion_shapes``) holds label maps of real lesions;
without it only the generated bodies are scanned.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path

import cc3d
import nibabel as nib
import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter, label, map_coordinates
from scipy.optimize import brentq
from scipy.spatial.transform import Rotation

from tracking.measurement import EDGE_ERROR_MM, minimum_detectable_change_percent

FloatArray = NDArray[np.float64]

SPACINGS_MM = (1.0, 2.0, 3.0, 5.0, 7.0)
DIAMETERS_MM = (3.0, 5.0, 8.0, 12.0, 18.0)
STEPS_MM = (0.25, 0.5)  # of the sub-samples that make up a voxel: for lesions below and above
COARSE_FROM_MM = 10.0
BLUR_MM = 1.2 / 2.355
NOISE = 0.03  # of the lesion's contrast
THRESHOLD_RANGE = (0.1, 0.9)
GENERATED = 8
SMALLEST_REAL_VOXELS = 200  # below, a label map of 1 mm voxels has no shape


@dataclass(frozen=True, kw_only=True, eq=False)
class Body:
    """A lesion's shape without a size: inside is where ``field`` exceeds ``level``.

    Attributes
    ----------
    field
        Values on a cubic grid around the body's middle.
    step
        Distance of grid points, as a part of the diameter of the sphere of equal volume.
    """

    field: FloatArray
    level: float
    step: float

    def contains(self, points: FloatArray) -> NDArray[np.bool_]:
        """Tell for points (3, n), in diameters from the middle, whether they lie inside."""
        middle = (np.array(self.field.shape)[:, None] - 1) / 2
        return np.asarray(
            map_coordinates(self.field, points / self.step + middle, order=1, cval=-np.inf) > self.level, bool
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """Partial volume (0 to 1, with blur and noise) of a body in one pose, and how its threshold was drawn."""

    body: int
    diameter_mm: float
    spacing_mm: float
    partial: NDArray[np.float32]
    draw: float  # standard normal: by how many standard deviations the threshold is off

    def log_volume_error(self, threshold_sd: float) -> float | None:
        """Return the error of the natural logarithm of the volume; None when nothing is found."""
        threshold = float(np.clip(0.5 + threshold_sd * self.draw, *THRESHOLD_RANGE))
        components, count = label(self.partial > threshold, np.ones((3, 3, 3)))
        if not count:
            return None
        volume_mm3 = np.bincount(components.ravel())[1:].max() * self.spacing_mm
        return float(np.log(volume_mm3 / (np.pi / 6 * self.diameter_mm**3)))


def main() -> None:
    """Scan, calibrate, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="?", type=Path, default=Path("../shared/data/lesion_shapes"))
    parser.add_argument("--poses", type=int, default=20, help="scans of each body, size and spacing")
    options = parser.parse_args()
    rng = np.random.default_rng(20240501)
    bodies = [generated_body(rng) for _ in range(GENERATED)] + real_bodies(options.shapes)
    scans = [scan for _ in range(options.poses) for scan in _one_pose_each(bodies, rng)]
    threshold_sd = calibrated_threshold_sd([scan for scan in scans if scan.spacing_mm == 1.0])
    errors = {key: _errors(scans, *key, threshold_sd) for key in _strata()}
    console = Console()
    console.print(f"{len(bodies)} bodies, {options.poses} poses, threshold 0.5 ± {threshold_sd:.3f} (one SD)")
    console.print(_error_table(errors))
    console.print(_coverage_table(errors))


def generated_body(rng: np.random.Generator) -> Body:
    """Return an ellipsoid of random axes with a smoothly uneven surface."""
    size, step = 64, 2.6 / 64
    grid = (np.indices((size, size, size)) - (size - 1) / 2) * step
    axes = np.exp(rng.normal(0, 0.2, 3))[:, None, None, None]
    noise = gaussian_filter(rng.normal(size=(size, size, size)), 5)
    field = -np.linalg.norm(grid / axes, axis=0) + 0.05 * noise / noise.std()
    inside = int(np.pi / 6 / step**3)  # so many grid points make a body of diameter 1
    return Body(field=field, level=float(np.sort(field.ravel())[-inside]), step=step)


def real_bodies(folder: Path) -> list[Body]:
    """Return the shapes of the larger lesions (enhancing and non-enhancing core) of label maps with 1 mm voxels."""
    bodies = []
    for path in sorted(folder.glob("*.nii.gz")):
        core = np.isin(Volume.from_nibabel(nib.load(path)).array, (1, 3)).astype(np.uint8)
        components = cc3d.connected_components(core, connectivity=26)
        statistics = cc3d.statistics(components)
        for number, box in enumerate(statistics["bounding_boxes"]):
            if number and statistics["voxel_counts"][number] >= SMALLEST_REAL_VOXELS:
                bodies.append(_body_of(components[box] == number))
    return bodies


def _body_of(mask: NDArray[np.bool_]) -> Body:
    soft = gaussian_filter(np.pad(mask, 4).astype(float), 0.7)
    fine = np.asarray(map_coordinates(soft, np.indices([2 * n for n in soft.shape]) / 2, order=1))
    volume = (fine > 0.5).sum() / 8
    return Body(field=fine, level=0.5, step=0.5 / float(np.cbrt(6 * volume / np.pi)))


def _one_pose_each(bodies: Sequence[Body], rng: np.random.Generator) -> list[Scan]:
    return [
        Scan(
            body=number,
            diameter_mm=diameter_mm,
            spacing_mm=spacing_mm,
            partial=scan_body(body, diameter_mm, spacing_mm, rng),
            draw=float(rng.normal()),
        )
        for number, body in enumerate(bodies)
        for spacing_mm, diameter_mm in _strata()
    ]


def _strata() -> list[tuple[float, float]]:
    return [(spacing_mm, diameter_mm) for spacing_mm in SPACINGS_MM for diameter_mm in DIAMETERS_MM]


def scan_body(body: Body, diameter_mm: float, spacing_mm: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the image (i, j, k) of a body in a random pose: 0 is background, 1 lesion."""
    voxel_mm = np.array((spacing_mm, 1.0, 1.0))
    step_mm = STEPS_MM[diameter_mm > COARSE_FROM_MM]
    parts = np.round(voxel_mm / step_mm).astype(int)
    shape = np.ceil(2.2 * diameter_mm / voxel_mm).astype(int) + 3
    fine = shape * parts
    index = np.indices(fine).reshape(3, -1)
    points_mm = (index - (fine[:, None] - 1) / 2) * step_mm + (rng.uniform(-0.5, 0.5, 3) * voxel_mm)[:, None]
    near = np.linalg.norm(points_mm, axis=0) < 1.2 * diameter_mm
    inside = np.zeros(index.shape[1], np.float32)
    inside[near] = body.contains(Rotation.random(random_state=rng).as_matrix() @ points_mm[:, near] / diameter_mm)
    split = (shape[0], parts[0], shape[1], parts[1], shape[2], parts[2])
    partial = inside.reshape(split).mean(axis=(1, 3, 5))
    blurred = gaussian_filter(partial, (0, BLUR_MM, BLUR_MM))
    return np.asarray(blurred + rng.normal(0, NOISE, blurred.shape), np.float32)


def calibrated_threshold_sd(scans: Sequence[Scan]) -> float:
    """Return the spread of the threshold that gives the published edge error on 1 mm voxels."""

    def excess_mm(threshold_sd: float) -> float:
        errors_mm = [
            scan.diameter_mm / 6 * error
            for scan in scans
            if scan.diameter_mm >= 5 and (error := scan.log_volume_error(threshold_sd)) is not None
        ]
        return float(np.std(errors_mm)) - EDGE_ERROR_MM

    return float(brentq(excess_mm, 0.05, 0.6, xtol=1e-3))


def _errors(scans: Sequence[Scan], spacing_mm: float, diameter_mm: float, threshold_sd: float) -> list[list[float]]:
    """Return the errors of ln V by body, and in the last place as many NaN as scans found nothing."""
    chosen = [scan for scan in scans if (scan.spacing_mm, scan.diameter_mm) == (spacing_mm, diameter_mm)]
    by_body: list[list[float]] = [[] for _ in range(max(scan.body for scan in chosen) + 1)]
    for scan in chosen:
        error = scan.log_volume_error(threshold_sd)
        by_body[scan.body].append(np.nan if error is None else error)
    return by_body


def _error_table(errors: dict[tuple[float, float], list[list[float]]]) -> Table:
    table = Table("slices, mm", *(f"d {diameter:g} mm" for diameter in DIAMETERS_MM), "median")
    table.title = "Edge error e in mm (bias; share of scans that miss the lesion): σ = 6 e / d"
    for spacing_mm in SPACINGS_MM:
        cells, edges = [], []
        for diameter_mm in DIAMETERS_MM:
            every = np.concatenate(errors[spacing_mm, diameter_mm])
            found = every[np.isfinite(every)]
            edges.append(float(np.sqrt((found**2).mean())) * diameter_mm / 6)
            bias_mm = found.mean() * diameter_mm / 6
            cells.append(f"{edges[-1]:.2f} ({bias_mm:+.2f}; {np.isnan(every).mean():.0%})")
        table.add_row(f"{spacing_mm:g}", *cells, f"{np.median(edges):.2f}")
    return table


def _coverage_table(errors: dict[tuple[float, float], list[list[float]]]) -> Table:
    table = Table("slices, mm", *(f"d {diameter:g} mm" for diameter in DIAMETERS_MM))
    table.title = "Unchanged lesions called changed (5 % are meant to be)"
    for prior_mm, current_mm in combinations_with_replacement((1.0, 3.0, 5.0, 7.0), 2):
        shares = [_called_changed(errors, prior_mm, current_mm, diameter_mm) for diameter_mm in DIAMETERS_MM]
        table.add_row(f"{prior_mm:g} and {current_mm:g}", *(f"{share:.1%}" for share in shares))
    return table


def _called_changed(
    errors: dict[tuple[float, float], list[list[float]]], prior_mm: float, current_mm: float, diameter_mm: float
) -> float:
    called = []
    for prior, current in zip(errors[prior_mm, diameter_mm], errors[current_mm, diameter_mm], strict=True):
        first, second = np.meshgrid(prior, current[::-1])
        pairs = np.stack((first, second))[:, np.isfinite(first + second) & (first != second)]
        smaller_mm = diameter_mm * np.exp(pairs.min(axis=0) / 3)
        limits = [minimum_detectable_change_percent(d, current_mm, prior_slice_spacing_mm=prior_mm) for d in smaller_mm]
        called.append(100 * np.expm1(np.ptp(pairs, axis=0)) > np.array(limits))
    return float(np.concatenate(called).mean())


if __name__ == "__main__":
    main()
