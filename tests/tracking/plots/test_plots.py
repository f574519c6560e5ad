"""What the lines of a figure say, read back from matplotlib; that a figure pleases the eye is not covered here."""

from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.tracking.visits import FIRST_DAY, merged, sighting, sizes, visit
from tracking.colour import lesion_colour_rgb
from tracking.plots import growth_figure, lesion_looks, save_figure
from tracking.treatments import Treatment, TreatmentKind

LESIONS, TOTAL, COUNT, EVER = range(4)
COURSE = [
    sizes(0, L1=10, L2=8),
    sizes(60, L1=0, L2=None, L3=4),
    visit(120, sighting("L1", 0), sighting("L2", 12), merged("L3", "L2")),
]


def line(figure: Figure, label: str) -> Any:
    return next(one for one in figure.axes[LESIONS].lines if one.get_label() == label)


def heights(figure: Figure, panel: int, stroke: str = "-") -> list[list[float]]:
    """Values of the courses in a panel; lines of treatments have two points at 0 and 1."""
    lines = [one for one in figure.axes[panel].lines if one.get_marker() == "o" and one.get_linestyle() == stroke]
    return [list(one.get_ydata()) for one in lines]


def test_the_four_panels_say_what_the_visits_say() -> None:
    figure = growth_figure(COURSE)
    assert heights(figure, TOTAL) == [[0.5 * 10**3 + 0.5 * 8**3, 0.5 * 4**3, 0.5 * 12**3]]
    assert heights(figure, COUNT) == [[2, 1, 1]]
    assert heights(figure, EVER) == [[2, 3, 3]]


def test_a_lesion_that_is_gone_is_drawn_at_none_and_one_that_is_not_shown_is_left_out() -> None:
    figure = growth_figure(COURSE)
    floor = 0.5 * 4**3 / 3
    assert line(figure, "L1").get_ydata() == pytest.approx([500, floor, floor])
    assert line(figure, "L2").get_ydata() == pytest.approx([256, 864])
    labels = figure.axes[LESIONS].yaxis.get_major_formatter()
    assert labels(floor, 0) == "none"


def test_a_lesion_that_merges_ends_at_its_host() -> None:
    figure = growth_figure([*COURSE, sizes(180, L2=12)])
    assert line(figure, "L3").get_ydata() == pytest.approx([32, 864])


def test_a_lesion_has_its_colour_and_no_two_look_alike_in_grey() -> None:
    names = [(f"2.25.{number}", f"L{number}") for number in range(1, 49)]
    looks = lesion_looks(names[::-1])
    for first, second in combinations(looks.values(), 2):
        assert (first.marker, first.stroke) != (second.marker, second.stroke)
    for uid, tracking_id in names:
        assert looks[uid].colour == "#{:02x}{:02x}{:02x}".format(*lesion_colour_rgb(tracking_id))
    assert lesion_looks(names[:3])["2.25.2"] == looks["2.25.2"]
    assert line(growth_figure(COURSE), "L1").get_color() == lesion_looks([("2.25.L1", "L1")])["2.25.L1"].colour


def test_colours_are_bright_and_last() -> None:
    assert lesion_colour_rgb("L1") == lesion_colour_rgb("L1")
    colours = np.array([lesion_colour_rgb(f"L{number}") for number in range(1, 200)])
    assert colours.max(axis=1).min() >= 200
    assert len(np.unique(colours, axis=0)) == 199


def test_the_first_lesions_are_plainly_of_other_colours() -> None:
    colours = np.array([lesion_colour_rgb(f"L{number}") for number in range(1, 13)], float)
    apart = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
    assert apart[~np.eye(12, dtype=bool)].min() > 50


def test_references_are_dotted() -> None:
    reference = [sizes(0, L1=11, L2=8), sizes(60, L1=2, L3=4)]
    figure = growth_figure(COURSE, references=reference)
    dotted = [one for one in figure.axes[LESIONS].lines if one.get_linestyle() == ":"]
    assert [round(value) for one in dotted for value in one.get_ydata()] == [666, 4, 256, 1, 32]
    assert "dotted: reference" in figure.axes[LESIONS].get_title()
    assert heights(figure, COUNT, ":") == [[2, 2]]


def test_treatments_stand_on_the_curves() -> None:
    day = FIRST_DAY + timedelta(days=30)
    figure = growth_figure(
        COURSE,
        [
            Treatment(day=day, kind=TreatmentKind.RADIOSURGERY, lesion="L1"),
            Treatment(day=day, kind=TreatmentKind.IMMUNOTHERAPY),
        ],
    )
    (cross,) = [one for one in figure.axes[LESIONS].lines if one.get_marker() == "x"]
    floor = 0.5 * 4**3 / 3
    assert cross.get_ydata() == pytest.approx([np.sqrt(500 * floor)])  # half way on a logarithmic axis
    assert "immunotherapy, radiosurgery" in [text.get_text() for text in figure.axes[LESIONS].texts]


def test_of_many_lesions_the_largest_are_named() -> None:
    figure = growth_figure([sizes(0, **{f"L{number}": number + 1.0 for number in range(40)})])
    named = [one.get_label() for one in figure.axes[LESIONS].lines if not one.get_label().startswith("_")]
    assert set(named) == {f"L{number}" for number in range(16, 40)}
    assert "the 24 largest of 40" in figure.axes[LESIONS].get_title()


def test_a_patient_without_lesions_can_be_drawn_and_one_without_visits_not() -> None:
    figure = growth_figure([visit(0), visit(60)])
    assert heights(figure, COUNT) == [[0, 0]]
    with pytest.raises(ValueError, match="no visit to draw"):
        growth_figure([])


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_same_figure_gives_the_same_bytes(tmp_path: Path, ending: str) -> None:
    for name in ("first", "second"):
        save_figure(growth_figure(COURSE), tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"first.{ending}").read_bytes() == (tmp_path / f"second.{ending}").read_bytes()
