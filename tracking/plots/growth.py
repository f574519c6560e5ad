"""A patient's lesions over time: each volume, total volume, number, and all tumours ever seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import matplotlib.ticker as mticker
import numpy as np
from matplotlib.figure import Figure

from tracking.history import History, history_of
from tracking.measurement.error import volume_interval_mm3
from tracking.plots.look import Look, lesion_looks
from tracking.treatments import Treatment
from tracking.visit import Presence, Visit

INK, GREY = "#222222", "#777777"
MOST_NAMED = 24  # lesions in the key; the largest are named
MOST_DATES = 7
PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}


def growth_figure(
    visits: Sequence[Visit], treatments: Sequence[Treatment] = (), *, references: Sequence[Visit] = ()
) -> Figure:
    """Draw four panels over one axis of time.

    Parameters
    ----------
    visits
        Of one patient.
    treatments
        Vertical lines with their names; a treated lesion carries a cross on its curve.
    references
        Known true volumes, or another reader's, under the same tracking UIDs: drawn dotted.

    Raises
    ------
    ValueError
        If there is no visit.
    """
    history, truth = history_of(visits), history_of(references)
    if not history.visits:
        raise ValueError("There is no visit to draw; give at least one.")
    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, width_ratios=(1.6, 1))
    floor_mm3 = _floor_mm3((*history.visits, *truth.visits))
    for axes in panels.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25)
        _draw_treatments(axes, treatments, named=axes in panels[0])
    _draw_lesions(panels[0, 0], history, truth, floor_mm3)
    _draw_treated(panels[0, 0], history, treatments, floor_mm3)
    _draw_course(panels[0, 1], "Total volume / mm³", (history, truth), _total_volumes)
    _draw_course(panels[1, 0], "Number of lesions", (history, truth), _counts)
    _draw_course(panels[1, 1], "Tumours ever seen", (history, truth), _cumulative)
    _date_axis(panels[1], [visit.day for visit in history.visits])
    handles, names = panels[0, 0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside lower center", frameon=False, fontsize=8, ncols=8)
    return figure


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """Volumes of one lesion where it is known; 0 where it has gone."""

    days: tuple[date, ...]
    volumes_mm3: tuple[float, ...]
    spacings_mm: tuple[float, ...]


def _curve(history: History, uid: str) -> _Curve:
    """Follow a lesion from its first sighting on: over a gap where it is not shown, and up to its host if it merges."""
    days, volumes, spacings = [], [], []
    for number in range(history.first_seen()[uid], len(history.visits)):
        visit = history.visits[number]
        host = history.host(number, uid)
        sighting = visit.of(host)
        if sighting is None or sighting.presence != Presence.NOT_SHOWN:
            days.append(visit.day)
            volumes.append(sighting.volume_mm3 if sighting else 0.0)
            spacings.append(visit.slice_spacing_mm)
        if host != uid:
            break
    return _Curve(days=tuple(days), volumes_mm3=tuple(volumes), spacings_mm=tuple(spacings))


def _names(history: History) -> list[tuple[str, str]]:
    return list({(one.tracking_uid, one.tracking_id) for visit in history.visits for one in visit.present})


def _floor_mm3(visits: Sequence[Visit]) -> float:
    """Choose where a volume of zero is drawn on a logarithmic axis."""
    return min((one.volume_mm3 for visit in visits for one in visit.present), default=10.0) / 3


def _draw_lesions(axes: Any, history: History, truth: History, floor_mm3: float) -> None:
    looks = lesion_looks([*_names(history), *_names(truth)])
    ids = dict([*_names(truth), *_names(history)])
    ours = {uid: _curve(history, uid) for uid in looks if uid in history.first_seen()}
    largest = sorted(ours, key=lambda uid: -max(ours[uid].volumes_mm3, default=0.0))[:MOST_NAMED]
    for uid, look in looks.items():
        if uid in ours:
            _draw_lesion(axes, ours[uid], look, floor_mm3, name=ids[uid] if uid in largest else None)
        if uid in truth.first_seen():
            true = _curve(truth, uid)
            volumes = np.maximum(true.volumes_mm3, floor_mm3)
            hollow = {"marker": look.marker, "markersize": 5, "markerfacecolor": "white", "markeredgewidth": 0.8}
            axes.plot(true.days, volumes, ":", color=look.colour, linewidth=1.4, zorder=1, **hollow)
    unnamed = f" (key: the {MOST_NAMED} largest of {len(ours)})" if len(ours) > MOST_NAMED else ""
    dotted = "; dotted: reference" if truth.visits else ""
    axes.set(title=f"Volume of each lesion, with 95 % limits{dotted}{unnamed}", ylabel="Volume / mm³")
    axes.title.set_fontsize(10)
    _volume_axis(axes, floor_mm3)


def _draw_lesion(axes: Any, curve: _Curve, look: Look, floor_mm3: float, *, name: str | None) -> None:
    volumes = np.maximum(curve.volumes_mm3, floor_mm3)
    limits = [volume_interval_mm3(v, s) for v, s in zip(curve.volumes_mm3, curve.spacings_mm, strict=True)]
    reach = [
        (max(v - low, 0.0), max(high - v, 0.0)) if high else (0.0, 0.0)
        for v, (low, high) in zip(volumes.tolist(), limits, strict=True)
    ]
    axes.errorbar(
        curve.days, volumes, yerr=np.transpose(reach), fmt="none", ecolor=look.colour, elinewidth=0.8, alpha=0.45
    )
    axes.plot(
        curve.days,
        volumes,
        linestyle=look.stroke,
        color=look.colour,
        linewidth=1.8,
        marker=look.marker,
        markersize=6.5,
        markeredgecolor=INK,
        markeredgewidth=0.7,
        label=name,
    )


def _draw_treatments(axes: Any, treatments: Sequence[Treatment], *, named: bool) -> None:
    by_day: dict[date, set[str]] = {}
    for treatment in treatments:
        by_day.setdefault(treatment.day, set()).add(treatment.kind.value)
    for day, kinds in by_day.items():
        axes.axvline(day, color=GREY, linewidth=1, linestyle=(0, (1, 2)), zorder=0)
        if named:
            place = axes.get_xaxis_transform()
            text = ", ".join(sorted(kinds))
            axes.text(day, 0.98, text, transform=place, rotation=90, va="top", ha="center", fontsize=7, bbox=PAPER)


def _draw_treated(axes: Any, history: History, treatments: Sequence[Treatment], floor_mm3: float) -> None:
    """Put a cross on a lesion's curve where it was treated."""
    for uid, tracking_id in _names(history):
        curve = _curve(history, uid)
        known = [day.toordinal() for day in curve.days]
        for treatment in treatments:
            if treatment.lesion in (uid, tracking_id) and known:
                day = treatment.day.toordinal()
                height = np.exp(np.interp(day, known, np.log(np.maximum(curve.volumes_mm3, floor_mm3))))
                axes.plot([treatment.day], [height], "x", color=INK, markersize=9, markeredgewidth=2, zorder=5)


