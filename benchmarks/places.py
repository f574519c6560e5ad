"""How often the carried atlas names a lesion's place right: side, above or below the tentorium, region, and the words.

Heads are made from label maps other than the shipped one, so that the atlas meets people it does not know: bent
anew, with another brightness for every tissue, vessels, six lesions of 6 to 28 mm with edema that push tissue aside,
noise, bias, an oblique pose, once with 1 mm slices and once with slices of 5 mm and gaps of 1 mm. The brain mask is
the one that the node would find. Then balls of 4, 8 and 15 mm in diameter are laid where metastases lie (18 % below
the tentorium, most of the others where grey meets white matter), and named twice: by the head's own labels, and by the
atlas. A ball consists of voxels of the T1c, as a lesion does.

The demonstration's patient is made from the shipped map itself; places are named too well there to count as evidence.

    python -m benchmarks.places [--maps 6]
"""

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from highdicom import Volume
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.ndimage import distance_transform_edt
from torch import Generator, Tensor

from inference.anatomy import COARSE, HEMISPHERE, NEAR_MIDLINE, atlas_for, place_in_words
from inference.brain import find_brain
from inference.synthesis import chance
from inference.synthesis.contrast import T1C_RANGES, TIMINGS, brightness
from inference.synthesis.deformation import sample, voxel_positions
from inference.synthesis.lesions import Grid, Lesion, dress, make_shape
from inference.synthesis.painting import pushed_from
from inference.synthesis.scanner import (
    PUSH,
    SMALLEST_PUSH_MM,
    TO_LPS,
    Head,
    Prescription,
    Scene,
    make_head,
    native_grid,
    rigid,
    scan,
)
from inference.synthesis.tissues import HeadTissue, crop_to_head, load_label_map, tissue_map
from inference.threads import torch_threads
from tracking.measurement import Place, Side, locate
from tracking.measurement.anatomy import PLACES
from tracking.timepoint import MRSequence, Timepoint

FloatArray = NDArray[np.float64]

SHIPPED = "training_seg_17"
DIAMETERS_MM = (4.0, 8.0, 15.0)
BALLS = 60  # of each size in each scan
LESIONS_MM = (28.0, 18.0, 14.0, 10.0, 8.0, 6.0)
INFRATENTORIAL, JUNCTION = 0.18, 0.65
BELOW_BRAIN_MM = 80  # as much as `make_head` keeps
TRUTH_SHAPE = (200, 220, 180)
COARSE_STEP = 2
MIDLINE_BANDS_MM = (0.0, 3.0, 5.0, 8.0, 12.0, math.inf)
SCANS = {
    "1 mm": Prescription(
        plane="axial", in_plane_mm=1.0, slice_mm=1.0, gap_mm=0.0, field_mm=(186.0, 240.0, 192.0), noise=0.03
    ),
    "5 + 1 mm": Prescription(
        plane="axial", in_plane_mm=0.9, slice_mm=5.0, gap_mm=1.0, field_mm=(158.0, 230.0, 192.0), noise=0.04
    ),
}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One ball, named by the head's own labels, by the carried atlas, and as the report would.

    Attributes
    ----------
    midline_mm
        How far the ball's centre is from the other half of the brain.
    """

    head: str
    scan: str
    diameter_mm: float
    midline_mm: float
    truth: Place
    located: Place
    told: Place


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A head that the atlas does not know, with lesions in its space; ``labels`` as its `Head` was made from them."""

    name: str
    labels: Tensor
    head: Head
    lesions: Sequence[Lesion]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """What the scanner saw of a subject, and what was there.

    Attributes
    ----------
    labels
        The true ones, int16 on 1 mm voxels.
    sites
        Voxels of ``labels`` (n, 3) where metastases lie, by kind.
    midline_mm
        Distance to the other half of the brain on every second voxel of ``labels``.
    """

    study: Timepoint
    labels: Volume
    sites: dict[str, NDArray[np.int64]]
    midline_mm: NDArray[np.float64]


