"""Volumes over time, reported and true, missed lesions too; each lesion has its marker, so grey prints are legible."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import matplotlib.ticker as mticker
from matplotlib.figure import Figure

from dicom_node.demo.followup import StudyResult
from tracking.identity import tracking_order
from tracking.plots.look import MARKERS

GREY = "#555555"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One lesion's volumes.

    Attributes
    ----------
    name
        Tracking ID, with the names of the truth.
    dates, reported_mm3, true_mm3
        One value per study; None where the lesion has no volume.
    """

    name: str
    colour: str
    marker: str
    dates: tuple[date, ...]
    reported_mm3: tuple[float | None, ...]
    true_mm3: tuple[float | None, ...]


def curves_of(results: Sequence[StudyResult]) -> tuple[Curve, ...]:
    """Collect one curve per tracking UID, in order of tracking ID, then one per true lesion that was missed."""
    identity = {finding.tracking_uid: finding.tracking_id for result in results for finding in result.findings.findings}
    ordered = sorted(identity, key=lambda uid: tracking_order(identity[uid]))
    followed = [_curve(uid, MARKERS[place % len(MARKERS)], results) for place, uid in enumerate(ordered)]
    missed = {row.names: None for result in results for row in result.rows if row.finding is None and row.names}
    return (*followed, *(_missed_curve(names, results) for names in missed))


def draw_curves(results: Sequence[StudyResult]) -> Figure:
    """Draw growth (left) and agreement with the truth (right); volumes in mm³ on logarithmic axes."""
    curves = curves_of(results)
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    growth, agreement = figure.subplots(1, 2, width_ratios=(1.35, 1))
    for axes in (growth, agreement):
        axes.spines[["top", "right"]].set_visible(False)
    floor = _floor(curves)
    _draw_growth(growth, curves, floor, [result.truth.study_date for result in results])
    _draw_agreement(agreement, curves, floor)
    handles, names = growth.get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside lower center", frameon=False, fontsize=9, ncols=5)
    return figure


def _curve(uid: str, marker: str, results: Sequence[StudyResult]) -> Curve:
    findings = [result.findings.by_uid(uid) for result in results]
    truths = [result.match.truth_of(uid) for result in results]
    known = [finding for finding in findings if finding]
    names = "+".join(sorted({name for truth in truths if truth for name in truth.names}))
    return Curve(
        name=f"{known[0].tracking_id} (true {names})" if names else f"{known[0].tracking_id} (false positive)",
        colour=known[-1].colour,
        marker=marker,
        dates=tuple(result.truth.study_date for result in results),
        reported_mm3=tuple(finding.volume_mm3 if finding else None for finding in findings),
        true_mm3=tuple(_true_volume(uid, index, results) for index in range(len(results))),
    )


def _missed_curve(names: tuple[str, ...], results: Sequence[StudyResult]) -> Curve:
    """Return the true volumes of a lesion in the studies in which the node did not see it by itself."""
    rows = [[row for row in result.rows if row.finding is None and row.names == names] for result in results]
    return Curve(
        name=f"missed: {'+'.join(names)}",
        colour=GREY,
        marker="x",
        dates=tuple(result.truth.study_date for result in results),
        reported_mm3=(None,) * len(results),
        true_mm3=tuple(row[0].true_volume_mm3 if row else None for row in rows),
    )


def _true_volume(uid: str, index: int, results: Sequence[StudyResult]) -> float | None:
    """Return the true volume of what carries this UID in this study; 0 once it has gone."""
    row = next((row for row in results[index].rows if row.finding and row.finding.tracking_uid == uid), None)
    if row is None or not row.names:
        return None
    return row.true_volume_mm3 or 0.0


def _floor(curves: Sequence[Curve]) -> float:
    """Choose where a volume of zero is drawn on a logarithmic axis."""
    volumes = [v for curve in curves for v in (*curve.reported_mm3, *curve.true_mm3) if v]
    return min(volumes, default=10.0) / 3


def _draw_growth(axes: Any, curves: Sequence[Curve], floor: float, days: Sequence[date]) -> None:
    for curve in curves:
        look = {"color": curve.colour, "marker": curve.marker, "markeredgecolor": "black", "markeredgewidth": 0.6}
        hollow = {**look, "markerfacecolor": "none", "alpha": 0.75}
        reported, true = (_points(curve.dates, volumes, floor) for volumes in (curve.reported_mm3, curve.true_mm3))
        axes.plot(*reported, "-", label=curve.name if reported[0] else None, markersize=7, **look)
        axes.plot(*true, "--", label=None if reported[0] else curve.name, linewidth=1, markersize=5, **hollow)
    _volume_axis(axes.yaxis, axes.set_yscale, floor)
    axes.set(title="Growth: reported (filled) and true (hollow, dashed)", ylabel="Volume / mm³")
    axes.set_xticks(days, labels=[day.isoformat() for day in days])
    axes.set_xlabel("Date of study")
    axes.margins(x=0.08)
    axes.grid(axis="y", alpha=0.25)


def _draw_agreement(axes: Any, curves: Sequence[Curve], floor: float) -> None:
    for curve in curves:
        both = [(t, r or floor) for t, r in zip(curve.true_mm3, curve.reported_mm3, strict=True) if t]
        if both:
            true, reported = zip(*both, strict=True)
            edge = {} if curve.marker == "x" else {"edgecolors": "black"}
            axes.scatter(true, reported, c=curve.colour, marker=curve.marker, linewidths=0.9, s=48, **edge)
    low, high = floor, max((v for c in curves for v in (*c.reported_mm3, *c.true_mm3) if v), default=100.0) * 2
    axes.plot([low, high], [low, high], color=GREY, linewidth=1, label="equal")
    axes.plot([low, high], [low * 1.25, high * 1.25], ":", color=GREY, linewidth=1, label="± 25 %")
    axes.plot([low, high], [low / 1.25, high / 1.25], ":", color=GREY, linewidth=1)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set(title="Reported and true volume (lowest: missed)", xlabel="True volume / mm³")
    axes.set_ylabel("Reported volume / mm³")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(mticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower right", fontsize=9)


def _points(days: Sequence[date], volumes: Sequence[float | None], floor: float) -> tuple[list[date], list[float]]:
    known = [(day, max(volume, floor)) for day, volume in zip(days, volumes, strict=True) if volume is not None]
    return [day for day, _ in known], [volume for _, volume in known]


def _volume_axis(axis: Any, set_scale: Any, floor: float) -> None:
    """Make a logarithmic axis whose lowest tick stands for "no lesion"."""
    set_scale("log")
    axis.axes.set_ylim(bottom=floor * 0.8)
    decades = [10.0**power for power in range(-1, 6) if 10.0**power > floor * 1.3]
    axis.set_major_locator(mticker.FixedLocator([floor, *decades]))
    axis.set_major_formatter(mticker.FuncFormatter(lambda value, _: "none" if value == floor else f"{value:g}"))
