"""The result on the terminal: one line per lesion, the truth beside what was reported, nothing left out."""

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from dicom_node.demo.followup import WRONG_STATE, Figures, Row, StudyResult
from dicom_node.demo.outcome import DemoOutcome


def study_table(result: StudyResult) -> Table:
    """Return the table of one study, 80 columns wide; volumes in mm³, diameters in mm, change in per cent."""
    table = Table(
        title=f"Study of {result.truth.study_date.isoformat()}",
        title_justify="left",
        title_style="bold",
        caption="mm³: volume in the prior and in this study; mm: diameters; cyan: the truth",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
        pad_edge=False,
    )
    table.add_column("Lesion", no_wrap=True)
    table.add_column("State", no_wrap=True)
    for name in ("then\nmm³", "now\nmm³", "change\n%", "axes\nmm"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("true\nname", style="cyan")
    for name in ("then\nmm³", "now\nmm³", "axis\nmm"):
        table.add_column(name, justify="right", style="cyan", no_wrap=True)
    table.add_column("Verdict", min_width=9)
    for row in result.rows:
        table.add_row(*_reported_cells(row), *_true_cells(row), _verdict(row))
    return table


def summary(outcome: DemoOutcome) -> Group:
    """Return the closing lines: how near it came, and how long it took."""
    figures = outcome.figures
    seconds = ", ".join(f"{stage} {value:.0f} s" for stage, value in outcome.timings_s.items())
    return Group(
        Text.assemble(("How near it came: ", "bold"), _near(figures)),
        Text.assemble(("Time: ", "bold"), f"{sum(outcome.timings_s.values()):.0f} s in all: {seconds}"),
    )


def _near(figures: Figures) -> str:
    volume = "–" if figures.volume_error_percent is None else f"{figures.volume_error_percent:.1f} %"
    diameter = "–" if figures.diameter_error_mm is None else f"{figures.diameter_error_mm:.1f} mm"
    joined = f", {figures.joined} only joined with a neighbour" if figures.joined else ""
    return (
        f"{figures.found} of {figures.lesions} lesions found{joined}; {figures.false_positives} false positives; "
        f"median error {volume} of volume and {diameter} of diameter; "
        f"{figures.identities_kept} of {figures.identities} identities kept; "
        f"{figures.states_right} of {figures.states} states right, of those that could be judged."
    )


def _reported_cells(row: Row) -> tuple[Text | str, ...]:
    finding = row.finding
    if finding is None:
        return "–", "", "", "", "", ""
    name = Text.assemble(("■ ", finding.colour), finding.tracking_id)
    axes = f"{finding.longest_diameter_mm:.1f}×{finding.perpendicular_diameter_mm:.1f}" if finding.number else "–"
    return (
        name,
        finding.state,
        volume_text(finding.prior_volume_mm3),
        volume_text(finding.volume_mm3),
        change_text(finding.change_percent),
        axes,
    )


def _true_cells(row: Row) -> tuple[str, ...]:
    diameter = f"{row.true_diameter_mm:.1f}" if row.true_diameter_mm else "–"
    return (
        "+".join(row.names) or "–",
        volume_text(row.true_prior_volume_mm3),
        volume_text(row.true_volume_mm3),
        diameter,
    )


def _verdict(row: Row) -> Text:
    # What it truly is stands here only where the node said otherwise, to keep the table narrow.
    text = f"is {row.expected_state}" if row.verdict == WRONG_STATE else row.verdict
    style = {"right": "green", "missed before": "dim", "false positive before": "dim"}.get(row.verdict, "red")
    return Text(text, style=style)


def volume_text(volume_mm3: float | None) -> str:
    """Return a volume with as many digits as it deserves; a dash for none."""
    if volume_mm3 is None:
        return "–"
    return f"{volume_mm3:.1f}" if 0 < volume_mm3 < 10 else f"{volume_mm3:.0f}"


def change_text(change_percent: float | None) -> str:
    """Return a signed percentage; a dash where there is nothing to compare with."""
    return "–" if change_percent is None else f"{change_percent:+.0f}".replace("-", "−")