def make_subject(path: Path, generator: Generator) -> Subject:
    """Make an individual head with six lesions from a label map."""
    labels = load_label_map(path)
    head = make_head(labels, [MRSequence.T1C], generator=generator)
    labels = crop_to_head(labels, below_brain_mm=BELOW_BRAIN_MM)
    ratio = torch.ones(len(HeadTissue))
    usual = brightness(TIMINGS[MRSequence.T1C])
    for tissue, limits in T1C_RANGES.items():
        ratio[tissue] = chance.uniform(generator, *limits) / float(usual[tissue])
    image = head.appearance[MRSequence.T1C] * ratio[tissue_map(labels).long()]
    head = replace(head, appearance={MRSequence.T1C: image})
    return Subject(name=path.name.removesuffix(".nii.gz"), labels=labels, head=head, lesions=_lesions(head, generator))


def _lesions(head: Head, generator: Generator) -> list[Lesion]:
    """Place lesions that keep away from each other, in head space."""
    placed: list[Lesion] = []
    while len(placed) < len(LESIONS_MM):
        diameter_mm = LESIONS_MM[len(placed)]
        mask: Tensor = getattr(head.anatomy, _kind_of_site(chance.uniform(generator, 0, 1)))
        voxel = chance.voxels(generator, mask, 1)[0]
        centre = torch.linalg.inv(head.to_atlas[:3, :3]) @ (voxel - head.to_atlas[:3, 3])
        gaps = [(centre - one.body.centre_mm).norm() - 2 * one.body.radius_mm for one in placed]
        if all(gap > diameter_mm for gap in gaps):
            shape = make_shape(math.pi / 6 * diameter_mm**3, centre, generator=generator)
            placed.append(dress(shape, generator=generator))
    return placed


def _kind_of_site(draw: float) -> str:
    """Say which mask of `Anatomy` a metastasis lies in, for a number from 0 to 1."""
    if draw < INFRATENTORIAL:
        return "infratentorial"
    return "junction" if draw < INFRATENTORIAL + JUNCTION * (1 - INFRATENTORIAL) else "tissue"


def scan_subject(subject: Subject, prescription: Prescription, generator: Generator) -> Scan:
    """Lay a subject into the scanner, obliquely, take a T1c and find the brain on it."""
    pose = rigid(degrees=_draws(generator, 10), shift_mm=_draws(generator, 20))
    middle = pose[:3, :3] @ subject.head.middle_mm + pose[:3, 3]
    grid = native_grid(
        prescription, centre_mm=middle, tilt=rigid(degrees=_draws(generator, 5), shift_mm=(0, 0, 0))[:3, :3]
    )
    scene = Scene(head=subject.head, lesions=subject.lesions, pose=pose)
    image = scan(scene, MRSequence.T1C, prescription, grid, generator=generator)
    t1c = _volume((500 * image).round().clamp(0, 4095).numpy().astype(np.uint16), grid.affine)
    study = Timepoint(
        study_uid=subject.name,
        study_date=date(2024, 1, 1),
        images={MRSequence.T1C: t1c},
        brain=find_brain(t1c, threads=1),
    )
    return _with_truth(subject, scene, study, middle)


def _draws(generator: Generator, limit: float) -> list[float]:
    return [chance.uniform(generator, -limit, limit) for _ in range(3)]


def _volume(array: NDArray[np.generic], affine: Tensor) -> Volume:
    return Volume(np.ascontiguousarray(array), affine.double().numpy(), "PATIENT")


