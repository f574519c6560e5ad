"""How a lesion looks in every figure: its own colour, and a marker and a stroke that tell it apart in grey."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from tracking.colour import lesion_colour_rgb
from tracking.identity import tracking_order

MARKERS = "osD^vPX<>ph*"
STROKES = ("-", (0, (5, 1.5)), (0, (3, 1.2, 1, 1.2)), (0, (8, 1.5, 1, 1.5, 1, 1.5)))  # dotted is for references
Stroke = str | tuple[float, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class Look:
    """Colour (``#rrggbb``), marker and stroke (matplotlib) of one line; marker and stroke tell it apart in grey."""

    colour: str
    marker: str
    stroke: Stroke


def lesion_looks(names: Iterable[tuple[str, str]]) -> dict[str, Look]:
    """Return a look for each (tracking UID, tracking ID), in order of the IDs; the first 48 differ in grey too."""
    ordered = sorted(set(names), key=lambda name: tracking_order(name[1]))
    return {
        uid: Look(
            colour="#{:02x}{:02x}{:02x}".format(*lesion_colour_rgb(tracking_id)),
            marker=MARKERS[place % len(MARKERS)],
            stroke=STROKES[(place + place // len(MARKERS)) % len(STROKES)],
        )
        for place, (uid, tracking_id) in enumerate(ordered)
    }


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure; the ending of the name says how (png, svg, pdf). The same figure gives the same bytes."""
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix, {"Software": None})
    with mpl.rc_context({"svg.hashsalt": "brainmets"}):
        figure.savefig(path, dpi=160, metadata=metadata)
