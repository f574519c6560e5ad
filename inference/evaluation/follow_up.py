"""What a prior study is worth: the same held-out follow-ups judged without it, with it alone, and with both.

Methods: ``registration`` (the prior's lesions taken for today's), ``detection`` (today's T1c alone),
``re-segmentation`` (detection and re-segmentation merged by the rules of `inference.follow_up`), ``memory`` (the same
detection, re-segmentation by a model that is shown the earlier image, too); the last two also ``alone``, not merged.
The prior's true lesions are given, and lie up to 3 mm and 3° aside, as after registration.
"""

import json
import logging
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final

import cc3d
import numpy as np
import torch
import typer
from highdicom import Volume
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import ndimage
from torch import Generator

from inference.evaluation.bootstrap import Bootstrap, Draws, Estimate
from inference.evaluation.cases import AFFINE
from inference.follow_up import can_resegment, merged_probability, resegment
from inference.models import load_model, verify_model
from inference.segmentation import lesion_probability, lesions_at_known_places, tissue_probabilities
from inference.synthesis.training_heads import TrainingHead
from inference.tissue_model import TissueModel
from inference.training.heads import HeadSource, validation_heads, validation_label_maps
from inference.weights import default_manifest_path
from tracking.timepoint import MRSequence, Timepoint

log = logging.getLogger(__name__)

MEMORY: Final = "memory"
# Each is compared with the one before it; each is meant to be better.
STEPS: Final = ("detection", "re-segmentation", MEMORY)
SMALLEST_MM3: Final = 1.0
SMALL_MM3: Final = (10, 100)
GAINS: Final = ("dice_known", "dice_under_10_mm3", "dice_under_100_mm3", "change_error_ln", "change_error_mm3")
RESAMPLES: Final = 2000


@dataclass(frozen=True, kw_only=True)
class LesionScore:
    """How well one method saw one lesion of the follow-up.

    Attributes
    ----------
    volume_mm3, earlier_mm3
        True volume now and before; 0 where it is not there.
    measured_mm3
        What the method marks within the lesion's place.
    dice
        Overlap within the lesion's place; None where there is no lesion now.
    """

    volume_mm3: float
    earlier_mm3: float
    measured_mm3: float
    dice: float | None

    @property
    def change_error_ln(self) -> float:
        """Absolute error of ln(volume now / volume before), volumes under 1 mm³ counting as 1 mm³."""
        true, measured = (max(v, SMALLEST_MM3) for v in (self.volume_mm3, self.measured_mm3))
        return float(abs(np.log(measured / true)))

    @property
    def change_error_mm3(self) -> float:
        """Absolute error of the change in volume: the earlier volume is the same on both sides."""
        return abs(self.measured_mm3 - self.volume_mm3)


@dataclass(frozen=True, kw_only=True)
class FollowUpScore:
    """Every lesion of one follow-up, by each method, and the regions marked where there is no lesion.

    Attributes
    ----------
    head
        Whose follow-up it is.
    lesions, false_positives
        By method.
    """

    head: str
    lesions: Mapping[str, Sequence[LesionScore]]
    false_positives: Mapping[str, int]


