"""Ways to track a scene: the product's own, and every baseline on the same carried-over lesions."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from benchmarks.scenes.scene import Scene
from benchmarks.scenes.score import Edges, Tracked
from tracking.alignment import Alignment, GivenAlignment
from tracking.lesion import Lesion
from tracking.matching.baselines import Baseline
from tracking.matching.sites import sites_of
from tracking.measurement import measure_lesions
from tracking.registration.transform import Transform
from tracking.timeline import track_history
from tracking.timepoint import Timepoint, labels_of

SMALLEST_SIGMA_MM = 0.5  # what registration says of itself when it is perfect


def alignments_of(scene: Scene) -> tuple[GivenAlignment, ...]:
    """Return the registrations of a scene, which know how large their error is but not where."""
    return tuple(
        GivenAlignment(
            fixed_study_uid=current.study_uid,
            moving_study_uid=prior.study_uid,
            transform=Transform(matrix=matrix),
            sigma_mm=max(scene.error_mm, SMALLEST_SIGMA_MM),
        )
        for (prior, current), matrix in zip(pairwise(scene.studies), scene.to_prior, strict=True)
    )


def ours(scene: Scene) -> Tracked:
    """Track a scene as the product does."""
    return followed_by_us(scene.studies, alignments_of(scene))


def by_baseline(scene: Scene, baseline: Baseline) -> Tracked:
    """Track a scene by a baseline."""
    return followed_by(baseline, scene.studies, [Transform(matrix=matrix) for matrix in scene.to_prior])


def followed_by_us(studies: Sequence[Timepoint], alignments: Sequence[Alignment]) -> Tracked:
    """Track a patient as the product does, on registrations of any kind."""
    history = track_history(studies, alignments)
    return Tracked(
        edges=tuple(
            frozenset((link.prior, link.current) for track in study.tracks for link in track.links)
            for study in history[1:]
        ),
        identities=tuple(
            {lesion.number: track.tracking_uid for track in study.tracks for lesion in track.current}
            for study in history
        ),
    )


def followed_by(baseline: Baseline, studies: Sequence[Timepoint], to_prior: Sequence[Transform]) -> Tracked:
    """Track a patient by a baseline: a lesion goes on under the name of the largest prior one it is linked with."""
    measured = [measure_lesions(labels_of(study)) for study in studies]
    edges: list[Edges] = []
    identities: list[Mapping[int, str]] = [{lesion.number: f"0-{lesion.number}" for lesion in measured[0]}]
    for place, transform in enumerate(to_prior, start=1):
        priors = sites_of(measured[place - 1], labels_of(studies[place - 1]), transform)
        currents = sites_of(measured[place], labels_of(studies[place]))
        linked = frozenset(
            (measured[place - 1][p].number, measured[place][c].number) for p, c in baseline(priors, currents)
        )
        edges.append(linked)
        identities.append(_named(place, measured[place - 1], measured[place], linked, identities[-1]))
    return Tracked(edges=tuple(edges), identities=tuple(identities))


def _named(
    place: int, prior: tuple[Lesion, ...], current: tuple[Lesion, ...], linked: Edges, before: Mapping[int, str]
) -> Mapping[int, str]:
    volume_mm3 = {lesion.number: lesion.total_volume_mm3 for lesion in prior}
    partners = {lesion.number: [p for p, c in linked if c == lesion.number] for lesion in current}
    return {
        number: before[max(found, key=lambda p: volume_mm3[p])] if found else f"{place}-{number}"
        for number, found in partners.items()
    }
