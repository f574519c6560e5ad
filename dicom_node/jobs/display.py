"""Jobs on the terminal: one line each with what is short, and below it, in words that are not cut, what is long.

Design rule: it reads well at 80 columns, where a Study Instance UID alone takes up to 64.
"""

from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dicom_node.jobs.listing import count_entries

_STYLES = {"done": "green", "attention": "bold red", "running": "cyan", "waiting": "yellow", "replaced": "dim"}
_LABEL_WIDTH = 14  # leaves 65 of 80 columns
_INDENT = 4
_FIELDS = {"state": "state", "step": "step", "reason": "reason", "instance_count": "instances", "failures": "failures"}
_TIMES = {
    "received_at": "received",
    "started_at": "started",
    "step_started_at": "step started",
    "retry_at": "tried again",
    "finished_at": "finished",
    "last_at": "last",
}


def jobs_overview(entries: list[dict[str, Any]]) -> RenderableType:
    """Lay all entries of `list_jobs` out for the terminal, newest study last."""
    rows = [_row(entry) for entry in entries]
    head = ("id", "state", "done", "step", "received (UTC)", "took")
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    blocks: list[RenderableType] = [Text(_aligned(head, widths), style="dim")]
    for entry, row in zip(entries, rows, strict=True):
        line = Text(_aligned(row, widths))
        line.stylize(_STYLES[entry["state"]], widths[0] + 2, sum(widths[:2]) + 2)
        blocks += [line, *(Padding(Text(text), (0, 0, 0, _INDENT), expand=False) for text in _below(entry))]
    blocks.append(Text(f"{count_entries(entries)}. `dicom-node jobs ID` tells all of one.", style="dim"))
    return Group(*blocks)


def print_job(entry: dict[str, Any], console: Console) -> None:
    """Print one entry with everything that is known of it; of its ID the part that tells it from others."""
    grid = _grid()
    grid.add_row("id", entry["job_id"].rpartition(":")[2])
    grid.add_row("study", entry["study_uid"] or "unknown")
    for name, label in _FIELDS.items():
        if entry[name] not in ("", 0):
            grid.add_row(label, Text(str(entry[name])))
    for name, label in _TIMES.items():
        if entry.get(name) is not None:
            grid.add_row(label, _time(entry[name], seconds=True) + " UTC")
    for step, seconds in entry["timings_s"].items():
        grid.add_row("", f"{step:<22} {seconds:8.1f} s")
    console.print(grid)
    if entry["outcome"] is not None:
        _print_outcome(entry["outcome"], console)


def series_list(series: list[dict[str, Any]]) -> RenderableType:
    """Lay out the role of every series, and below it the reason for it or why it has none."""
    blocks: list[RenderableType] = []
    for decision in series:
        number = "-" if decision["series_number"] is None else decision["series_number"]
        role = decision["role"] or "no role"
        blocks.append(Text(f"series {number}  {role}  {decision['description']}".rstrip()))
        blocks.append(Padding(Text(decision["reason"]), (0, 0, 0, _INDENT), expand=False))
    return Group(*blocks)


def _print_outcome(outcome: dict[str, Any], console: Console) -> None:
    grid = _grid()
    grid.add_row("prior study", outcome["prior_study_uid"] or "none")
    grid.add_row("lesions", str(outcome["lesion_count"]))
    for kind, uid in outcome["result_uids"].items():
        grid.add_row(kind, uid)
    for remark in outcome["remarks"]:
        grid.add_row("remark", Text(remark))
    console.print(grid)
    console.print(series_list(outcome["series"]))


def _grid() -> Table:
    """Return two columns: labels, and texts that wrap between words."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=_LABEL_WIDTH, style="dim")
    grid.add_column(overflow="fold")
    return grid


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    is_job = entry["kind"] == "job"
    return (
        entry["short_id"],
        entry["state"],
        f"{entry['progress']:.0%}" if is_job else "",
        entry["step"] if is_job else entry["kind"],
        _time(entry["received_at"]),
        _took(entry),
    )


def _below(entry: dict[str, Any]) -> list[str]:
    """Return the lines under a job: its study, and why it is where it is."""
    text = entry["reason"] or _summary(entry)
    if entry["kind"] != "job" and entry["count"] > 1:
        text += f" Last at {_time(entry['last_at'])}."
    study = f"study {entry['study_uid']}" if entry["study_uid"] else ""
    return [line for line in (study, text) if line]


def _summary(entry: dict[str, Any]) -> str:
    outcome = entry["outcome"]
    if outcome is None:
        return ""
    count = outcome["lesion_count"]
    return f"{count} lesion{'' if count == 1 else 's'}; {', '.join(outcome['result_uids'])} delivered"


def _took(entry: dict[str, Any]) -> str:
    """Return the time since the job was first started, up to now or to its end, as minutes and seconds."""
    if entry["started_at"] is None:
        return ""
    end = datetime.fromisoformat(entry["finished_at"]) if entry["finished_at"] else datetime.now(UTC)
    minutes, seconds = divmod(round((end - datetime.fromisoformat(entry["started_at"])).total_seconds()), 60)
    return f"{minutes}:{seconds:02}"


def _time(iso: str, *, seconds: bool = False) -> str:
    return iso[: 19 if seconds else 16].replace("T", " ")


def _aligned(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