def _with_truth(subject: Subject, scene: Scene, study: Timepoint, middle: Tensor) -> Scan:
    """Add the true labels in scanner space; large lesions have pushed them aside, as `scan` does."""
    affine = torch.eye(4)
    affine[:3, :3] = TO_LPS
    affine[:3, 3] = middle - TO_LPS @ ((torch.tensor(TRUTH_SHAPE) - 1) / 2)
    in_head = scene.in_head(Grid(shape=TRUTH_SHAPE, affine=affine))
    points = voxel_positions(TRUTH_SHAPE) @ in_head.affine[:3, :3].T + in_head.affine[:3, 3]
    for lesion in subject.lesions:
        if lesion.body.radius_mm >= SMALLEST_PUSH_MM:
            points = pushed_from(points, lesion.body, strength=PUSH)
    where = subject.head.atlas_positions(points)
    labels = sample(subject.labels.float(), where, nearest=True).to(torch.int16).numpy()
    masks = {kind: getattr(subject.head.anatomy, kind) for kind in ("infratentorial", "junction", "tissue")}
    return Scan(
        study=study,
        labels=_volume(labels, affine),
        sites={
            kind: np.argwhere(sample(mask.float(), where, nearest=True).numpy() > 0) for kind, mask in masks.items()
        },
        midline_mm=_from_other_half_mm(labels[::COARSE_STEP, ::COARSE_STEP, ::COARSE_STEP]),
    )


def _from_other_half_mm(labels: NDArray[np.int16]) -> NDArray[np.float64]:
    halves = [
        np.isin(labels, [label for label, place in PLACES.items() if place.side is side])
        for side in (Side.LEFT, Side.RIGHT)
    ]
    left_mm, right_mm = (distance_transform_edt(~half, sampling=COARSE_STEP) for half in halves)
    return np.asarray(np.maximum(left_mm, right_mm))


