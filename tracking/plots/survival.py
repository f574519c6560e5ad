"""Survival of cohorts: Kaplan-Meier curves with the numbers at risk, and hazard ratios as a forest plot."""

from collections.abc import Sequence
from typing import Any

import matplotlib.ticker as mticker
import numpy as np
from matplotlib.figure import Figure

from tracking.cohort.regression import HazardRatio
from tracking.cohort.survival import SurvivalCurve, TestResult
from tracking.plots.growth import GREY, INK
from tracking.plots.look import MARKERS, STROKES

# Okabe and Ito's palette, which people with colour blindness can tell apart; the lightest come last.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
TICKS = 6
RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20, 50, 100)


def survival_figure(curves: Sequence[SurvivalCurve], *, test: TestResult | None = None) -> Figure:
    """Draw Kaplan-Meier curves with their 95 % limits, ticks where observation ended, and the numbers at risk.

    Parameters
    ----------
    curves
        At least one.
    test
        Log-rank test between them, told in the title.

    Raises
    ------
    ValueError
        If there is no curve.
    """
    if not curves:
        raise ValueError("There is no survival curve to draw; give at least one.")
    figure = Figure(figsize=(8, 5 + 0.45 * len(curves)), layout="constrained")
    axes, risk = figure.subplots(2, 1, sharex=True, height_ratios=(5, 0.3 + 0.3 * len(curves)))
    for place, curve in enumerate(curves):
        _draw_curve(axes, curve, place)
    ticks = mticker.MaxNLocator(TICKS, integer=True).tick_values(0, max(curve.days[-1] for curve in curves))
    _draw_numbers_at_risk(risk, curves, [tick for tick in ticks if tick >= 0])
    title = "Kaplan-Meier estimate with 95 % limits"
    if test is not None:
        degrees = "1 degree" if test.degrees_of_freedom == 1 else f"{test.degrees_of_freedom} degrees"
        title += f"\nlog-rank χ² = {test.statistic:.2f}, {degrees} of freedom, {_p(test.p)}"
    axes.set_title(title, fontsize=10)
    axes.set(ylabel="Share without the event", ylim=(0, 1.02))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", frameon=False, fontsize=9)
    return figure


def _draw_curve(axes: Any, curve: SurvivalCurve, place: int) -> None:
    colour, stroke = COLOURS[place % len(COLOURS)], STROKES[place % len(STROKES)]
    axes.fill_between(curve.days, curve.low, curve.high, step="post", color=colour, alpha=0.08, linewidth=0)
    axes.step(curve.days, curve.survival, where="post", color=colour, linestyle=stroke, linewidth=1.8)
    places = np.searchsorted(curve.days, curve.censored_days, side="right") - 1
    heights = np.array(curve.survival)[places]
    axes.plot(curve.censored_days, heights, "|", color=colour, markersize=7)
    marked = np.linspace(0, len(curve.days) - 1, 5).astype(int)
    median = "not reached" if curve.median_days is None else f"{curve.median_days:.0f} days"
    axes.plot(
        np.array(curve.days)[marked],
        np.array(curve.survival)[marked],
        color=colour,
        linestyle=stroke,
        marker=MARKERS[place % len(MARKERS)],
        linewidth=0,
        markersize=6,
    )
    # The key shows stroke and marker together, which no drawn line has: the marks are few.
    axes.plot(
        [],
        [],
        color=colour,
        linestyle=stroke,
        marker=MARKERS[place % len(MARKERS)],
        label=f"{curve.name}: {curve.at_risk[0]} subjects, {curve.events} events, median {median}",
    )


def _draw_numbers_at_risk(axes: Any, curves: Sequence[SurvivalCurve], ticks: Sequence[float]) -> None:
    for row, curve in enumerate(curves):
        for tick in ticks:
            later = np.searchsorted(curve.days, tick, side="left")
            count = curve.at_risk[later] if later < len(curve.days) else 0
            axes.text(tick, -row, str(count), ha="center", va="center", fontsize=8, color=INK)
    axes.set(ylim=(-len(curves) + 0.4, 0.6), xlabel="Days", xticks=ticks)
    axes.set_yticks([-row for row in range(len(curves))], labels=[curve.name for curve in curves], fontsize=8)
    axes.set_title("Subjects at risk", fontsize=9, loc="left")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def forest_figure(hazards: Sequence[HazardRatio]) -> Figure:
    """Draw hazard ratios with their 95 % limits on a logarithmic axis, the numbers beside them.

    Raises
    ------
    ValueError
        If there is no hazard ratio.
    """
    if not hazards:
        raise ValueError("There is no hazard ratio to draw; give at least one.")
    figure = Figure(figsize=(9, 1.4 + 0.4 * len(hazards)), layout="constrained")
    axes, numbers = figure.subplots(1, 2, sharey=True, width_ratios=(1.4, 1))
    rows = [-row for row in range(len(hazards))]
    ratios = np.array([one.ratio for one in hazards])
    reach = [ratios - [one.low for one in hazards], [one.high for one in hazards] - ratios]
    axes.axvline(1, color=GREY, linewidth=1, linestyle=(0, (4, 2)))
    axes.errorbar(ratios, rows, xerr=reach, fmt="s", color=INK, markersize=6, capsize=3, linewidth=1.4)
    axes.set(xscale="log", xlabel="Hazard ratio (95 % limits)", ylim=(rows[-1] - 0.6, 0.6))
    axes.set_yticks(rows, labels=[one.name for one in hazards], fontsize=9)
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(mticker.FixedLocator([tick for tick in RATIOS if low <= tick <= high]))
    axes.xaxis.set_minor_locator(mticker.NullLocator())
    axes.xaxis.set_major_formatter(mticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.spines[["top", "right"]].set_visible(False)
    for row, one in zip(rows, hazards, strict=True):
        text = f"{one.ratio:.2f} ({one.low:.2f} to {one.high:.2f}), {_p(one.p)}"
        numbers.text(0, row, text, va="center", fontsize=9, color=INK)
    numbers.set_axis_off()
    return figure


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
