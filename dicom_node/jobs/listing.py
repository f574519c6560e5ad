"""What ``dicom-node jobs`` shows: jobs, and objects that were refused before they could become one.

Design rule: it reads what other processes keep and changes nothing, and loads little, so that it answers at once.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from dicom_node.errors import NodeError
from dicom_node.jobs.table import JobRecord, read_jobs

_STYLES = {"done": "green", "attention": "bold red", "running": "cyan", "waiting": "yellow", "replaced": "dim"}
_TIMES = ("received_at_s", "started_at_s", "finished_at_s", "step_started_at_s")


def list_jobs(*, table: Path, quarantine_folder: Path) -> list[dict[str, Any]]:
    """Return everything as JSON values: refused objects first, then the jobs, oldest study first.

    Times are ISO 8601, UTC; ``progress`` goes from 0 to 1.
    """
    return [*_quarantined(quarantine_folder), *(_entry(record) for record in read_jobs(table))]


def find_job(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return the job of this name, of this study (its latest revision), or the only one whose ID begins so.

    Raises
    ------
    NodeError
        There is none, or more than one.
    """
    exact = [entry for entry in entries if name in (entry["job_id"], entry["study_uid"])]
    if exact:
        return max(exact, key=lambda entry: (entry["state"] != "replaced", entry["received_at"]))
    matches = [entry for entry in entries if entry["job_id"].startswith(name)]
    if len(matches) == 1:
        return matches[0]
    found = f"{len(matches)} jobs begin so" if matches else "there is none"
    raise NodeError(f"No job is named {name} ({found}): `dicom-node jobs` lists them all.")


def jobs_table(entries: list[dict[str, Any]]) -> RenderableType:
    """Lay all jobs out for the terminal."""
    if not entries:
        return Text("No jobs yet: send a study, or see `dicom-node check`.")
    table = Table("study", "state", "step", "progress", "received (UTC)", "reason", expand=True)
    for entry in entries:
        table.add_row(
            Text(entry["study_uid"], overflow="fold"),
            Text(entry["state"], style=_STYLES[entry["state"]]),
            Text(entry["step"]),
            f"{entry['progress']:.0%}",
            entry["received_at"][:16].replace("T", " "),
            Text(entry["reason"] or _summary(entry)),
        )
    return table


def print_job(entry: dict[str, Any], console: Console) -> None:
    """Print one job with everything that is known of it."""
    plain = ("job_id", "study_uid", "state", "step", "reason", "instance_count", "failures", *map(_iso_name, _TIMES))
    for name in plain:
        if entry[name] not in ("", None, 0):
            console.print(Text(f"{name.replace('_', ' '):<16} {entry[name]}"), soft_wrap=True)
    for step, seconds in entry["timings_s"].items():
        console.print(Text(f"  {step:<22} {seconds:8.1f} s"))
    if entry["outcome"] is not None:
        _print_outcome(entry["outcome"], console)


def _print_outcome(outcome: dict[str, Any], console: Console) -> None:
    console.print(Text(f"prior study      {outcome['prior_study_uid'] or 'none'}"), soft_wrap=True)
    console.print(Text(f"lesions          {outcome['lesion_count']}"))
    for kind, uid in outcome["result_uids"].items():
        console.print(Text(f"{kind:<16} {uid}"), soft_wrap=True)
    for remark in outcome["remarks"]:
        console.print(Text(f"remark           {remark}"), soft_wrap=True)
    console.print(series_table(outcome["series"]))


def series_table(series: list[dict[str, Any]]) -> Table:
    """Lay out the role of every series, or the reason why it has none."""
    table = Table("series", "description", "role", "reason")
    for decision in series:
        number = decision["series_number"]
        table.add_row(
            "" if number is None else str(number),
            Text(decision["description"]),
            decision["role"] or "-",
            Text(decision["reason"]),
        )
    return table


def _entry(record: JobRecord) -> dict[str, Any]:
    outcome = record.outcome
    return {
        "job_id": record.job_id,
        "study_uid": record.study_uid,
        "state": record.state,
        "step": record.step,
        "steps_done": record.steps_done,
        "steps_total": record.steps_total,
        "progress": _progress(record),
        "reason": record.reason,
        "instance_count": record.instance_count,
        "failures": record.failures,
        **{_iso_name(name): _iso(getattr(record, name)) for name in _TIMES},
        "retry_at": _iso(record.retry_at_s) if record.state == "waiting" and record.retry_at_s else None,
        "timings_s": record.timings_s,
        "outcome": outcome,
    }


def _progress(record: JobRecord) -> float:
    if record.state == "done":
        return 1.0
    return round(min(record.steps_done / record.steps_total, 1.0), 3) if record.steps_total else 0.0


def _quarantined(folder: Path) -> list[dict[str, Any]]:
    """Return one entry per study and reason."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            refused = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue  # It is being written, or was just removed.
        groups.setdefault((refused["study_uid"], refused["reason"]), []).append(refused)
    return [_refused_entry(study_uid, reason, refused) for (study_uid, reason), refused in groups.items()]


def _refused_entry(study_uid: str, reason: str, refused: list[dict[str, Any]]) -> dict[str, Any]:
    first = min(refused, key=lambda item: str(item["received_at"]))
    empty = JobRecord(
        job_id="quarantine:" + Path(first["file_name"]).stem,
        study_uid=study_uid,
        patient_key="",
        study_time="",
        instance_count=len(refused),
        state="attention",
        reason=f"{len(refused)} objects were refused and are kept in quarantine: {reason}",
        received_at_s=datetime.fromisoformat(first["received_at"]).timestamp(),
    )
    return _entry(empty)


def _summary(entry: dict[str, Any]) -> str:
    outcome = entry["outcome"]
    if outcome is None:
        return ""
    count = outcome["lesion_count"]
    return f"{count} lesion{'' if count == 1 else 's'}; {', '.join(outcome['result_uids'])} delivered"


def _iso_name(name: str) -> str:
    return name.removesuffix("_s")


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
