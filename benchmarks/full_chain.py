"""The whole chain on real heads: deformed, registered, every lesion tracked through three studies, beside baselines.

Each head is the first study. The second and the third are the same head on other, oblique grids of 4 mm slices, with
other noise and another bias field, turned and shifted, and bent in two ways: gently over the whole brain (up to
1.5 mm), and around one mass that grows from 4 to 11 mm of radius and is then taken out, which leaves a cavity of 7 mm
that nobody has marked (its tissue is pushed and sinks back without any change of volume). About ten further lesions of
real forms live in the tissue (`benchmarks.scenes.story`): they grow, shrink, vanish, return, appear, merge and split,
and each study shows them where its tissue is. The label volumes are the lesions as they are; ``--missed`` and
``--spurious`` spoil them as a detector would.

Neighbouring studies are registered by the product, and the histories tracked by the product and by every baseline on
the same registrations. The first table gives the error of registration at the prior lesions; how far apart the centres
of one lesion are then, which voxels and growth add to, for 68 % of those that neither merged nor split; and the σ that
registration stated for that. The second gives precision, recall and F1 of the edges (pairs of lesions of successive
studies that are one), precision and recall of every event, identity switches per lesion, the relative error of the
prior volume that a lesion is compared with, processor seconds a patient, and the peak memory of the process with what
the work has added to it.

The images of all studies of a patient come from one scan, so registration has it easier than on real follow-ups.

    python -m benchmarks.full_chain [--heads 4] [--engine greedy] [--missed 0.1] [--spurious 1.0]
"""

import ctypes
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.scenes.heads import MASS_RADII_MM, Detector, Patient, make_patient
from benchmarks.scenes.methods import followed_by, followed_by_us
from benchmarks.scenes.score import EVENTS, Score, Tracked, judge, true_edges
from tracking.lesion import Point
from tracking.matching.baselines import BASELINES
from tracking.measurement import measure_lesions
from tracking.registration import Registration, register
from tracking.timepoint import Timepoint, labels_of

T = TypeVar("T")

OURS = "ours"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Processor seconds, peak memory of the process in MiB, and how much of it the work has added."""

    seconds: float
    peak_mib: float
    added_mib: float

    def __str__(self) -> str:
        return f"{self.peak_mib:.0f} (+{self.added_mib:.0f})"


@dataclass(frozen=True, kw_only=True)
class Carried:
    """How prior lesions were carried over by one registration, and what it cost.

    Attributes
    ----------
    errors_mm, sigmas_mm
        For every prior lesion how far off its centre is, and the σ stated there.
    apart_mm
        For every lesion that neither merged nor split the distance of its centre, carried over, from that of today.
    """

    head: str
    interval: str
    kind: str
    errors_mm: tuple[float, ...]
    sigmas_mm: tuple[float, ...]
    apart_mm: tuple[float, ...]
    cost: Cost


def register_all(patient: Patient, head: str, engine: str) -> tuple[list[Registration], list[Carried]]:
    """Register each study with the one before, and see where that carries the lesions."""
    registrations, carried = [], []
    for place, (prior, current) in enumerate(pairwise(patient.scene.studies), start=1):
        found, cost = _costed(partial(register, current, prior, engine=engine, threads=1))
        before_mm, now_mm = _centres_of(prior), _centres_of(current)
        places_mm = np.array(list(before_mm.values()))
        true_mm = patient.motions[place].from_head(patient.motions[place - 1].to_head(places_mm))
        found_mm = found.transform.to_fixed(places_mm)
        carried_mm = dict(zip(before_mm, found_mm, strict=True))
        was, is_now = patient.scene.atoms[place - 1 : place + 1]
        same = [(p, c) for p, c in sorted(true_edges(was, is_now)) if was[p] == is_now[c]]
        registrations.append(found)
        carried.append(
            Carried(
                head=head,
                interval=f"{place} to {place + 1}",
                kind=str(found.kind),
                errors_mm=tuple(np.linalg.norm(found_mm - true_mm, axis=1).tolist()),
                sigmas_mm=tuple(found.sigma_at(found_mm).tolist()),
                apart_mm=tuple(float(np.linalg.norm(carried_mm[p] - now_mm[c])) for p, c in same),
                cost=cost,
            )
        )
    return registrations, carried


def _centres_of(study: Timepoint) -> dict[int, Point]:
    return {lesion.number: lesion.centroid_mm for lesion in measure_lesions(labels_of(study))}


def _costed(work: Callable[[], T]) -> tuple[T, Cost]:
    """Return what some work gives, and its cost as Linux and its C library count it."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # or the work would be given memory that was freed before, and add none
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is counted anew
    before_mib, began = _memory_mib("VmRSS"), time.process_time()
    made = work()
    seconds, peak_mib = time.process_time() - began, _memory_mib("VmHWM")
    return made, Cost(seconds=seconds, peak_mib=peak_mib, added_mib=peak_mib - before_mib)


