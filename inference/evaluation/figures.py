"""The pictures of an evaluation; raters differ by marker as well as colour, and what was missed is drawn, not left out.

All functions return a matplotlib `Figure` that nothing else holds on to, or None if there is nothing to draw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.ticker as mticker
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from inference.evaluation.bootstrap import LIMITS_PERCENT, Estimate
from inference.evaluation.changes import COUNT, LESION, TOTAL, Change
from inference.evaluation.free_response import ALL, FreeResponse
from inference.evaluation.scoring import LesionScore, ScanScore
from tracking.plots.look import MARKERS, STROKES

INK, GREY = "#222222", "#777777"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito, safe for all eyes
LOWEST_RATE, HIGHEST_RATE = 0.05, 20.0
LIMITS_SD = 1.96
RATIO_TICKS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20)

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SizeSensitivity:
    """Sensitivity of one rater by size.

    Attributes
    ----------
    rater
        Name.
    volume, diameter
        By size; ``n`` is the number of lesions.
    """

    rater: str
    volume: Mapping[str, Estimate]
    diameter: Mapping[str, Estimate]


def froc_figure(curve: FreeResponse, point: tuple[float, float] | None = None) -> Figure:
    """Draw sensitivity against false positives per scan, with the interval of the curve of all lesions.

    Parameters
    ----------
    curve
        By size.
    point
        False positives per scan and sensitivity of the model as it is used.
    """
    rates = np.geomspace(LOWEST_RATE, HIGHEST_RATE, 240)
    figure, axes = _axes()
    drawn = [curve.at(rate).estimate() for rate in rates]
    low, high = (np.array([getattr(one, name) for one in drawn], float) for name in ("low", "high"))
    label = f"95 % interval ({LIMITS_PERCENT[0]:g} to {LIMITS_PERCENT[1]:g} %), patients drawn anew"
    axes.fill_between(rates, low, high, step="post", color=COLOURS[0], alpha=0.15, linewidth=0, label=label)
    for place, (size, count) in enumerate(curve.lesions.items()):
        values = [curve.at(rate, size).values[0] for rate in rates]
        name = "all lesions" if size == ALL else size
        look = {"color": COLOURS[place % len(COLOURS)], "linestyle": STROKES[place % len(STROKES)]}
        width = 2.2 if size == ALL else 1.4
        axes.plot(rates, values, drawstyle="steps-post", label=f"{name} (n = {count})", linewidth=width, **look)
    if point is not None and point[0] > 0:
        axes.plot(*point, "*", color=INK, markersize=13, label="model as used", zorder=5)
    axes.set(xscale="log", xlim=(LOWEST_RATE, HIGHEST_RATE), ylim=(0, 1.02))
    axes.set(xlabel="False positives per scan", ylabel="Sensitivity", title="Free-response curve")
    axes.xaxis.set_major_locator(mticker.FixedLocator([0.125, 0.25, 0.5, 1, 2, 4, 8, 16]))
    axes.xaxis.set_minor_locator(mticker.NullLocator())
    axes.xaxis.set_major_formatter(mticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.13), ncols=2, frameon=False, fontsize=9)
    return figure


def sensitivity_figure(raters: Sequence[SizeSensitivity]) -> Figure:
    """Draw sensitivity by volume and by diameter with intervals, the readers beside the model."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True, width_ratios=(5, 3))
    for axes, kind in zip(panels, ("volume", "diameter"), strict=True):
        sizes = list(getattr(raters[0], kind))
        for place, rater in enumerate(raters):
            _draw_sensitivity(axes, list(getattr(rater, kind).values()), place, len(raters), label=rater.rater)
        counts = [getattr(raters[0], kind)[size].n for size in sizes]
        axes.set_xticks(range(len(sizes)), [f"{size}\nn = {n}" for size, n in zip(sizes, counts, strict=True)])
        axes.set(xlim=(-0.5, len(sizes) - 0.5), ylim=(0, 1.04), title=f"By {kind}")
        _plain(axes)
    panels[0].set_ylabel("Sensitivity (any overlap), 95 % interval")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    return figure


def _draw_sensitivity(axes: Any, estimates: Sequence[Estimate], place: int, total: int, *, label: str) -> None:
    shift = (place - (total - 1) / 2) * min(0.18, 0.7 / total)
    look = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
    axes.plot([], [], linestyle="none", label=label, **look)
    for position, one in enumerate(estimates):
        if one.value is None:
            continue
        if one.low is not None:
            axes.plot([position + shift] * 2, [one.low, one.high], color=look["color"], linewidth=1.6)
        axes.plot(position + shift, one.value, markersize=7, clip_on=False, **look)


def volume_figure(lesions: Sequence[LesionScore]) -> Figure | None:
    """Draw predicted against true volume of each lesion, both logarithmic; missed ones at the bottom."""
    if not lesions:
        return None
    true = np.array([lesion.volume_mm3 for lesion in lesions])
    predicted = np.array([lesion.predicted_volume_mm3 for lesion in lesions])
    found = predicted > 0
    low, high = float(min(true.min(), *predicted[found], np.inf)) / 2, 2 * float(max(true.max(), predicted.max()))
    figure, axes = _axes()
    axes.plot([low, high], [low, high], color=GREY, linewidth=1, label="equal")
    for factor in (0.5, 2):
        axes.plot([low, high], [low * factor, high * factor], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.plot([], [], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), label="half, double")
    name = f"found (n = {int(found.sum())})"
    axes.plot(true[found], predicted[found], "o", color=COLOURS[0], alpha=0.65, markersize=5, label=name)
    missed = np.full(int((~found).sum()), low)
    name = f"missed (n = {len(missed)})"
    axes.plot(true[~found], missed, "x", color=COLOURS[1], markersize=7, clip_on=False, label=name)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set(xlabel="True volume / mm³", ylabel="Predicted volume / mm³", title="Volume of each lesion")
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    return figure


