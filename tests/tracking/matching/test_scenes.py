"""The scenes that measure tracking, and the product's standing on a few; the figures: benchmarks/tracking.py."""

from dataclasses import replace

import cc3d
import numpy as np
import pytest

from benchmarks.scenes.assumptions import USUAL, WORLDS
from benchmarks.scenes.methods import by_baseline, ours
from benchmarks.scenes.misalignment import ErrorKind, Misalignment
from benchmarks.scenes.scene import Scene, draw_scene
from benchmarks.scenes.score import Score, Tracked, judge, related, true_edges
from benchmarks.scenes.story import BRAIN_MM
from tracking.matching.baselines import BASELINES
from tracking.measurement import measure_lesions

BRIEF = replace(USUAL, studies=(3, 3))


def volumes(scene: Scene) -> tuple[dict[int, float], ...]:
    return tuple(
        {lesion.number: lesion.total_volume_mm3 for lesion in measure_lesions(study.lesions)} for study in scene.studies
    )


@pytest.fixture(scope="module")
def scene() -> Scene:
    return draw_scene(2, BRIEF, error_mm=2.0, lesions=9)


def test_every_label_is_a_component_with_a_truth(scene: Scene) -> None:
    for study, atoms in zip(scene.studies, scene.atoms, strict=True):
        labels = study.lesions.array
        components = cc3d.connected_components(labels > 0, connectivity=26)
        assert set(np.unique(labels)) - {0} == set(atoms) == set(range(1, len(atoms) + 1))
        assert components.max() == len(atoms)
        assert len({(a, b) for a, b in zip(labels[labels > 0], components[labels > 0], strict=True)}) == len(atoms)


def test_a_scene_is_drawn_again_from_its_seed(scene: Scene) -> None:
    again = draw_scene(2, BRIEF, error_mm=2.0, lesions=9)
    for one, other in zip(scene.studies, again.studies, strict=True):
        assert np.array_equal(one.lesions.array, other.lesions.array)
    assert again.atoms == scene.atoms


@pytest.mark.parametrize("kind", ErrorKind)
@pytest.mark.parametrize("rms_mm", [0.0, 3.0])
def test_errors_have_the_size_that_they_are_asked_for(kind: ErrorKind, rms_mm: float) -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(size=(400, 3))
    points *= (rng.random(400) ** (1 / 3) / np.linalg.norm(points, axis=1))[:, None] * BRAIN_MM
    squares = []
    for seed in range(40):
        error = Misalignment(kind=kind, rms_mm=rms_mm, seed=seed, correlation_mm=40.0, brain_mm=BRAIN_MM)
        moved = [error.at(points[body : body + 1], body)[0] for body in range(0, 400, 10)]
        squares.append((np.array(moved) ** 2).sum(axis=1).mean())
    assert np.sqrt(np.mean(squares)) == pytest.approx(rms_mm, rel=0.15, abs=1e-12)


def test_parts_are_related_to_their_whole_and_not_to_each_other() -> None:
    whole, left, right = (3,), (3, 0), (3, 1)
    assert related({whole}, {left})
    assert related({right}, {whole})
    assert not related({left}, {right})
    assert not related({(3,)}, {(31,)})
    assert true_edges({1: frozenset({whole})}, {1: frozenset({left}), 2: frozenset({right}), 3: frozenset()}) == {
        (1, 1),
        (1, 2),
    }


def test_the_truth_itself_has_a_perfect_score(scene: Scene) -> None:
    names: list[dict[int, str]] = []
    for place, atoms in enumerate(scene.atoms):
        names.append({})
        for number, parts in atoms.items():
            earlier = [
                names[s][n]
                for s in reversed(range(place))
                for n, before in scene.atoms[s].items()
                if related(before, parts)
            ]
            names[-1][number] = earlier[0] if earlier else f"{place}-{number}"
    edges = tuple(true_edges(*scene.atoms[place : place + 2]) for place in range(len(scene.atoms) - 1))
    score = judge(scene, Tracked(edges=edges, identities=tuple(names)), volumes(scene))
    assert score.f1("edge") == 1.0
    assert not sum(score.wrong.values()) + sum(score.missed.values())
    assert score.switches_per_lesion == 0.0
    assert score.group_volume_error == 0.0


def test_mistakes_are_counted(scene: Scene) -> None:
    nothing = Tracked(
        edges=tuple(frozenset() for _ in scene.to_prior),
        identities=tuple({n: f"{place}-{n}" for n in atoms} for place, atoms in enumerate(scene.atoms)),
    )
    score = judge(scene, nothing, volumes(scene))
    true = sum(len(true_edges(*scene.atoms[place : place + 2])) for place in range(len(scene.atoms) - 1))
    assert score.missed["edge"] == true > 0
    assert score.recall("edge") == 0.0
    assert score.precision("new") < 1.0
    assert score.switches > 0


@pytest.mark.slow
@pytest.mark.parametrize(("error_mm", "goal"), [(2.0, 0.98), (5.0, 0.93)])
def test_ours_reaches_its_goals_and_beats_every_baseline(error_mm: float, goal: float) -> None:
    mine, theirs = Score(), {name: Score() for name in BASELINES}
    for seed, world in enumerate(sorted(WORLDS)):
        drawn = draw_scene(500 + seed, WORLDS[world], error_mm=error_mm, lesions=8)
        mine.add(judge(drawn, ours(drawn), volumes(drawn)))
        for name, baseline in BASELINES.items():
            theirs[name].add(judge(drawn, by_baseline(drawn, baseline), volumes(drawn)))
    assert mine.f1("edge") >= goal
    if error_mm <= 3:  # beyond, names are not yet kept as well as lesions are linked
        assert mine.precision("new") >= 0.95
        assert mine.switches_per_lesion <= 0.03
    assert all(mine.f1("edge") > score.f1("edge") for score in theirs.values())
