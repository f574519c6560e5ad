"""What a prior study is worth: the same held-out follow-ups judged without it, with it alone, and with both.

Methods: ``registration`` (the prior's lesions taken for today's), ``detection`` (today's T1c alone),
``re-segmentation`` (detection and re-segmentation merged by the rules of `inference.follow_up`). The prior's true
lesions are given, and lie up to 3 mm and 3° aside, as after registration.
"""

import json
import logging
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
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

from inference.evaluation.cases import AFFINE
from inference.follow_up import can_resegment, merged_probability, resegment
from inference.models import load_model, verify_model
from inference.segmentation import lesion_probability, lesions_at_known_places, tissue_probabilities
from inference.synthesis.training_heads import TrainingHead
from inference.tissue_model import TissueModel
from inference.training.heads import HeadSource, validation_heads, validation_label_maps
from inference.weights import default_manifest_path
from tracking.timepoint import Timepoint

log = logging.getLogger(__name__)

METHODS: Final = ("registration", "detection", "re-segmentation")
SMALLEST_MM3: Final = 1.0
RESAMPLES: Final = 2000


@dataclass(frozen=True, kw_only=True)
class LesionScore:
    """How well one method saw one lesion of the follow-up.

    Attributes
    ----------
    scan
        Number of the follow-up.
    volume_mm3, earlier_mm3
        True volume now and before; 0 where it is not there.
    measured_mm3
        What the method marks within the lesion's place.
    dice
        Overlap within the lesion's place; None where there is no lesion now.
    """

    scan: int
    volume_mm3: float
    earlier_mm3: float
    measured_mm3: float
    dice: float | None

    @property
    def change_error(self) -> float:
        """Absolute error of ln(volume now / volume before), volumes under 1 mm³ counting as 1 mm³."""
        true, measured = (max(v, SMALLEST_MM3) for v in (self.volume_mm3, self.measured_mm3))
        return float(abs(np.log(measured / true)))


@dataclass(frozen=True, kw_only=True)
class FollowUpScore:
    """Every lesion of one follow-up, by each method, and the regions marked where there is no lesion.

    Attributes
    ----------
    lesions
        By method.
    false_positives
        By method.
    """

    lesions: Mapping[str, Sequence[LesionScore]]
    false_positives: Mapping[str, int]