def places(before: NDArray[np.int16], now: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return which lesion every voxel is nearest to, among those there before or now, within 6 mm; 0 elsewhere."""
    both = np.where(now > 0, now, before)
    distance, nearest = ndimage.distance_transform_edt(both == 0, return_indices=True)
    owner: NDArray[np.int16] = both[tuple(nearest)]
    return np.where(distance <= 6, owner, 0).astype(np.int16)


def judge(marked: NDArray[np.bool_], before: NDArray[np.int16], now: NDArray[np.int16]) -> list[LesionScore]:
    """Compare what a method marked with the truth, lesion by lesion, each within its own place."""
    owner = places(before, now)
    size = int(owner.max()) + 1
    counts = [np.bincount(part.ravel(), minlength=size) for part in (now, before, owner * marked, now * marked)]
    scores = []
    for number in range(1, size):
        true, earlier, measured, common = (int(count[number]) for count in counts)
        if true or earlier:
            overlap = 2 * common / (true + measured) if true else None
            scores.append(LesionScore(volume_mm3=true, earlier_mm3=earlier, measured_mm3=measured, dice=overlap))
    return scores


def answers(
    visits: Sequence[TrainingHead], model: TissueModel, memory: TissueModel | None = None
) -> dict[str, NDArray[np.bool_]]:
    """Return what each method marks on the last visit, bool (i, j, k); "alone": before detection is merged in.

    Parameters
    ----------
    visits
        Of one patient, on one grid.
    model
        Detects, and segments again if it can.
    memory
        A model that remembers: it segments again with the earlier image in view, too. None: there is no such method.
    """
    before, now = visits[-2], visits[-1]
    brain, known = _volume(now.brain), _volume((before.lesions > 0) & now.brain)
    study = Timepoint(
        study_uid="", study_date=date.min, images={name: _volume(v) for name, v in now.images.items()}, brain=brain
    )
    detected = lesion_probability(tissue_probabilities(study, brain, model))
    nothing = known.with_array(np.zeros_like(known.array))
    alone = lesions_at_known_places(detected, brain, nothing, model.manifest)
    found = {"registration": known.array > 0, "detection": alone.array > 0}
    again = {"re-segmentation": model} | ({} if memory is None else {MEMORY: memory})
    for method, second in again.items():
        merged = detected
        if can_resegment(second.manifest):
            earlier = _volume(before.images[MRSequence.T1C]) if method == MEMORY else None
            seen = lesion_probability(resegment(study, brain, second, known=known, earlier=earlier))
            found[f"{method} alone"] = lesions_at_known_places(seen, brain, known, model.manifest).array > 0
            merged = merged_probability(detected, seen, known, threshold=second.manifest.threshold)
        found[method] = lesions_at_known_places(merged, brain, known, model.manifest).array > 0
    return found


def score(
    source: HeadSource, model: TissueModel, *, number: int, head: str, memory: TissueModel | None = None
) -> FollowUpScore:
    """Make one follow-up from a held-out head and judge every method on it; see `answers` for the models."""
    visits = source.make(Generator().manual_seed(9_000_000 + number), visits=2)
    before, now = (visit.lesions.numpy().astype(np.int16) for visit in visits)
    unknown = visits[-1].ignore.numpy()
    marked = {method: mask & ~unknown for method, mask in answers(visits, model, memory).items()}
    owner = places(before, now)
    return FollowUpScore(
        head=head,
        lesions={method: judge(mask, before, now) for method, mask in marked.items()},
        false_positives={method: _strangers(mask, owner) for method, mask in marked.items()},
    )


def _strangers(marked: NDArray[np.bool_], owner: NDArray[np.int16]) -> int:
    """Count the marked regions that lie at no lesion's place."""
    components = cc3d.connected_components(marked, connectivity=26)
    return len(np.unique(components)) - len(np.unique(components[owner > 0] if (owner > 0).any() else [0]))


def _volume(part: torch.Tensor) -> Volume:
    return Volume(part.numpy(), AFFINE, "PATIENT")


def summary(scores: Sequence[FollowUpScore]) -> dict[str, Any]:
    """Return the figures of every method, and each step's gain, with 95 % intervals, resampled over heads."""
    draws = Bootstrap.drawn((scan.head for scan in scores), resamples=RESAMPLES, seed=0)
    methods = list(scores[0].lesions)
    figures = {method: _figures(scores, method, draws) for method in methods}
    steps = [method for method in STEPS if method in methods]
    return {
        "follow_ups": len(scores),
        "lesions": sum(one.dice is not None for scan in scores for one in scan.lesions[methods[0]]),
        "methods": {method: _estimates(of) for method, of in figures.items()},
        "gains": {
            f"{later} - {earlier}": _estimates({name: figures[later][name] - figures[earlier][name] for name in GAINS})
            for earlier, later in pairwise(steps)
        },
    }


def _figures(scores: Sequence[FollowUpScore], method: str, draws: Bootstrap) -> dict[str, Draws]:
    lesions = [(scan.head, lesion) for scan in scores for lesion in scan.lesions[method]]
    now = [(head, one) for head, one in lesions if one.dice is not None]
    known = [(head, one) for head, one in now if one.earlier_mm3]
    gone = [(head, one) for head, one in lesions if not one.volume_mm3]
    values: dict[str, list[tuple[str, float | None]]] = {
        "dice_known": [(head, one.dice) for head, one in known],
        "dice_all": [(head, one.dice) for head, one in now],
        **{
            f"dice_under_{most}_mm3": [(head, one.dice) for head, one in now if one.volume_mm3 < most]
            for most in SMALL_MM3
        },
        "change_error_ln": [(head, one.change_error_ln) for head, one in known],
        "change_error_mm3": [(head, one.change_error_mm3) for head, one in known],
        "gone_and_seen_gone": [(head, float(one.measured_mm3 < SMALLEST_MM3)) for head, one in gone],
        "false_positives_per_scan": [(scan.head, float(scan.false_positives[method])) for scan in scores],
    }
    return {
        name: draws.mean([head for head, _ in pairs], np.array([value for _, value in pairs], float))
        for name, pairs in values.items()
    }


def _estimates(figures: Mapping[str, Draws]) -> dict[str, Any]:
    return {name: asdict(drawn.estimate()) for name, drawn in figures.items()}


def table(figures: Mapping[str, Any], part: str) -> Table:
    """Return a part of the figures, ``methods`` or ``gains``, as a table for the terminal."""
    columns = figures[part]
    result = Table("", *columns, title=f"{figures['follow_ups']} follow-ups, {figures['lesions']} lesions: {part}")
    for row in next(iter(columns.values()), {}):
        result.add_row(row, *(cell(Estimate(**column[row])) for column in columns.values()))
    return result


def cell(estimate: Estimate) -> str:
    """Return a figure with its interval, as far as there is one."""
    if estimate.value is None:
        return "-"
    interval = "" if estimate.low is None else f" ({estimate.low:.3f}-{estimate.high:.3f})"
    return f"{estimate.value:.3f}{interval}"


def _score_one(source: HeadSource, path: Path, memory_path: Path | None, number: int, head: str) -> FollowUpScore:
    memory = None if memory_path is None else load_model(memory_path, threads=1)
    return score(source, load_model(path, threads=1), number=number, head=head, memory=memory)


def main(
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    data: Annotated[Path, typer.Option(help="Folder with heads/ and label_maps/.")] = Path("../shared/data"),
    manifest: Annotated[Path | None, typer.Option(help="Model to judge; the package's own by default.")] = None,
    memory: Annotated[Path | None, typer.Option(help="Model that remembers, to be judged beside it.")] = None,
    draws: Annotated[int, typer.Option(help="Follow-ups per held-out head.", min=1)] = 1,
    workers: Annotated[int, typer.Option(help="Follow-ups at a time, one thread each.")] = 2,
) -> None:
    """Judge what the prior study adds, on follow-ups of held-out heads."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    path = manifest or default_manifest_path()
    model = verify_model(path)
    if memory is not None and not verify_model(memory).remembers:
        raise typer.BadParameter(f"{memory} names a model without memory: leave it out", param_hint="--memory")
    heads: list[HeadSource] = [*validation_heads(data), *validation_label_maps(data)]
    sources = heads * draws
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        futures = [
            pool.submit(_score_one, source, path, memory, number, str(number % len(heads)))
            for number, source in enumerate(sources)
        ]
        scores = []
        for number, future in enumerate(futures):
            scores.append(future.result())
            log.info("follow-up %d of %d", number + 1, len(sources))
    figures = {"model": model.name, "version": model.version, "sha256": model.sha256, **summary(scores)}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    for part in ("methods", "gains"):
        Console().print(table(figures, part))


if __name__ == "__main__":
    typer.run(main)
