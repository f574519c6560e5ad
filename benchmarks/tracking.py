"""How well lesions are tracked, beside every baseline: ``python -m benchmarks.tracking [--scenes N] [--json FILE]``.

Scenes are drawn under several assumptions (`benchmarks.scenes.assumptions`), each at registration errors of 0 to 5 mm;
the truth is known, as the scenes are made of lesions alone. The tables give, for each error: precision, recall and F1
of the edges (pairs of lesions of successive studies that are one), precision and recall of every event, identity
switches per lesion, the relative error of the prior volume that a lesion is compared with, and the seconds per scene.
Then the same of the product by assumptions, by number and by size of lesions; last, time and memory of matching 200
lesions with 200 on 256×256×192 voxels.
"""

import argparse
import json
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

if __name__ == "__main__":  # run as a file, this module would hide the package of the same name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from rich.console import Console
from rich.table import Table

from benchmarks.scenes.assumptions import WORLDS
from benchmarks.scenes.crowd import Pace, time_matching
from benchmarks.scenes.methods import by_baseline, ours
from benchmarks.scenes.scene import draw_scene
from benchmarks.scenes.score import EVENTS, SIZES_MM3, Score, judge, size_kind
from tracking.matching.baselines import BASELINES
from tracking.measurement import measure_lesions
from tracking.timepoint import labels_of

ERRORS_MM = (0.0, 1.0, 2.0, 3.0, 5.0)
COUNTS = (2, 5, 12, 30)  # lesions at first
OURS = "ours"


@dataclass(frozen=True, kw_only=True)
class Task:
    """One scene to be drawn."""

    seed: int
    world: str
    error_mm: float
    lesions: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What every method made of a scene."""

    task: Task
    scores: Mapping[str, Score]
    seconds: Mapping[str, float]


Key = tuple[str, float]  # what is looked at, and the error of registration


def main() -> None:
    """Draw the scenes, run all methods and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=28, help="scenes at each registration error (default 28)")
    parser.add_argument("--seed", type=int, default=1000, help="seed of the first scene (default 1000)")
    parser.add_argument("--worlds", nargs="*", choices=sorted(WORLDS), default=sorted(WORLDS))
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    tasks = list(_tasks(options.scenes, options.seed, options.worlds))
    with ProcessPoolExecutor(options.workers) as pool:
        outcomes = list(pool.map(run, tasks))
    methods, worlds, counts = _sums(outcomes)
    console = Console(width=180)
    for error_mm in ERRORS_MM:
        console.print(_table(f"registration error {error_mm:g} mm, {options.scenes} scenes", methods, error_mm))
    for title, scores in (("ours by assumptions", worlds), ("ours by number of lesions", counts)):
        console.print(_grid(title, scores))
    console.print(_size_table(methods))
    pace = time_matching()
    console.print(_pace_line(pace))
    if options.json:
        options.json.write_text(json.dumps(_figures(methods, worlds, pace), indent=1))


def run(task: Task) -> Outcome:
    """Draw a scene and let every method track it."""
    scene = draw_scene(task.seed, WORLDS[task.world], error_mm=task.error_mm, lesions=task.lesions)
    volumes_mm3 = tuple(
        {lesion.number: lesion.total_volume_mm3 for lesion in measure_lesions(labels_of(study))}
        for study in scene.studies
    )
    scores, seconds = {}, {}
    for name in (OURS, *BASELINES):
        began = time.perf_counter()
        tracked = ours(scene) if name == OURS else by_baseline(scene, BASELINES[name])
        seconds[name] = time.perf_counter() - began
        scores[name] = judge(scene, tracked, volumes_mm3)
    return Outcome(task=task, scores=scores, seconds=seconds)


