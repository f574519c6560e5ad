"""What the pictures show: the data behind their marks. That they can be read, only a person's look can tell."""

from datetime import date

import numpy as np
import pytest

from inference.evaluation.bootstrap import Bootstrap, Estimate
from inference.evaluation.changes import LESION, TOTAL, Change
from inference.evaluation.figures import (
    SizeSensitivity,
    bland_altman_figure,
    change_figure,
    froc_figure,
    sensitivity_figure,
    volume_figure,
)
from inference.evaluation.free_response import free_response
from inference.evaluation.metrics import Candidate, ScanResult
from tests.inference.evaluation.phantoms import cubes, scan, scored

SCORE = scored(scan(cubes(((2, 2, 2), 4), ((12, 12, 12), 3)), cubes(((2, 2, 2), 3), ((20, 20, 2), 2))))


def change(quantity: str, true: float, predicted: float) -> Change:
    return Change(
        patient="P1",
        rater="model",
        earlier=date(2024, 1, 1),
        later=date(2024, 2, 1),
        quantity=quantity,
        identity=None,
        true_earlier=5.0,
        true_later=5.0 + true,
        predicted_earlier=7.0,
        predicted_later=7.0 + predicted,
    )


def test_missed_lesions_are_drawn_at_the_bottom() -> None:
    figure = volume_figure(SCORE.lesions)
    assert figure is not None
    (axes,) = figure.axes
    marks = {line.get_marker(): line for line in axes.lines if line.get_marker() in {"o", "x"}}
    assert (marks["o"].get_xdata().tolist(), marks["o"].get_ydata().tolist()) == ([64], [27])
    assert (marks["x"].get_xdata().tolist(), marks["x"].get_ydata().tolist()) == ([27], [axes.get_ylim()[0]])


def test_all_missed_can_be_drawn() -> None:
    lesions = scored(scan(cubes(((2, 2, 2), 4)), cubes())).lesions
    assert volume_figure(lesions) is not None
    assert bland_altman_figure(lesions, [SCORE]) is None


def test_limits_of_agreement() -> None:
    pairs = [((2, 4), (2, 4)), ((2, 4), (2, 3)), ((2, 3), (2, 4))]
    scores = [scored(scan(cubes(((2, 2, 2), true)), cubes(((2, 2, 2), said)))) for (_, true), (_, said) in pairs]
    figure = bland_altman_figure([lesion for score in scores for lesion in score.lesions], scores)
    assert figure is not None
    ratios = np.log([64 / 64, 27 / 64, 64 / 27])
    expected = np.exp(
        [ratios.mean(), ratios.mean() - 1.96 * ratios.std(ddof=1), ratios.mean() + 1.96 * ratios.std(ddof=1)]
    )
    heights = [line.get_ydata()[0] for line in figure.axes[0].lines[1:]]
    np.testing.assert_allclose(heights, [1, *expected])
    np.testing.assert_allclose(figure.axes[1].lines[2].get_ydata()[0], (0 - 0.037 + 0.037) / 3, atol=1e-12)


def test_changes_of_each_kind_have_a_panel() -> None:
    figure = change_figure([change(TOTAL, 10, 12), change(LESION, -500, 3)])
    assert figure is not None
    assert len(figure.axes) == 2
    points = figure.axes[1].lines[1]
    assert (points.get_xdata().tolist(), points.get_ydata().tolist()) == ([-500], [3])
    assert change_figure([]) is None
    assert volume_figure([]) is None


def test_readers_stand_beside_the_model() -> None:
    size = {
        "<3 mm": Estimate(value=0.5, low=0.2, high=0.8, n=4),
        ">6 mm": Estimate(value=None, low=None, high=None, n=0),
    }
    figure = sensitivity_figure([SizeSensitivity(rater=name, volume=size, diameter=size) for name in ("model", "A")])
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["model", "A"]
    points = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert [line.get_ydata()[0] for line in points] == [0.5, 0.5]
    assert points[0].get_xdata()[0] < points[1].get_xdata()[0]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["<3 mm\nn = 4", ">6 mm\nn = 0"]


@pytest.mark.parametrize(("point", "stars"), [((1.0, 0.5), 1), ((0.0, 0.5), 0), (None, 0)])
def test_the_curve_and_the_point_in_use(point: tuple[float, float] | None, stars: int) -> None:
    candidates = (Candidate(number=1, score=0.9, volume_mm3=5, found=(1,), unknown=False),)
    result = ScanResult(lesions_mm3={1: 5.0, 2: 5.0}, candidates=candidates, dice=None)
    curve = free_response(["P1", "P2"], [result, result], Bootstrap.drawn(["P1", "P2"], resamples=20, seed=0))
    (axes,) = froc_figure(curve, point).axes
    assert sum(line.get_marker() == "*" for line in axes.lines) == stars
    assert set(np.asarray(axes.lines[0].get_ydata())) == {0.5}
