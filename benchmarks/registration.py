"""Registration of real heads with motion that is known at every point, beside what a growing or removed mass does.

Each head is the prior study. The current study is the same head on another, oblique grid with 4 mm slices, other noise
and another bias field, turned and shifted, and bent in two ways:

- mass: a metastasis has grown from 4 to 11 mm of radius and pushed the tissue around it away (incompressible);
- resection: a metastasis of 13 mm of radius was taken out, and the tissue has sunk into what is a cavity of 8 mm now;
  nobody has marked the cavity.

A gentle bend of the whole brain (up to 1.5 mm) is in both. The table gives the error where lesions would be: near the
mass (up to 15 mm from its edge) and in the rest of the brain; what the registration itself believes (σ); and seconds.

    python -m benchmarks.registration [--heads 6] [--engine greedy --engine ants]
"""

import json
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from highdicom import Volume
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.scenes.heads import (
    CAVITY,
    ENHANCEMENT,
    centres_mm,
    deep_site,
    mapped,
    read_head,
    sampled,
    scanned,
    second_scan,
    study_of,
)
from tracking.registration import Registration, register
from tracking.timepoint import Timepoint

FloatArray = NDArray[np.float64]
PointMap = Callable[[FloatArray], FloatArray]

NEAR_MM = 15.0


@dataclass(frozen=True, kw_only=True)
class Change:
    """What happened to the mass between the two studies; radii in mm."""

    name: str
    prior_radius_mm: float
    current_radius_mm: float
    current_is_cavity: bool


