"""What ``dicom-node jobs`` knows: jobs, objects in quarantine, and notices of what could not become either.

Design rule: it reads what other processes keep and changes nothing, and loads little, so that it answers at once.
"""

import hashlib
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dicom_node.errors import NodeError
from dicom_node.jobs.table import JobRecord, read_jobs
from dicom_node.notices import Notice, read_notices

_TIMES = ("received_at_s", "started_at_s", "finished_at_s", "step_started_at_s")
_SHORTEST_ID = 8


def list_jobs(*, table: Path, quarantine_folder: Path, notices_folder: Path) -> list[dict[str, Any]]:
    """Return everything as JSON values: notices, then objects in quarantine, then the jobs, oldest study first.

    Each entry has the keys of a job; ``kind`` is ``job``, ``quarantine`` or ``notice``, and the latter two have
    ``count``, ``first_at`` and ``last_at`` besides. Times are ISO 8601, UTC; ``progress`` goes from 0 to 1;
    ``short_id`` names the entry among all that there are now.
    """
    entries = [
        *map(_notice_entry, read_notices(notices_folder)),
        *_quarantined(quarantine_folder),
        *(_entry(record) for record in read_jobs(table)),
    ]
    names = [_last_part(entry["job_id"]) for entry in entries]
    length = _telling_length(names)
    return [{"short_id": name[:length]} | entry for name, entry in zip(names, entries, strict=True)]


def find_job(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return the job of this name, of this study (its latest revision), or the only one whose ID begins so.

    Raises
    ------
    NodeError
        There is none, or more than one.
    """
    exact = [entry for entry in entries if name and name in (entry["job_id"], entry["study_uid"])]
    if exact:
        return max(exact, key=_telling)
    matches = [entry for entry in entries if name and _is_beginning(name, entry["job_id"])]
    if len(matches) == 1:
        return matches[0]
    found = f"{len(matches)} jobs begin so" if matches else "there is none"
    raise NodeError(f"No job is named {name} ({found}): `dicom-node jobs` lists them all.")


def _telling(entry: dict[str, Any]) -> tuple[bool, bool, str]:
    """Sort jobs behind what is in quarantine, the latest revision last."""
    return entry["kind"] == "job", entry["state"] != "replaced", entry["received_at"]


def _is_beginning(name: str, job_id: str) -> bool:
    return job_id.startswith(name) or _last_part(job_id).startswith(name)


def _last_part(job_id: str) -> str:
    """Return the hash at the end of an ID, which tells jobs apart as well as the whole of it."""
    return job_id.rpartition(":")[2]


def _telling_length(names: list[str]) -> int:
    """Return how many characters tell all names apart, or would if they were not equal."""
    longest = max(map(len, names), default=0)
    return next(
        (n for n in range(_SHORTEST_ID, longest) if len({name[:n] for name in names}) == len(set(names))),
        max(longest, _SHORTEST_ID),
    )


def _entry(record: JobRecord) -> dict[str, Any]:
    return {
        "kind": "job",
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
        **{name.removesuffix("_s"): _iso(getattr(record, name)) for name in _TIMES},
        "retry_at": _iso(record.retry_at_s) if record.state == "waiting" and record.retry_at_s else None,
        "timings_s": record.timings_s,
        "outcome": record.outcome,
    }


def _progress(record: JobRecord) -> float:
    if record.state == "done":
        return 1.0
    return round(min(record.steps_done / record.steps_total, 1.0), 3) if record.steps_total else 0.0


def _notice_entry(notice: Notice) -> dict[str, Any]:
    identity = hashlib.sha256("\n".join((notice.kind, notice.source, notice.reason)).encode()).hexdigest()[:16]
    return _entry_without_job(
        "notice",
        job_id=f"notice:{identity}",
        reason=f"{_what_happened(notice)} {notice.reason}",
        count=notice.count,
        times_s=[notice.first_at_s, notice.last_at_s],
    )


def _what_happened(notice: Notice) -> str:
    how_often = "once" if notice.count == 1 else f"{notice.count} times"
    if notice.kind == "association":
        return f"{notice.source} was refused {how_often}."
    if notice.kind == "instance":
        return f"{_counted(notice.count, 'object')} from {notice.source} {_were(notice.count)} refused."
    return f"The {notice.source} ended {how_often} and is started again."


def _quarantined(folder: Path) -> list[dict[str, Any]]:
    """Return one entry per study and reason."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            refused = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            continue  # It was just removed; none is ever seen half-written.
        except (OSError, ValueError) as error:
            refused = _without_reason(path, error)
        groups.setdefault((refused["study_uid"], refused["reason"]), []).append(refused)
    return [_refused_entry(study_uid, reason, refused) for (study_uid, reason), refused in groups.items()]


def _without_reason(path: Path, error: Exception) -> dict[str, Any]:
    """Return what stands for a reason file that cannot be read: the object beside it was refused all the same."""
    return {
        "study_uid": "",
        "reason": f"The reason in {path.name} cannot be read ({type(error).__name__}); look at the quarantine folder.",
        "received_at": datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(),
        "calling_ae_title": "not known",
        "file_name": path.name,
    }


def _refused_entry(study_uid: str, reason: str, refused: list[dict[str, Any]]) -> dict[str, Any]:
    first = min(refused, key=lambda item: str(item["received_at"]))
    count = len(refused)
    kept = f"{_counted(count, 'object')} {_were(count)} refused and {'is' if count == 1 else 'are'} kept in quarantine"
    senders = " and ".join(sorted({repr(item["calling_ae_title"]) for item in refused}))
    entry = _entry_without_job(
        "quarantine",
        job_id="quarantine:" + Path(first["file_name"]).stem,
        reason=f"{kept}: {reason} Sent by {senders}.",
        count=count,
        times_s=sorted(datetime.fromisoformat(item["received_at"]).timestamp() for item in refused),
    )
    return entry | {"study_uid": study_uid, "instance_count": count}


def _entry_without_job(kind: str, *, job_id: str, reason: str, count: int, times_s: list[float]) -> dict[str, Any]:
    empty = JobRecord(
        job_id=job_id,
        study_uid="",
        patient_key="",
        study_time="",
        instance_count=0,
        state="attention",
        reason=reason,
        received_at_s=times_s[0],
    )
    return _entry(empty) | {
        "kind": kind,
        "count": count,
        "first_at": _iso(times_s[0]),
        "last_at": _iso(times_s[-1]),
    }


def count_entries(entries: list[dict[str, Any]]) -> str:
    """Return how many jobs there are in each state, as one line."""
    states = Counter(entry["state"] for entry in entries if entry["kind"] == "job")
    others = Counter(entry["kind"] for entry in entries if entry["kind"] != "job")
    parts = [f"{count} {state}" for state, count in states.most_common()]
    text = f"{_counted(states.total(), 'job')}{': ' if parts else ''}{', '.join(parts)}"
    if others["notice"]:
        text += f"; {_counted(others['notice'], 'notice')}"
    return text + (f"; {others['quarantine']} in quarantine" if others["quarantine"] else "")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
