"""The table of jobs, written by one and read by others, and what ``dicom-node jobs`` makes of it."""

import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from dicom_node.errors import NodeError
from dicom_node.jobs.listing import find_job, jobs_table, list_jobs, print_job
from dicom_node.jobs.table import JobRecord, JobTable, read_jobs
from dicom_node.network.inbox import Inbox, ReceivedInstance

OUTCOME = {
    "study_uid": "1.1",
    "prior_study_uid": None,
    "series": [
        {"series_uid": "1.1.1", "series_number": 3, "description": "[t1]", "role": "T1c", "reason": "gadolinium"},
        {"series_uid": "1.1.2", "series_number": None, "description": "", "role": None, "reason": "a localizer"},
    ],
    "result_uids": {"SEG": "1.5", "SR": "1.6"},
    "lesion_count": 2,
    "remarks": ["no prior"],
    "timings_s": {},
}


def record(job_id: str, *, study_time: str = "20240101000000", received_at_s: float = 1.7e9) -> JobRecord:
    return JobRecord(
        job_id=job_id,
        study_uid=job_id.partition(":")[0],
        patient_key="p",
        study_time=study_time,
        instance_count=3,
        state="waiting",
        received_at_s=received_at_s,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs" / "jobs.sqlite"


def listed(path: Path) -> list[dict[str, object]]:
    return list_jobs(table=path, quarantine_folder=path.parents[1] / "quarantine")


def test_way_of_a_job(path: Path) -> None:
    table = JobTable(path)
    assert table.add(record("1.1:a"))
    assert not table.add(record("1.1:a"))
    table.mark_started("1.1:a", steps_total=4)
    table.mark_step("1.1:a", "read")
    table.mark_step_done("1.1:a", "read", seconds=1.5)
    (running,) = listed(path)
    assert (running["state"], running["step"], running["progress"]) == ("running", "read", 0.25)
    table.mark_retry("1.1:a", "The disk is full.", step="read", failures=1, retry_at_s=time.time() + 9)
    assert listed(path)[0]["reason"] == "The disk is full."
    table.mark_done("1.1:a", OUTCOME)
    (done,) = listed(path)
    assert (done["state"], done["progress"], done["outcome"], done["timings_s"]) == (
        "done",
        1.0,
        OUTCOME,
        {"read": 1.5},
    )


def test_reader_sees_a_table_that_is_written_and_one_whose_writer_died(path: Path) -> None:
    assert read_jobs(path) == []
    table = JobTable(path)
    table.add(record("1.1:a"))
    assert len(read_jobs(path)) == 1
    del table
    assert len(read_jobs(path)) == 1


def test_damaged_table_is_named(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(NodeError, match=r"jobs.sqlite cannot be read"):
        read_jobs(path)


def test_earlier_studies_come_first_and_undated_last(path: Path) -> None:
    table = JobTable(path)
    for job_id, study_time in [("1.1:a", ""), ("1.2:b", "20250101000000"), ("1.3:c", "20240101000000")]:
        table.add(record(job_id, study_time=study_time))
    assert [job.job_id for job in table.records("waiting")] == ["1.3:c", "1.2:b", "1.1:a"]
    assert table.records("done") == []


def test_job_is_found_by_study_or_beginning(path: Path) -> None:
    table = JobTable(path)
    for job_id in ("1.1:a", "1.1:b", "1.2:c"):
        table.add(record(job_id))
    table.mark_replaced("1.1:a", "later")
    entries = listed(path)
    assert find_job(entries, "1.1")["job_id"] == "1.1:b"
    assert find_job(entries, "1.1:a")["state"] == "replaced"
    assert find_job(entries, "1.2:")["job_id"] == "1.2:c"
    for name in ("1.", "7"):
        with pytest.raises(NodeError, match="dicom-node jobs"):
            find_job(entries, name)


def test_refused_objects_are_listed(tmp_path: Path, path: Path) -> None:
    inbox = Inbox(tmp_path / "incoming", tmp_path / "quarantine")
    for number in range(2):
        cut_off = ReceivedInstance(
            data=b"\x08\x00\x16\x00UI\xff\x00" + bytes([number]),
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
            sop_instance_uid=f"1.1.{number}",
            calling_ae_title="SCANNER",
        )
        assert inbox.keep(cut_off) != 0
    (entry,) = listed(path)
    assert entry["state"] == "attention"
    assert str(entry["reason"]).startswith("2 objects were refused and are kept in quarantine: ")
    assert str(entry["job_id"]).startswith("quarantine:")


def test_listing_is_json_and_text(path: Path) -> None:
    table = JobTable(path)
    table.add(record("1.1:a"))
    table.mark_done("1.1:a", OUTCOME)
    entries = listed(path)
    assert json.loads(json.dumps(entries)) == entries
    console = Console(record=True, width=200)
    console.print(jobs_table(entries))
    print_job(entries[0], console)
    text = console.export_text()
    for word in ("2 lesions; SEG, SR delivered", "[t1]", "a localizer", "no prior", "1.6", "T1c"):
        assert word in text