def _total_volumes(history: History) -> list[float]:
    return [visit.total_volume_mm3 for visit in history.visits]


def _counts(history: History) -> list[float]:
    return [float(len(visit.present)) for visit in history.visits]


def _cumulative(history: History) -> list[float]:
    first = list(history.first_seen().values())
    return [float(sum(number <= place for number in first)) for place in range(len(history.visits))]


def _draw_course(axes: Any, title: str, histories: tuple[History, History], values: Any) -> None:
    """Draw one number per visit, and dotted that of the reference."""
    history, truth = histories
    if truth.visits:
        days = [visit.day for visit in truth.visits]
        axes.plot(days, values(truth), ":", color=INK, linewidth=1.6, marker="o", markerfacecolor="white", markersize=5)
    days = [visit.day for visit in history.visits]
    axes.plot(days, values(history), "-", color=INK, linewidth=1.6, marker="o", markersize=5)
    axes.set_title(title, fontsize=10)
    axes.set_ylim(0, 1.1 * max((*values(history), *values(truth), 1.0)))
    if all(float(value).is_integer() for value in values(history)):
        axes.yaxis.set_major_locator(mticker.MaxNLocator(integer=True))


def _date_axis(bottom: Any, days: Sequence[date]) -> None:
    """Name the days of visits; of many, some at equal places in their row, the first and the last among them."""
    places = np.unique(np.linspace(0, len(days) - 1, MOST_DATES).astype(int))
    for axes in bottom:
        axes.set_xticks([days[place] for place in places], labels=[days[place].isoformat() for place in places])
        axes.tick_params(axis="x", rotation=30, labelsize=8)
        axes.set_xlabel("Date of study")
        axes.margins(x=0.06)


def _volume_axis(axes: Any, floor_mm3: float) -> None:
    """Make a logarithmic axis whose lowest tick stands for "no lesion"."""
    axes.set_yscale("log")
    axes.set_ylim(bottom=floor_mm3 * 0.8)
    decades = [10.0**power for power in range(-1, 6) if 10.0**power > floor_mm3 * 1.3]
    axes.yaxis.set_major_locator(mticker.FixedLocator([floor_mm3, *decades]))
    axes.yaxis.set_minor_formatter(mticker.NullFormatter())
    axes.yaxis.set_major_formatter(mticker.FuncFormatter(lambda v, _: "none" if v == floor_mm3 else f"{v:,g}"))