def _tasks(scenes: int, seed: int, worlds: Sequence[str]) -> Iterator[Task]:
    """Each patient is drawn once for each error, so that errors and not patients are compared."""
    for number in range(scenes):
        for error_mm in ERRORS_MM:
            yield Task(
                seed=seed + number,
                world=worlds[number % len(worlds)],
                error_mm=error_mm,
                lesions=COUNTS[number // len(worlds) % len(COUNTS)],
            )


def _sums(outcomes: Sequence[Outcome]) -> tuple[dict[Key, Score], dict[Key, Score], dict[Key, Score]]:
    """Add up by method, and for the product by assumptions and by number of lesions."""
    methods: dict[Key, Score] = defaultdict(Score)
    worlds: dict[Key, Score] = defaultdict(Score)
    counts: dict[Key, Score] = defaultdict(Score)
    for outcome in outcomes:
        error_mm = outcome.task.error_mm
        for name, score in outcome.scores.items():
            score.seconds.append(outcome.seconds[name])
            methods[name, error_mm].add(score)
        worlds[outcome.task.world, error_mm].add(outcome.scores[OURS])
        counts[f"{outcome.task.lesions} lesions at first", error_mm].add(outcome.scores[OURS])
    return methods, worlds, counts


def _table(title: str, methods: Mapping[Key, Score], error_mm: float) -> Table:
    table = Table(title=title)
    heads = ("method", "edge P", "R", "F1", *(f"{event} P/R" for event in EVENTS))
    for head in (*heads, "switches", "volume err", "s/scene"):
        table.add_column(head, justify="left" if head == "method" else "right")
    for (name, error), score in methods.items():
        if error == error_mm:
            edge = (score.precision("edge"), score.recall("edge"), score.f1("edge"))
            table.add_row(
                name,
                *(f"{value:.3f}" for value in edge),
                *(f"{score.precision(event):.2f}/{score.recall(event):.2f}" for event in EVENTS),
                f"{score.switches_per_lesion:.3f}",
                f"{score.group_volume_error:.3f}",
                f"{score.mean_seconds:.2f}",
            )
    return table


def _grid(title: str, scores: Mapping[Key, Score]) -> Table:
    table = Table("edge F1 at", *(f"{error_mm:g} mm" for error_mm in ERRORS_MM), title=title)
    for name in dict.fromkeys(name for name, _ in scores):
        table.add_row(name, *(f"{scores[name, error_mm].f1('edge'):.3f}" for error_mm in ERRORS_MM))
    return table


def _size_table(methods: Mapping[Key, Score]) -> Table:
    table = Table("edge F1 at", *(f"{error_mm:g} mm" for error_mm in ERRORS_MM), title="ours by size")
    for low, high in pairwise(SIZES_MM3):
        kind = size_kind(low, high)
        table.add_row(kind, *(f"{methods[OURS, error_mm].f1(kind):.3f}" for error_mm in ERRORS_MM))
    return table


def _pace_line(pace: Pace) -> str:
    return (
        f"matching {pace.lesions} × {pace.lesions} on {'×'.join(map(str, pace.shape))}: {pace.matching_s:.2f} s,"
        f" one pass over the volume {pace.pass_s:.2f} s, peak memory of the process {_peak_mib():.0f} MiB"
    )


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _figures(methods: Mapping[Key, Score], worlds: Mapping[Key, Score], pace: Pace) -> dict[str, object]:
    return {
        "methods": [_entry(key, score) for key, score in methods.items()],
        "worlds": [_entry(key, score) for key, score in worlds.items()],
        "matching_s": pace.matching_s,
        "pass_s": pace.pass_s,
        "peak_mib": _peak_mib(),
    }


def _entry(key: Key, score: Score) -> dict[str, object]:
    events = {
        event: {"precision": score.precision(event), "recall": score.recall(event)} for event in ("edge", *EVENTS)
    }
    return {
        "name": key[0],
        "error_mm": key[1],
        "edge_f1": score.f1("edge"),
        **events,
        "switches_per_lesion": score.switches_per_lesion,
        "group_volume_error": score.group_volume_error,
        "seconds": score.mean_seconds,
    }


if __name__ == "__main__":
    main()
