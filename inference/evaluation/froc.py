"""How well the detector works on held-out heads, and which operating point that suggests; one command, fixed seeds."""

import json
import logging
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from inference.brain import find_brain
from inference.confidence import Confidence, traits_of
from inference.evaluation.calibration import fit_confidence, reliability
from inference.evaluation.cases import Case, CaseRecipe, held_out_cases, on_grid_of_truth, scanned
from inference.evaluation.metrics import (
    SIZE_LIMITS_MM,
    Candidate,
    FrocPoint,
    ScanResult,
    froc_point,
    scan_result,
    sphere_diameter_mm,
    volume_ratios,
)
from inference.models import load_model, verify_model
from inference.postprocessing import candidates
from inference.segmentation import lesion_probability, tissue_probabilities
from inference.tissue_model import ModelDescription, TissueModel
from inference.weights import default_manifest_path

log = logging.getLogger(__name__)

THRESHOLDS = (0.3, 0.4, 0.5, 0.6)
LIMITS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
WANTED_FALSE_POSITIVES = 1.0


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An operating point and why it was chosen.

    Attributes
    ----------
    threshold
        The one with the best mean Dice.
    least_confidence
        The lowest with at most `WANTED_FALSE_POSITIVES` false positives per scan (or the highest there is).
    confidence
        Fitted to the regions at this threshold; None: their highest probability.
    """

    threshold: float
    least_confidence: float
    confidence: Confidence | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """One case with its regions at every probability threshold, and the seconds that the network took.

    Attributes
    ----------
    kind, number, draw
        Of the case.
    results
        By threshold; every region is scored by its highest probability.
    traits
        By threshold, of every region: as `inference.confidence.traits_of` returns them.
    seconds
        That the network took.
    """

    kind: str
    number: int
    draw: int
    results: dict[float, ScanResult]
    traits: dict[float, NDArray[np.float64]]
    seconds: float

    def judged(self, threshold: float, confidence: Confidence | None) -> ScanResult:
        """Return the regions at a threshold, scored by how sure the model is of them."""
        result = self.results[threshold]
        if confidence is None:
            return result
        sure = confidence.of(self.traits[threshold])
        return replace(result, candidates=tuple(replace(c, score=float(sure[c.number])) for c in result.candidates))


def score(case: Case, model: TissueModel) -> Scored:
    """Run the detector on a case exactly as on a patient, and compare it with the truth at every threshold."""
    started = time.perf_counter()
    probability = lesion_probability(tissue_probabilities(case.timepoint, case.brain, model))
    seconds = time.perf_counter() - started
    brain, spacing_mm = case.brain.array, case.brain.spacing
    highest, results, traits = on_grid_of_truth(probability, case), {}, {}
    for threshold in (*THRESHOLDS, model.manifest.threshold):
        found = candidates(probability.array, brain, threshold=threshold, spacing_mm=spacing_mm)
        traits[threshold] = traits_of(found, probability.array, spacing_mm=spacing_mm)
        # The truth lies on voxels of 1 mm, on which each voxel of a scan is met at least once.
        there = on_grid_of_truth(probability.with_array(found.astype(np.int32)), case)
        results[threshold] = scan_result(highest, there, case.lesions, case.ignore, voxel_mm3=1.0)
    return Scored(kind=case.kind, number=case.number, draw=case.draw, results=results, traits=traits, seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class Look:
    """How cases are looked at.

    Attributes
    ----------
    manifest
        By which model.
    slices_mm
        Thickness of the slices of a scan; None: on the model's own grid of 1 mm.
    node_cache
        Find the brain and compute as the node does, and keep here what it keeps; None: the brain is given, and torch
        computes in float32.
    """

    manifest: Path
    slices_mm: int | None = None
    node_cache: Path | None = None

    def score(self, recipe: CaseRecipe) -> Scored:
        """Make a case and score it."""
        model = load_model(self.manifest, threads=1, cache_folder=self.node_cache)
        case = recipe.make()
        if self.slices_mm:
            case = scanned(case, self.slices_mm)
        if self.node_cache:
            case = replace(case, brain=find_brain(case.image, threads=1))
        return score(case, model)


def score_all(recipes: Sequence[CaseRecipe], look: Look, *, workers: int) -> list[Scored]:
    """Score every case, ``workers`` at a time on one thread each."""
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepare_worker) as pool:
        futures = [pool.submit(look.score, recipe) for recipe in recipes]
        scored = []
        for recipe, future in zip(recipes, futures, strict=True):
            scored.append(future.result())
            lesions = len(scored[-1].results[THRESHOLDS[0]].lesions_mm3)
            log.info("%s draw %d: %d lesions, %.0f s", recipe.name, recipe.draw, lesions, scored[-1].seconds)
    return scored


def _prepare_worker() -> None:
    torch.set_num_threads(1)


def mean_dice(results: Sequence[ScanResult]) -> float:
    """Return the mean Dice of the scans that have lesions."""
    return float(np.mean([result.dice for result in results if result.lesions_mm3 and result.dice is not None]))


def choose(scored: Sequence[Scored], *, minimum_volume_mm3: float) -> Choice:
    """Choose threshold, confidence and how much of it is needed on these cases."""
    threshold = max(THRESHOLDS, key=lambda value: mean_dice([case.results[value] for case in scored]))
    regions = [
        (case.traits[threshold][candidate.number], bool(candidate.found))
        for case in scored
        for candidate in counted(case.results[threshold], minimum_volume_mm3)
    ]
    true = np.array([lesion for _, lesion in regions], bool)
    confidence = None  # where nothing is to be told apart
    if true.any() and not true.all():
        confidence = fit_confidence(np.array([row for row, _ in regions]), true)
    results = [case.judged(threshold, confidence) for case in scored]
    points = [froc_point(results, least_score=limit, minimum_volume_mm3=minimum_volume_mm3) for limit in LIMITS]
    quiet = [point.least_score for point in points if point.false_positives_per_scan <= WANTED_FALSE_POSITIVES]
    return Choice(threshold=threshold, least_confidence=min(quiet, default=LIMITS[-1]), confidence=confidence)


def chooses(draw: int) -> bool:
    """Tell whether a draw of lesions is for choosing an operating point; the others report it."""
    return draw % 2 == 0


def counted(result: ScanResult, minimum_volume_mm3: float) -> list[Candidate]:
    """Return the candidates that count for or against a model."""
    return [c for c in result.candidates if not c.unknown and c.volume_mm3 >= minimum_volume_mm3]


def cross_checked(scored: Sequence[Scored], *, minimum_volume_mm3: float) -> list[dict[str, Any]]:
    """Judge each half of the real heads at the operating point that the other half would have chosen.

    The point that ships is chosen on all heads with other lesions in them; this tells what that choice is worth on a
    head that had no say in it.
    """
    halves = [[case for case in scored if case.kind == "real head" and case.number % 2 == side] for side in (0, 1)]
    figures = []
    for judged, others in (halves, halves[::-1]):
        choice = choose([case for case in others if chooses(case.draw)], minimum_volume_mm3=minimum_volume_mm3)
        results = [case.judged(choice.threshold, choice.confidence) for case in judged if not chooses(case.draw)]
        point = froc_point(results, least_score=choice.least_confidence, minimum_volume_mm3=minimum_volume_mm3)
        figures.append({"scans": len(results), "threshold": choice.threshold} | asdict(point))
    return figures


def report(scored: Sequence[Scored], choice: Choice, *, minimum_volume_mm3: float) -> dict[str, Any]:
    """Return every figure of the model card for one group of cases."""
    results = [case.judged(choice.threshold, choice.confidence) for case in scored]
    ratios = volume_ratios(results, least_score=choice.least_confidence)
    diameters = [sphere_diameter_mm(v) for result in results for v in result.lesions_mm3.values()]
    sizes = {name: sum(low <= d < high for d in diameters) for name, (low, high) in SIZE_LIMITS_MM.items()}
    regions = [candidate for result in results for candidate in counted(result, minimum_volume_mm3)]
    limits = sorted({*LIMITS, choice.least_confidence})
    return {
        "scans": len(results),
        "scans_without_lesions": sum(not result.lesions_mm3 for result in results),
        "lesions": {"all": len(diameters), **sizes},
        "chosen": asdict(
            froc_point(results, least_score=choice.least_confidence, minimum_volume_mm3=minimum_volume_mm3)
        ),
        "mean_dice": mean_dice(results),
        "volume_ratio_quartiles": np.percentile(ratios, [25, 50, 75]).tolist() if ratios else None,
        "curve": [asdict(froc_point(results, least_score=p, minimum_volume_mm3=minimum_volume_mm3)) for p in limits],
        "reliability": reliability([c.score for c in regions], [bool(c.found) for c in regions]),
    }


def table(title: str, figures: dict[str, Any], choice: Choice) -> Table:
    """Return a free-response curve as a table for the terminal; the chosen point is marked."""
    result = Table("confidence ≥", "all", *SIZE_LIMITS_MM, "false positives per scan", title=title)
    for raw in figures["curve"]:
        point = FrocPoint(**raw)
        shares = ["-" if share is None else f"{share:.2f}" for share in point.sensitivity.values()]
        mark = " *" if point.least_score == choice.least_confidence else ""
        result.add_row(f"{point.least_score:g}{mark}", *shares, f"{point.false_positives_per_scan:.2f}")
    return result


def judge(scored: Sequence[Scored], manifest: ModelDescription, choice: Choice) -> dict[str, Any]:
    """Return what is written to the JSON file: the model, its operating point, and the figures per kind of head."""
    kinds = sorted({case.kind for case in scored}, reverse=True)
    smallest = manifest.minimum_volume_mm3
    return {
        "model": manifest.name,
        "version": manifest.version,
        "sha256": manifest.sha256,
        "choice": asdict(choice),
        "groups": {
            kind: report([case for case in scored if case.kind == kind], choice, minimum_volume_mm3=smallest)
            for kind in kinds
        },
    }


def show(content: dict[str, Any], choice: Choice) -> None:
    """Print the tables."""
    console = Console()
    for kind, figures in content["groups"].items():
        scans = f"{figures['scans']} scans, {figures['scans_without_lesions']} without lesions"
        console.print(table(f"sensitivity, {kind}s ({scans}; {figures['lesions']})", figures, choice))
        console.print(f"mean Dice {figures['mean_dice']:.3f}, volume ratio {figures['volume_ratio_quartiles']}")
        for row in figures["reliability"]:
            console.print(
                f"confidence {row['from']:g}-{row['to']:g}: {row['true']:.2f} of {row['regions']} are lesions"
            )
    for figures in content.get("cross_checked", []):
        console.print(f"at the point that the other half of the heads chose: {figures}", soft_wrap=True)


def main(  # noqa: PLR0913 - one for each option of the command line
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    data: Annotated[Path, typer.Option(help="Folder with heads/ and label_maps/.")] = Path("../shared/data"),
    manifest: Annotated[Path | None, typer.Option(help="Model to judge; the package's own by default.")] = None,
    draws: Annotated[int, typer.Option(help="Draws of lesions per held-out head, at least 2.", min=2)] = 3,
    workers: Annotated[int, typer.Option(help="Cases at a time, one thread each.")] = 2,
    *,
    slices_mm: Annotated[
        int | None,
        typer.Option(help="Show the heads in slices of so many mm; without it on the model's own grid.", min=1),
    ] = None,
    as_the_node: Annotated[
        Path | None,
        typer.Option(help="Find the brain and compute as the node does, and keep in this folder what it keeps."),
    ] = None,
    choose_point: Annotated[
        bool, typer.Option("--choose", help="Choose the operating point on the even draws.")
    ] = False,
) -> None:
    """Judge the detector on held-out heads: even draws choose its operating point, odd ones report it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    manifest = manifest or default_manifest_path()
    point = verify_model(manifest)
    recipes = held_out_cases(data, draws=[draw for draw in range(draws) if choose_point or not chooses(draw)])
    look = Look(manifest=manifest, slices_mm=slices_mm, node_cache=as_the_node)
    scored = score_all(recipes, look, workers=workers)
    choice = Choice(threshold=point.threshold, least_confidence=point.least_confidence, confidence=point.confidence)
    if choose_point:
        choosing = [case for case in scored if case.kind == "real head" and chooses(case.draw)]
        choice = choose(choosing, minimum_volume_mm3=point.minimum_volume_mm3)
    content = judge([case for case in scored if not chooses(case.draw)], point, choice)
    content["look"] = {"slices_mm": slices_mm, "as_the_node": as_the_node is not None}
    if choose_point:
        content["cross_checked"] = cross_checked(scored, minimum_volume_mm3=point.minimum_volume_mm3)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    show(content, choice)


if __name__ == "__main__":
    typer.run(main)
