"""The worker as a process of its own: what it does with studies that fail, and what each failure is called.

Not here: the real pipeline (`tests/end_to_end`) and death of the worker (`test_recovery`).
"""

import time
from collections.abc import Iterator

import pytest

from tests.dicom_node.jobs import story
from tests.dicom_node.jobs.running_node import QUIET_TIME_S, Node

BEHAVIOURS = {
    "1.1": {},
    "1.2": {"read": "no-t1c"},
    "1.3": {"segment": "unavailable:2"},
    "1.4": {"read": "unavailable:99"},
    "1.5": {"register": "full:1"},
    "1.6": {"deliver": "full:1"},
    "1.7": {"register": "bug"},
    "1.8": {"read": "header"},
    "1.9": {"register": "crash"},
    "1.10": {"register": "sleep:60"},
    "1.11": {"segment": "no-t1c"},
}
"""Study UID to what goes wrong; all are received at once, since a process per heavy step takes its time."""


@pytest.fixture(scope="module")
def busy_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A running worker that has been given all studies of `BEHAVIOURS`."""
    node = Node(tmp_path_factory.mktemp("node"))
    node.options = {
        "DICOM_NODE_LIMITS__CONCURRENT_STUDIES": "4",
        "DICOM_NODE_LIMITS__FIRST_RETRY_WAIT_S": "1.5",
        "DICOM_NODE_LIMITS__RETRIES": "2",
        "DICOM_NODE_LIMITS__HEAVY_STEP_TIME_LIMIT_S": "8",
    }
    for study_uid, behaviour in BEHAVIOURS.items():
        node.behave(study_uid, **behaviour)
        node.receive(study_uid, instances=range(3), patient=study_uid)
    node.start()
    yield node
    node.kill()


def steps_of(node: Node, study_uid: str, event: str) -> list[str]:
    return [step for study, step, what, _ in story.journal(node.data_dir) if study == study_uid and what == event]


def test_complete_study_becomes_a_job_and_its_outcome_is_kept(busy_node: Node) -> None:
    record = busy_node.wait_for_state("1.1", "done")
    assert record.outcome is not None
    assert record.outcome["result_uids"] == {"SEG": "1.2.3"}
    assert list(record.outcome["timings_s"]) == list(story.STEPS)
    assert (record.steps_done, record.steps_total, record.instance_count) == (4, 4, 3)
    assert steps_of(busy_node, "1.1", "end") == list(story.STEPS)
    work_folder = busy_node.data_dir / "work" / record.job_id.replace(":", "_")
    busy_node.wait_for(lambda: not work_folder.exists())


def test_heavy_steps_run_in_a_process_of_their_own(busy_node: Node) -> None:
    busy_node.wait_for_state("1.1", "done")
    processes = {step: process for study, step, _, process in story.journal(busy_node.data_dir) if study == "1.1"}
    assert processes["read"] == processes["deliver"] != processes["register"]


def test_study_without_t1c_ends_in_attention_with_its_reason(busy_node: Node) -> None:
    record = busy_node.wait_for_state("1.2", "attention")
    assert record.reason == "No series can serve as T1c: all were acquired without contrast."


def test_failure_that_may_pass_is_tried_again_from_its_step(busy_node: Node) -> None:
    busy_node.wait_for_state("1.3", "done")
    assert steps_of(busy_node, "1.3", "begin") == ["read", "register", "segment", "segment", "segment", "deliver"]
    assert "The archive does not answer. Tried again in 3 s (2 of 2)." in busy_node.log()


def test_retries_end(busy_node: Node) -> None:
    record = busy_node.wait_for_state("1.4", "attention")
    assert record.reason == "The archive does not answer."
    assert steps_of(busy_node, "1.4", "begin") == ["read"] * 3


@pytest.mark.parametrize(("study_uid", "step"), [("1.5", "register"), ("1.6", "deliver")])
def test_full_disk_is_named_and_passes(busy_node: Node, study_uid: str, step: str) -> None:
    busy_node.wait_for_state(study_uid, "done")
    assert f"{study_uid}:" in busy_node.log()
    assert f"The disk that holds volume.npz is full (step {step}): free some space" in busy_node.log()
    assert steps_of(busy_node, study_uid, "begin").count(step) == 2


@pytest.mark.parametrize(
    ("study_uid", "reason"),
    [
        ("1.7", "Step register failed unexpectedly with KeyError: see the log at reference "),
        ("1.8", "Step read failed unexpectedly with ValueError: see the log at reference "),
        ("1.9", "Step register crashed (signal 6): the log holds what it said last."),
        ("1.10", "Step register ran longer than 8 s and was ended: look at the study, or raise "),
    ],
)
def test_what_nobody_foresaw_ends_in_attention(busy_node: Node, study_uid: str, reason: str) -> None:
    record = busy_node.wait_for_state(study_uid, "attention")
    assert record.reason.startswith(reason)
    if "reference" in reason:
        assert record.reason[-9:-1] in busy_node.log()


def test_no_name_of_a_patient_reaches_log_or_jobs(busy_node: Node) -> None:
    busy_node.wait_for_state("1.8", "attention")
    assert "valuerep.py" in busy_node.log()  # where the library quoted it
    assert "Doe" not in busy_node.log()
    assert all("Doe" not in str(record) for record in busy_node.jobs().values())


def test_study_in_attention_is_tried_again_when_it_is_sent_again(busy_node: Node) -> None:
    busy_node.wait_for_state("1.11", "attention")
    busy_node.behave("1.11")
    busy_node.receive("1.11", instances=range(3), patient="1.11")
    busy_node.wait_for_state("1.11", "done")
    assert steps_of(busy_node, "1.11", "end") == list(story.STEPS)


def test_finished_study_sent_again_is_no_new_job(busy_node: Node) -> None:
    first = busy_node.wait_for_state("1.1", "done")
    busy_node.receive("1.1", instances=range(3), patient="1.1")
    time.sleep(QUIET_TIME_S + 1.5)
    assert busy_node.jobs()["1.1"] == first


def test_finished_study_with_a_corrected_instance_is_a_new_job(busy_node: Node) -> None:
    busy_node.receive("1.14", instances=range(2), patient="1.14")
    first = busy_node.wait_for_state("1.14", "done")
    busy_node.receive("1.14", instances=range(1), patient="corrected")
    busy_node.wait_for(lambda: busy_node.jobs()["1.14"].job_id != first.job_id)
    assert busy_node.wait_for_state("1.14", "done").instance_count == 2


def test_late_instances_replace_the_running_job(busy_node: Node) -> None:
    busy_node.behave("1.12", register="sleep:7")
    busy_node.receive("1.12", instances=range(2), patient="I")
    busy_node.wait_for(lambda: "register" in steps_of(busy_node, "1.12", "begin"))
    busy_node.receive("1.12", instances=range(2, 4), patient="I")
    busy_node.wait_for(lambda: "1.12" in busy_node.jobs() and busy_node.jobs()["1.12"].instance_count == 4)
    busy_node.behave("1.12")
    record = busy_node.wait_for_state("1.12", "done")
    assert record.outcome is not None
    assert record.outcome["lesion_count"] == 4  # the story counts its instances
    ended = steps_of(busy_node, "1.12", "end")
    assert ended.count("register") == ended.count("deliver") == 1


def test_unreadable_files_are_a_job_too(busy_node: Node) -> None:
    folder = busy_node.data_dir / "incoming" / "1.13"
    folder.mkdir()
    (folder / "1.13.1.dcm").write_bytes(b"no DICOM")
    assert busy_node.wait_for_state("1.13", "done").instance_count == 1


@pytest.mark.slow
def test_earlier_study_of_a_patient_goes_first_even_if_it_comes_last(node: Node) -> None:
    node.start()
    node.wait_for(lambda: (node.data_dir / "log" / "worker.log").exists() and "watches" in node.log())
    node.receive("2.2", instances=range(1), date="20250301", patient="P")
    time.sleep(0.7 * QUIET_TIME_S)
    node.receive("2.1", instances=range(1), date="20250101", patient="P")
    node.wait_for_state("2.2", "done")
    begun = [(study, step) for study, step, event, _ in story.journal(node.data_dir) if event == "begin"]
    assert begun == [("2.1", step) for step in story.STEPS] + [("2.2", step) for step in story.STEPS]


@pytest.mark.slow
def test_reason_of_a_waiting_job_is_that_of_now(node: Node) -> None:
    """It waits for the patient's earlier study, and after that one only for its turn behind another patient's."""
    node.options = {"DICOM_NODE_LIMITS__CONCURRENT_STUDIES": "1"}
    node.behave("2.1", segment="sleep:4")
    node.behave("3.1", segment="sleep:60")
    node.receive("2.1", instances=range(1), date="20200101", patient="P")
    node.receive("3.1", instances=range(1), date="20210101", patient="Q")
    node.receive("2.2", instances=range(1), date="20220101", patient="P")
    node.start()
    node.wait_for(lambda: "2.2" in node.jobs() and "earlier study 2.1" in node.jobs()["2.2"].reason)
    assert node.jobs()["3.1"].reason == "Waits for its turn; limits.concurrent_studies = 1."
    node.wait_for_state("3.1", "running")
    node.wait_for(lambda: node.jobs()["2.2"].reason == "Waits for its turn; limits.concurrent_studies = 1.", 5)
    assert node.jobs()["3.1"].reason == ""


@pytest.mark.slow
def test_second_worker_on_a_data_folder_is_refused(node: Node) -> None:
    node.start()
    node.wait_for((node.data_dir / "jobs" / "engine.sqlite").exists)
    second = Node(node.data_dir)
    second.start()
    assert second.process is not None
    assert second.process.wait(20) == 1