def name_balls(scanned: Scan, atlas: Volume, *, seed: int) -> Iterator[tuple[float, float, tuple[Place, Place, Place]]]:
    """Yield diameter, distance from the midline, and the places: true, by the atlas, and as told."""
    rng = np.random.default_rng(seed)
    for diameter_mm in np.repeat(DIAMETERS_MM, BALLS):
        sites = scanned.sites[_kind_of_site(rng.random())]
        voxel = sites[rng.integers(len(sites))]
        centre_mm = _mapped(voxel + rng.uniform(-0.5, 0.5, 3), scanned.labels.affine)
        points_mm = _ball(atlas, centre_mm, float(diameter_mm))
        located = locate(points_mm, atlas)
        places = locate(points_mm, scanned.labels), located, place_in_words(located, points_mm.mean(axis=0), atlas)
        yield float(diameter_mm), float(scanned.midline_mm[tuple(voxel // COARSE_STEP)]), places


def _ball(grid: Volume, centre_mm: FloatArray, diameter_mm: float) -> FloatArray:
    """Return the centres of the voxels (n, 3) inside a ball; the nearest one if there is none."""
    middle = _mapped(centre_mm, grid.inverse_affine)
    reach = diameter_mm / 2 / np.asarray(grid.spacing)
    axes = [np.arange(np.floor(m - r), np.ceil(m + r) + 1) for m, r in zip(middle, reach, strict=True)]
    points = _mapped(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3), grid.affine)
    distance_mm = np.linalg.norm(points - centre_mm, axis=1)
    return np.asarray(points[distance_mm <= max(diameter_mm / 2, distance_mm.min())])


def _mapped(points: FloatArray, affine: FloatArray) -> FloatArray:
    return np.asarray(points @ affine[:3, :3].T + affine[:3, 3])


def measure(path: Path, *, seed: int) -> Iterator[tuple[str, float, str, list[Trial]]]:
    """Yield, for each scan of a head, its name, the processor seconds of the atlas, its remark, and the trials."""
    generator = chance.generator_for(seed, path.name)
    subject = make_subject(path, generator)
    for name, prescription in SCANS.items():
        scanned = scan_subject(subject, prescription, generator)
        start = time.process_time()
        carried = atlas_for(scanned.study, threads=1)
        seconds = time.process_time() - start
        if carried.labels is None:
            yield name, seconds, carried.remark, []
            continue
        trials = [
            Trial(
                head=subject.name,
                scan=name,
                diameter_mm=diameter_mm,
                midline_mm=midline_mm,
                truth=truth,
                located=located,
                told=told,
            )
            for diameter_mm, midline_mm, (truth, located, told) in name_balls(scanned, carried.labels, seed=seed)
        ]
        yield name, seconds, "", trials


def is_told_right(trial: Trial) -> bool:
    """Say whether the region in words holds the true one; the hemisphere holds its nuclei and ventricle too."""
    if trial.told.region is None or trial.truth.region is None:
        return trial.told.region == trial.truth.region
    told = trial.told.region.removesuffix(NEAR_MIDLINE).rstrip()
    if told == HEMISPHERE:
        return trial.truth.infratentorial is False and trial.truth.side is not Side.MIDLINE
    return told == COARSE.get(trial.truth.region, trial.truth.region)


def is_opposite(place: Place, truth: Place) -> bool:
    """Say whether left is called right, or right left."""
    return {place.side, truth.side} == {Side.LEFT, Side.RIGHT}


def summary(title: str, groups: Sequence[tuple[str, list[Trial]]]) -> Table:
    """Return a table with one row of percentages for each group of trials."""
    table = Table(
        "", "balls", "side", "opposite side", "infratentorial", "region",
        "told: region", "told: opposite side", "told: near the midline", "told: nothing",
        title=title,
    )  # fmt: skip
    for name, trials in groups:
        shares = np.mean(
            [
                (
                    one.located.side == one.truth.side,
                    is_opposite(one.located, one.truth),
                    one.located.infratentorial == one.truth.infratentorial,
                    one.located.region == one.truth.region,
                    is_told_right(one),
                    is_opposite(one.told, one.truth),
                    one.told.region is not None and one.told.region.endswith(NEAR_MIDLINE),
                    one.told.region is None,
                )
                for one in trials
            ],
            axis=0,
        )
        table.add_row(name, str(len(trials)), *(f"{100 * share:.1f} %" for share in shares))
    return table


def groups_of(trials: Sequence[Trial]) -> Iterator[tuple[str, list[tuple[str, list[Trial]]]]]:
    """Yield the tables: their titles, and what is in each row."""
    yield (
        "by diameter",
        [(f"{size:.0f} mm", [one for one in trials if one.diameter_mm == size]) for size in DIAMETERS_MM],
    )
    yield "by scan", [(name, [one for one in trials if one.scan == name]) for name in SCANS]
    heads = dict.fromkeys(one.head for one in trials)
    yield "by head", [(name, [one for one in trials if one.head == name]) for name in heads]
    bands = [
        (f"{low:.0f} to {high:.0f} mm", [one for one in trials if low <= one.midline_mm < high])
        for low, high in pairwise(MIDLINE_BANDS_MM)
    ]
    yield "by distance from the other half of the brain", [band for band in bands if band[1]]
    regions = sorted({_region(one) for one in trials})
    yield "by the region of the atlas", [(name, [one for one in trials if _region(one) == name]) for name in regions]


def _region(trial: Trial) -> str:
    found = trial.located.region or "not known"
    return COARSE.get(found, found)


def main(
    data: Annotated[Path, typer.Option(help="Folder with SynthSeg's label maps.")] = Path("../shared/data/label_maps"),
    maps: Annotated[int, typer.Option(help="How many heads.")] = 6,
    seed: Annotated[int, typer.Option(help="Fixes everything that is drawn.")] = 1,
    out: Annotated[Path | None, typer.Option(help="JSON file for every single ball.")] = None,
) -> None:
    """Measure how often the carried atlas names places right."""
    paths = sorted(path for path in data.glob("*.nii.gz") if not path.name.startswith(SHIPPED))
    if not paths:
        raise typer.BadParameter(f"there is no label map in {data}", param_hint="--data")
    console, trials = Console(width=160), []
    with torch_threads(1):
        for path in paths[:: max(1, len(paths) // maps)][:maps]:
            for scan_name, seconds, remark, found in measure(path, seed=seed):
                console.print(f"{path.name}, {scan_name}: {seconds:.1f} CPU s {remark}")
                trials += found
    for title, groups in groups_of(trials):
        console.print(summary(title, groups))
    if out is not None:
        out.write_text(json.dumps([asdict(one) for one in trials], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
