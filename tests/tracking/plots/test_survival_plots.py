"""Curves and forest, read back from matplotlib."""

import pytest

pytest.importorskip("lifelines", reason="the extra 'cohort' is not installed")
from tracking.cohort import HazardRatio, Subject, TestResult, kaplan_meier
from tracking.plots.survival import forest_figure, survival_figure


def group(name: str, days: list[int], events: list[bool]) -> tuple[Subject, ...]:
    return tuple(
        Subject(subject=f"{name}{number}", days=day, event=event, covariates={})
        for number, (day, event) in enumerate(zip(days, events, strict=True))
    )


def test_curves_step_at_events_and_tell_the_numbers_at_risk() -> None:
    curve = kaplan_meier(group("a", [10, 20, 30, 30], [True, False, True, False]), name="slow")
    figure = survival_figure([curve], test=TestResult(statistic=4.2, degrees_of_freedom=1, p=0.0404))
    axes, risk = figure.axes
    steps = next(line for line in axes.lines if line.get_drawstyle() == "steps-post")
    assert dict(zip(steps.get_xdata(), steps.get_ydata(), strict=True)) == pytest.approx(
        {0: 1, 10: 0.75, 20: 0.75, 30: 0.375}
    )
    censored = next(line for line in axes.lines if line.get_marker() == "|")
    assert list(censored.get_xdata()) == [20, 30]
    assert list(censored.get_ydata()) == pytest.approx([0.75, 0.375])
    told = {text.get_position()[0]: text.get_text() for text in risk.texts}
    assert len(told) > 3
    assert all(int(text) == sum(day >= tick for day in (10, 20, 30, 30)) for tick, text in told.items())
    assert "χ² = 4.20, 1 degree of freedom, p = 0.040" in axes.get_title()
    assert "slow: 4 subjects, 2 events, median 30 days" in [text.get_text() for text in figure.legends[0].texts]


def test_curves_differ_without_colour() -> None:
    curves = [kaplan_meier(group(name, [10, 20], [True, False]), name=name) for name in "abcd"]
    lines = [line for line in survival_figure(curves).axes[0].lines if line.get_drawstyle() == "steps-post"]
    assert len({str(line.get_linestyle()) + str(line._dash_pattern) for line in lines}) == 4


def test_a_forest_shows_each_ratio_with_its_limits_and_numbers() -> None:
    hazards = [
        HazardRatio(name="rate, per doubling", ratio=1.5, low=1.2, high=1.875, p=0.00001),
        HazardRatio(name="age", ratio=0.9, low=0.7, high=1.15, p=0.4),
    ]
    axes, numbers = forest_figure(hazards).axes
    (points,) = [line for line in axes.lines if line.get_marker() == "s"]
    assert list(points.get_xdata()) == [1.5, 0.9]
    (limits,) = [[segment[:, 0].tolist() for segment in bar.get_segments()] for bar in axes.collections]
    assert limits == [pytest.approx([1.2, 1.875]), pytest.approx([0.7, 1.15])]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["rate, per doubling", "age"]
    assert [text.get_text() for text in numbers.texts] == [
        "1.50 (1.20 to 1.88), p < 0.001", "0.90 (0.70 to 1.15), p = 0.400",
    ]  # fmt: skip


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="no survival curve"):
        survival_figure([])
    with pytest.raises(ValueError, match="no hazard ratio"):
        forest_figure([])