def bland_altman_figure(lesions: Sequence[LesionScore], scans: Sequence[ScanScore]) -> Figure | None:
    """Draw the difference of volumes against their mean: as a ratio for found lesions, in mm³ for whole scans."""
    pairs = np.array([(one.volume_mm3, one.predicted_volume_mm3) for one in lesions if one.predicted_volume_mm3], float)
    totals = np.array([(one.true_volume_mm3, one.predicted_volume_mm3) for one in scans], float)
    if not len(pairs):
        return None
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    ratios = np.log(pairs[:, 1] / pairs[:, 0])
    left.plot(np.sqrt(pairs.prod(axis=1)), np.exp(ratios), "o", color=COLOURS[0], alpha=0.65, markersize=5)
    _draw_limits(left, np.exp(_limits(ratios)), "{:.2f} ×", even=1)
    left.set(
        xscale="log", yscale="log", xlabel="Geometric mean of both volumes / mm³", ylabel="Predicted / true volume"
    )
    left.set_title(f"Found lesions (n = {len(pairs)})")
    _plain_ratio(left, np.exp(ratios))
    differences = (totals[:, 1] - totals[:, 0]) / 1000
    right.plot(totals.mean(axis=1) / 1000, differences, "s", color=COLOURS[1], alpha=0.75, markersize=5)
    _draw_limits(right, _limits(differences), "{:+.2f} cm³", even=0)
    right.set(xlabel="Mean of both total volumes / cm³", ylabel="Predicted - true total volume / cm³")
    right.set_title(f"Whole scans (n = {len(totals)})")
    for axes in (left, right):
        _plain(axes)
    return figure


def _limits(values: FloatArray) -> FloatArray:
    """Return mean, and mean ± 1.96 standard deviations if there are two values or more."""
    spread = LIMITS_SD * values.std(ddof=1) if len(values) > 1 else np.nan
    return np.array([values.mean(), values.mean() - spread, values.mean() + spread])


def _draw_limits(axes: Any, limits: FloatArray, form: str, *, even: float) -> None:
    axes.axhline(even, color=GREY, linewidth=0.8)
    for value, stroke in zip(limits, ("-", *[(0, (4, 3))] * 2), strict=True):
        if np.isfinite(value):
            axes.axhline(value, color=INK, linewidth=1.2, linestyle=stroke)
            axes.text(1.01, value, form.format(value), transform=axes.get_yaxis_transform(), ha="left", va="center")


def _plain_ratio(axes: Any, ratios: FloatArray) -> None:
    ticks = [tick for tick in RATIO_TICKS if ratios.min() / 2 <= tick <= ratios.max() * 2]
    axes.yaxis.set_major_locator(mticker.FixedLocator(ticks))
    axes.yaxis.set_minor_locator(mticker.NullLocator())
    axes.yaxis.set_major_formatter(mticker.FuncFormatter(lambda value, _: f"{value:g}"))


def change_figure(changes: Sequence[Change]) -> Figure | None:
    """Draw predicted against true changes between consecutive studies: total volume, number, and each lesion."""
    titles = {TOTAL: "Total volume / mm³", LESION: "Each lesion / mm³", COUNT: "Number of lesions"}
    drawn = {name: [change for change in changes if change.quantity == name] for name in titles}
    drawn = {name: mine for name, mine in drawn.items() if mine}
    if not drawn:
        return None
    figure = Figure(figsize=(4.6 * len(drawn), 5), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(drawn)))
    for place, (axes, (name, mine)) in enumerate(zip(panels, drawn.items(), strict=True)):
        points = np.array([(change.true, change.predicted) for change in mine])
        reach = max(1.0, 1.5 * float(np.abs(points).max()))
        axes.plot([-reach, reach], [-reach, reach], color=GREY, linewidth=1)
        look = {"color": COLOURS[place], "marker": MARKERS[place], "linestyle": "none"}
        axes.plot(*points.T, alpha=0.7, markersize=6, **look)
        if name != COUNT:  # volumes span decades and both signs
            _sign_log(axes, reach)
        axes.axhline(0, color=GREY, linewidth=0.5)
        axes.axvline(0, color=GREY, linewidth=0.5)
        axes.set(
            xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="True change since the study before"
        )
        axes.set_title(f"{titles[name]} (n = {len(mine)})", fontsize=11)
        _plain(axes)
    panels[0].set_ylabel("Predicted change since the study before")
    return figure


def _sign_log(axes: Any, reach: float) -> None:
    linear = 10.0
    decades = [10.0**power for power in range(1, int(np.log10(max(reach, linear))) + 1)]
    kept = decades[:: 1 + len(decades) // 4]
    for axis, scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
        scale("symlog", linthresh=linear)
        axis.set_major_locator(mticker.FixedLocator([*(-decade for decade in kept), 0, *kept]))
        axis.set_major_formatter(mticker.FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))


def _axes() -> tuple[Figure, Any]:
    figure = Figure(figsize=(6.4, 6), layout="constrained")
    axes = figure.subplots()
    _plain(axes)
    return figure, axes


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
