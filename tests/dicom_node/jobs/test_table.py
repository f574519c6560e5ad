"""The table of jobs, written by one and read by others, and what ``dicom-node jobs`` makes of it and of notices."""

import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from dicom_node.errors import NodeError
from dicom_node.jobs.display import jobs_overview, print_job
from dicom_node.jobs.listing import find_job, list_jobs
from dicom_node.jobs.table import JobRecord, JobTable, read_jobs
from dicom_node.network.inbox import Inbox, ReceivedInstance
from dicom_node.notices import NoticeBoard

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
    data = path.parents[1]
    return list_jobs(table=path, quarantine_folder=data / "quarantine", notices_folder=data / "notices")


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


def test_reason_for_the_wait_in_the_queue_does_not_touch_a_job_that_has_begun(path: Path) -> None:
    table = JobTable(path)
    table.add(record("1.1:a"))
    table.mark_waiting("1.1:a", "Waits for an earlier study.")
    table.mark_queued("1.1:a", "Waits for its turn.")
    assert table.get("1.1:a").reason == "Waits for its turn."
    table.mark_started("1.1:a", steps_total=4)
    table.mark_queued("1.1:a", "Waits for its turn.")
    assert (table.get("1.1:a").state, table.get("1.1:a").reason) == ("running", "")


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


def refuse(folder: Path, count: int, ae_title: str = "SCANNER") -> None:
    inbox = Inbox(folder / "incoming", folder / "quarantine")
    for number in range(count):
        cut_off = ReceivedInstance(
            data=b"\x08\x00\x16\x00UI\xff\x00" + bytes([number]),
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
            sop_instance_uid=f"1.1.{number}",
            calling_ae_title=ae_title,
        )
        assert inbox.keep(cut_off) != 0


def test_a_refused_object_whose_reason_cannot_be_read_is_listed_too(tmp_path: Path, path: Path) -> None:
    refuse(tmp_path, 2)
    broken = min((tmp_path / "quarantine").glob("*.json"))
    broken.write_text("{ cut off")
    entries = listed(path)
    assert [entry["count"] for entry in entries] == [1, 1]
    assert any(f"The reason in {broken.name} cannot be read" in str(entry["reason"]) for entry in entries)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (1, "1 object was refused and is kept in quarantine: "),
        (2, "2 objects were refused and are kept in quarantine: "),
    ],
)
def test_refused_objects_are_listed(tmp_path: Path, path: Path, count: int, words: str) -> None:
    refuse(tmp_path, count)
    (entry,) = listed(path)
    assert (entry["kind"], entry["state"], entry["count"]) == ("quarantine", "attention", count)
    assert str(entry["reason"]).startswith(words)
    assert str(entry["reason"]).endswith("Sent by 'SCANNER'.")
    assert str(entry["job_id"]).startswith("quarantine:")


def test_notices_are_listed_with_their_count_and_times(tmp_path: Path, path: Path) -> None:
    board = NoticeBoard(tmp_path / "notices" / "listener")
    for _ in range(2):
        board.tell("association", "'PACS' at 10.0.0.1", "It called 'X'.")
    board.tell("instance", "'PACS'", "The disk is full.")
    NoticeBoard(tmp_path / "notices" / "serve").tell("process", "worker", "It ended with exit status 1: no model.")
    entries = listed(path)
    assert [(entry["reason"], entry["count"]) for entry in entries] == [
        ("'PACS' at 10.0.0.1 was refused 2 times. It called 'X'.", 2),
        ("1 object from 'PACS' was refused. The disk is full.", 1),
        ("The worker ended once and is started again. It ended with exit status 1: no model.", 1),
    ]
    assert all((entry["kind"], entry["state"], entry["study_uid"]) == ("notice", "attention", "") for entry in entries)
    assert str(entries[0]["first_at"]) <= str(entries[0]["last_at"])
    assert find_job(entries, str(entries[1]["short_id"])) == entries[1]


def test_short_ids_tell_all_entries_apart(path: Path) -> None:
    table = JobTable(path)
    for job_id in ("1.1:0123456789abcdef", "1.2:0123456789ffffff", "1.3:1111111111111111"):
        table.add(record(job_id))
    entries = listed(path)
    assert [entry["short_id"] for entry in entries] == ["0123456789a", "0123456789f", "11111111111"]
    for entry in entries:
        assert find_job(entries, str(entry["short_id"])) == entry
    with pytest.raises(NodeError, match="2 jobs begin so"):
        find_job(entries, "0123")


LONG_UID = "1.3.6.1.4.1.14519.5.2.1.6279.6001.298806137288633453246975630171"
LONG_REASON = (
    f"No series can serve as T1c: series 2 (t1_mprage_sagittal_isotropic) was acquired without contrast agent, see "
    f"{LONG_UID}; series 3 is a localizer, and the others are of the cervical spine, which is no brain."
)


def printed(entries: list[dict[str, object]], width: int, name: str = "") -> str:
    console = Console(record=True, width=width, file=io.StringIO())
    if name:
        print_job(find_job(entries, name), console)
    else:
        console.print(jobs_overview(entries))
    return console.export_text()


@pytest.mark.parametrize("width", [80, 120])
def test_no_word_is_cut_and_the_id_is_there(path: Path, width: int) -> None:
    table = JobTable(path)
    table.add(record(f"{LONG_UID}:0123456789abcdef"))
    table.mark_attention(f"{LONG_UID}:0123456789abcdef", LONG_REASON)
    entries = listed(path)
    for text in (printed(entries, width), printed(entries, width, "01234567")):
        assert max(map(len, text.splitlines())) <= width
        assert LONG_REASON in " ".join(text.split())  # a cut word would have a gap
        assert LONG_UID in text
        assert "01234567" in text


def test_series_of_a_finished_job_are_told_without_cutting_words(path: Path) -> None:
    table = JobTable(path)
    table.add(record("1.1:a"))
    series = {"series_uid": "1", "series_number": 3, "description": "t1", "role": None, "reason": LONG_REASON}
    table.mark_done("1.1:a", OUTCOME | {"series": [series], "prior_study_uid": LONG_UID, "remarks": [LONG_REASON]})
    text = printed(listed(path), 80, "1.1")
    assert " ".join(text.split()).count(LONG_REASON) == 2
    assert f"prior study    {LONG_UID}" in text


def test_entry_without_a_study_has_no_empty_line_for_it(tmp_path: Path, path: Path) -> None:
    refuse(tmp_path, 1)
    text = printed(listed(path), 80)
    assert "study" not in text
    assert "0 jobs; 1 in quarantine." in text


def test_listing_is_json_and_text(path: Path) -> None:
    table = JobTable(path)
    table.add(record("1.1:a"))
    table.mark_done("1.1:a", OUTCOME)
    entries = listed(path)
    assert json.loads(json.dumps(entries)) == entries
    text = printed(entries, 200) + printed(entries, 200, "1.1")
    for word in ("2 lesions; SEG, SR delivered", "[t1]", "a localizer", "no prior", "1.6", "T1c", "1 job: 1 done"):
        assert word in text