def _memory_mib(kind: str) -> float:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    return int(status[kind].split()[0]) / 1024


def judge_all(
    patient: Patient, registrations: Sequence[Registration], scores: dict[str, Score], costs: dict[str, list[Cost]]
) -> None:
    """Let every method track a patient, and add what it scored and what it cost."""
    volumes_mm3 = tuple(
        {lesion.number: lesion.total_volume_mm3 for lesion in measure_lesions(labels_of(study))}
        for study in patient.scene.studies
    )
    studies, to_prior = patient.scene.studies, [found.transform for found in registrations]
    methods: dict[str, Callable[[], Tracked]] = {OURS: partial(followed_by_us, studies, registrations)}
    methods |= {name: partial(followed_by, baseline, studies, to_prior) for name, baseline in BASELINES.items()}
    for name, method in methods.items():
        tracked, cost = _costed(method)
        scores.setdefault(name, Score()).add(judge(patient.scene, tracked, volumes_mm3))
        costs.setdefault(name, []).append(cost)


def carried_table(results: Sequence[Carried]) -> Table:
    """Lay out how registration carried the lesions, a row for each pair of studies."""
    table = Table(title="registration at the prior lesions")
    left = ("head", "studies", "step")
    for name in (*left, "lesions", "error, mean / p95 mm", "centres apart, p68 mm", "σ, mean mm", "CPU s", "MiB"):
        table.add_column(name, justify="left" if name in left else "right")
    for one in results:
        errors = np.array(one.errors_mm)
        table.add_row(
            one.head, one.interval, one.kind, str(len(errors)),
            f"{errors.mean():.2f} / {np.percentile(errors, 95):.2f}", f"{np.percentile(one.apart_mm, 68):.2f}",
            f"{np.mean(one.sigmas_mm):.2f}", f"{one.cost.seconds:.0f}", str(one.cost),
        )  # fmt: skip
    return table


def score_table(title: str, scores: Mapping[str, Score], costs: Mapping[str, Sequence[Cost]]) -> Table:
    """Lay out the scores, a row for each method."""
    truth = (f"{scores[OURS].right[kind] + scores[OURS].missed[kind]} {kind}" for kind in ("edge", *EVENTS))
    table = Table(title=title, caption=f"in truth: {', '.join(truth)}")
    events = (f"{event} P/R" for event in EVENTS)
    for name in ("method", "edge P", "R", "F1", *events, "switches", "volume err", "CPU s", "MiB"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for name, score in scores.items():
        table.add_row(
            name,
            *(f"{value:.3f}" for value in (score.precision("edge"), score.recall("edge"), score.f1("edge"))),
            *(f"{score.precision(event):.2f}/{score.recall(event):.2f}" for event in EVENTS),
            f"{score.switches_per_lesion:.3f}",
            f"{score.group_volume_error:.3f}",
            f"{np.mean([cost.seconds for cost in costs[name]]):.2f}",
            str(max(costs[name], key=lambda cost: cost.peak_mib)),
        )
    return table


def main(
    data: Annotated[Path, typer.Option(help="Folder with <head>_t1c.nii.gz and <head>_brain.nii.gz.")] = Path(
        "../shared/data/heads"
    ),
    heads: Annotated[int, typer.Option(help="How many heads.")] = 4,
    engine: Annotated[str, typer.Option(help="greedy or ants.")] = "greedy",
    missed: Annotated[float, typer.Option(help="Chance of a lesion to be missed in a study.")] = 0.0,
    spurious: Annotated[float, typer.Option(help="False detections per study.")] = 0.0,
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures of every registration.")] = None,
) -> None:
    """Track lesions through deformed real heads, from images to events."""
    stems = sorted(path.with_name(path.name.removesuffix("_t1c.nii.gz")) for path in data.glob("*_t1c.nii.gz"))
    if not stems:
        raise typer.BadParameter(f"there is no *_t1c.nii.gz in {data}", param_hint="--data")
    console, detector = Console(), Detector(missed=missed, spurious=spurious)
    scores: dict[str, Score] = {}
    costs: dict[str, list[Cost]] = {}
    carried: list[Carried] = []
    chosen = stems[:: max(1, len(stems) // heads)][:heads]
    for seed, stem in enumerate(chosen):
        patient = make_patient(stem, seed=seed, detector=detector)
        registrations, results = register_all(patient, stem.name, engine)
        judge_all(patient, registrations, scores, costs)
        carried += results
        console.print(f"{stem.name}: {', '.join(str(len(atoms)) for atoms in patient.scene.atoms)} lesions")
    console.print(carried_table(carried))
    console.print(score_table(f"{len(chosen)} patients of {len(MASS_RADII_MM)} studies", scores, costs))
    if out is not None:
        out.write_text(json.dumps([asdict(one) for one in carried], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