def places(before: NDArray[np.int16], now: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return which lesion every voxel is nearest to, among those there before or now, within 6 mm; 0 elsewhere."""
    both = np.where(now > 0, now, before)
    distance, nearest = ndimage.distance_transform_edt(both == 0, return_indices=True)
    owner: NDArray[np.int16] = both[tuple(nearest)]
    return np.where(distance <= 6, owner, 0).astype(np.int16)


def judge(marked: NDArray[np.bool_], before: NDArray[np.int16], now: NDArray[np.int16], scan: int) -> list[LesionScore]:
    """Compare what a method marked with the truth, lesion by lesion, each within its own place."""
    owner = places(before, now)
    size = int(owner.max()) + 1
    counts = [np.bincount(part.ravel(), minlength=size) for part in (now, before, owner * marked, now * marked)]
    scores = []
    for number in range(1, size):
        true, earlier, measured, common = (int(count[number]) for count in counts)
        if true or earlier:
            overlap = 2 * common / (true + measured) if true else None
            scores.append(
                LesionScore(scan=scan, volume_mm3=true, earlier_mm3=earlier, measured_mm3=measured, dice=overlap)
            )
    return scores


def answers(visits: Sequence[TrainingHead], model: TissueModel) -> dict[str, NDArray[np.bool_]]:
    """Return what each method marks on the last visit, bool (i, j, k)."""
    before, now = visits[-2], visits[-1]
    brain, known = _volume(now.brain), _volume((before.lesions > 0) & now.brain)
    study = Timepoint(
        study_uid="", study_date=date.min, images={name: _volume(v) for name, v in now.images.items()}, brain=brain
    )
    detected = lesion_probability(tissue_probabilities(study, brain, model))
    nothing = known.with_array(np.zeros_like(known.array))
    alone = lesions_at_known_places(detected, brain, nothing, model.manifest)
    found = {"registration": known.array > 0, "detection": alone.array > 0}
    merged = detected
    if can_resegment(model.manifest):
        again = lesion_probability(resegment(study, brain, model, known=known))
        merged = merged_probability(detected, again, known, threshold=model.manifest.threshold)
    found["re-segmentation"] = lesions_at_known_places(merged, brain, known, model.manifest).array > 0
    return found


def score(source: HeadSource, model: TissueModel, *, number: int) -> FollowUpScore:
    """Make one follow-up from a held-out head and judge every method on it."""
    visits = source.make(Generator().manual_seed(9_000_000 + number), visits=2)
    before, now = (visit.lesions.numpy().astype(np.int16) for visit in visits)
    unknown = visits[-1].ignore.numpy()
    marked = {method: mask & ~unknown for method, mask in answers(visits, model).items()}
    owner = places(before, now)
    return FollowUpScore(
        lesions={method: judge(mask, before, now, number) for method, mask in marked.items()},
        false_positives={method: _strangers(mask, owner) for method, mask in marked.items()},
    )


def _strangers(marked: NDArray[np.bool_], owner: NDArray[np.int16]) -> int:
    """Count the marked regions that lie at no lesion's place."""
    components = cc3d.connected_components(marked, connectivity=26)
    return len(np.unique(components)) - len(np.unique(components[owner > 0] if (owner > 0).any() else [0]))


def _volume(part: torch.Tensor) -> Volume:
    return Volume(part.numpy(), AFFINE, "PATIENT")


def summary(scores: Sequence[FollowUpScore]) -> dict[str, Any]:
    """Return the figures of every method with 95 % intervals, resampled over follow-ups."""
    result: dict[str, Any] = {"follow_ups": len(scores)}
    for method in METHODS:
        lesions = [lesion for scan in scores for lesion in scan.lesions[method]]
        now = [one for one in lesions if one.dice is not None]
        known = [one for one in now if one.earlier_mm3]
        small = [one for one in now if one.volume_mm3 < 100]
        gone = [one for one in lesions if not one.volume_mm3]
        result[method] = {
            "lesions": len(now),
            "dice_known": _mean([one.dice for one in known], [one.scan for one in known]),
            "dice_all": _mean([one.dice for one in now], [one.scan for one in now]),
            "dice_under_100_mm3": _mean([one.dice for one in small], [one.scan for one in small]),
            "change_error_ln": _mean([one.change_error for one in known], [one.scan for one in known]),
            "gone_and_seen_gone": _mean(
                [float(one.measured_mm3 < SMALLEST_MM3) for one in gone], [one.scan for one in gone]
            ),
            "false_positives_per_scan": _mean(
                [float(scan.false_positives[method]) for scan in scores], list(range(len(scores)))
            ),
        }
    return result


def _mean(values: Sequence[float | None], groups: Sequence[int]) -> dict[str, float] | None:
    """Return the mean over all values with its 95 % interval from resampled groups; None without values."""
    if not values:
        return None
    array, owner = np.array(values, float), np.array(groups)
    sums = np.array([[array[owner == g].sum(), (owner == g).sum()] for g in np.unique(owner)])
    rng = np.random.default_rng(0)
    drawn = sums[rng.integers(0, len(sums), (RESAMPLES, len(sums)))].sum(1)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return {"mean": float(array.mean()), "low": float(low), "high": float(high), "n": len(array)}


def table(figures: Mapping[str, Any]) -> Table:
    """Return the figures as a table for the terminal."""
    rows = [name for name in figures[METHODS[0]] if name != "lesions"]
    result = Table("", *METHODS, title=f"{figures['follow_ups']} follow-ups, {figures[METHODS[0]]['lesions']} lesions")
    for row in rows:
        cells = [figures[method][row] for method in METHODS]
        result.add_row(row, *("-" if c is None else f"{c['mean']:.3f} ({c['low']:.3f}-{c['high']:.3f})" for c in cells))
    return result


def _score_one(source: HeadSource, manifest_path: Path, number: int) -> FollowUpScore:
    return score(source, load_model(manifest_path, threads=1), number=number)


def main(
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    data: Annotated[Path, typer.Option(help="Folder with heads/ and label_maps/.")] = Path("../shared/data"),
    manifest: Annotated[Path | None, typer.Option(help="Model to judge; the package's own by default.")] = None,
    draws: Annotated[int, typer.Option(help="Follow-ups per held-out head.", min=1)] = 1,
    workers: Annotated[int, typer.Option(help="Follow-ups at a time, one thread each.")] = 2,
) -> None:
    """Judge what the prior study adds, on follow-ups of held-out heads."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    path = manifest or default_manifest_path()
    model = verify_model(path)
    sources: list[HeadSource] = [*validation_heads(data), *validation_label_maps(data)] * draws
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        futures = [pool.submit(_score_one, source, path, number) for number, source in enumerate(sources)]
        scores = []
        for number, future in enumerate(futures):
            scores.append(future.result())
            log.info("follow-up %d of %d", number + 1, len(sources))
    figures = {"model": model.name, "version": model.version, "sha256": model.sha256, **summary(scores)}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    Console().print(table(figures))


if __name__ == "__main__":
    typer.run(main)