CHANGES = (
    Change(name="mass", prior_radius_mm=4.0, current_radius_mm=11.0, current_is_cavity=False),
    Change(name="resection", prior_radius_mm=13.0, current_radius_mm=8.0, current_is_cavity=True),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Two studies of one head, and where each point of the current one was in the prior."""

    current: Timepoint
    prior: Timepoint
    to_prior: PointMap
    near_mm: FloatArray
    far_mm: FloatArray


@dataclass(frozen=True, kw_only=True)
class Result:
    """Errors (mm) of one registration, and what it cost."""

    head: str
    change: str
    engine: str
    kind: str
    near_mean_mm: float
    near_p95_mm: float
    far_mean_mm: float
    far_p95_mm: float
    sigma_mm: float
    true_sigma_mm: float
    wall_s: float
    cpu_s: float


def make_scene(stem: Path, change: Change, *, seed: int) -> Scene:
    """Make the two studies of a head (NIfTI files ``<stem>_t1c`` and ``<stem>_brain``)."""
    rng = np.random.default_rng(seed)
    image, brain = read_head(stem)
    inside = brain.array
    middle = centres_mm(brain)[inside].mean(axis=0)
    site = deep_site(brain, rng)
    pose, grid = second_scan(middle, rng)
    bend = _bend(site, change, rng)
    unturned = mapped(pose, centres_mm(grid))
    current_mass = np.linalg.norm(unturned - site, axis=-1) < change.current_radius_mm
    prior_mass = np.linalg.norm(centres_mm(image) - site, axis=-1) < change.prior_radius_mm
    there = bend(unturned)
    brain_now = (sampled(brain, there) > 0.5) | current_mass
    white = float(np.median(image.array[inside]))
    brightness = CAVITY if change.current_is_cavity else ENHANCEMENT
    now = np.where(current_mass, white * brightness, sampled(image, there))
    lesion_now = np.zeros_like(current_mass) if change.current_is_cavity else current_mass
    near, far = _targets(grid, unturned, brain_now, (site, change.current_radius_mm))
    return Scene(
        current=study_of(grid, scanned(now, white, rng), (brain_now, lesion_now), uid="1.2.3.2"),
        prior=study_of(
            image, np.where(prior_mass, white * ENHANCEMENT, image.array), (inside, prior_mass), uid="1.2.3.1"
        ),
        to_prior=lambda points: bend(mapped(pose, points)),
        near_mm=near,
        far_mm=far,
    )


def _bend(site: FloatArray, change: Change, rng: np.random.Generator) -> PointMap:
    """Return where tissue of today was before: the volume inside any sphere around the mass has changed by its own."""
    grown_mm3 = change.current_radius_mm**3 - change.prior_radius_mm**3
    directions, phases = rng.normal(size=(3, 3)), rng.uniform(0, 2 * np.pi, 3)

    def bend(points: FloatArray) -> FloatArray:
        away = points - site
        distance = np.maximum(np.linalg.norm(away, axis=-1, keepdims=True), 1e-6)
        before = np.cbrt(np.maximum(distance**3 - grown_mm3, 0.0))
        inside = distance * change.prior_radius_mm / change.current_radius_mm
        radial = np.where(distance < change.current_radius_mm, inside, before)
        waves = np.sin(points @ directions.T / 40.0 + phases) * 1.5 / np.sqrt(3)
        return np.asarray(site + away * radial / distance + waves)

    return bend


def _targets(
    grid: Volume, unturned: FloatArray, brain: NDArray[np.bool_], mass: tuple[FloatArray, float]
) -> tuple[FloatArray, FloatArray]:
    """Return points of the current brain near the mass, and elsewhere; the mass itself has no counterpart."""
    from_edge = np.linalg.norm(unturned - mass[0], axis=-1) - mass[1]
    near = brain & (from_edge > 1) & (from_edge < NEAR_MM)
    far = brain & (from_edge >= NEAR_MM)
    centres = centres_mm(grid)
    return centres[near][::7], centres[far][::101]


def measure(stem: Path, change: Change, engine: str, *, seed: int) -> Result:
    """Register one scene and compare with the truth."""
    scene = make_scene(stem, change, seed=seed)
    wall, cpu = time.perf_counter(), _cpu_s()
    found = register(scene.current, scene.prior, engine=engine, threads=1)
    wall, cpu = time.perf_counter() - wall, _cpu_s() - cpu
    near, far = (_errors_mm(found, scene, points) for points in (scene.near_mm, scene.far_mm))
    return Result(
        head=stem.name,
        change=change.name,
        engine=engine,
        kind=str(found.kind),
        near_mean_mm=float(near.mean()),
        near_p95_mm=float(np.percentile(near, 95)),
        far_mean_mm=float(far.mean()),
        far_p95_mm=float(np.percentile(far, 95)),
        sigma_mm=found.sigma_mm,
        true_sigma_mm=float(np.percentile(np.concatenate([near, far]), 68)),
        wall_s=wall,
        cpu_s=cpu,
    )


def _errors_mm(found: Registration, scene: Scene, points_mm: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.norm(found.transform.to_moving(points_mm) - scene.to_prior(points_mm), axis=1))


def _cpu_s() -> float:
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def summarise(results: list[Result]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table: one for each change and engine, means over the heads."""
    for change, engine in dict.fromkeys((result.change, result.engine) for result in results):
        chosen = [result for result in results if (result.change, result.engine) == (change, engine)]
        near, far, sigma, truth, cpu = (
            np.mean([getattr(result, name) for result in chosen])
            for name in ("near_mean_mm", "far_mean_mm", "sigma_mm", "true_sigma_mm", "cpu_s")
        )
        worst = max(result.near_mean_mm for result in chosen)
        p95 = np.mean([result.near_p95_mm for result in chosen])
        kinds = sorted({result.kind for result in chosen})
        yield (
            change, engine, f"{near:.2f} / {p95:.2f}", f"{worst:.2f}", f"{far:.2f}", f"{sigma:.2f} / {truth:.2f}",
            f"{cpu:.0f}", ", ".join(kinds),
        )  # fmt: skip


def main(
    data: Annotated[Path, typer.Option(help="Folder with <head>_t1c.nii.gz and <head>_brain.nii.gz.")] = Path(
        "../shared/data/heads"
    ),
    heads: Annotated[int, typer.Option(help="How many heads.")] = 6,
    engine: Annotated[list[str] | None, typer.Option(help="greedy, ants; both by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file for every single result.")] = None,
) -> None:
    """Measure registration on real heads with known motion."""
    stems = sorted(path.with_name(path.name.removesuffix("_t1c.nii.gz")) for path in data.glob("*_t1c.nii.gz"))
    if not stems:
        raise typer.BadParameter(f"there is no *_t1c.nii.gz in {data}", param_hint="--data")
    chosen = stems[:: max(1, len(stems) // heads)][:heads]
    console = Console()
    results = []
    for seed, stem in enumerate(chosen):
        for change in CHANGES:
            for name in engine or ["greedy", "ants"]:
                results.append(measure(stem, change, name, seed=seed))
                console.print(results[-1], soft_wrap=True)
    table = Table(
        "change", "engine", "near, mean / p95 mm", "worst head", "elsewhere", "σ told / true", "CPU s", "steps",
        title=f"{len(chosen)} heads",
    )  # fmt: skip
    for row in summarise(results):
        table.add_row(*row)
    console.print(table)
    if out is not None:
        out.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
