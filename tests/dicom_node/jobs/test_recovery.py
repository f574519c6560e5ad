"""kill -9 at any moment: the job goes on from its failed step and nothing is lost."""

import random
import time
from pathlib import Path

import pytest

from tests.dicom_node.jobs import story
from tests.dicom_node.jobs.running_node import Node


def begun(node: Node, study_uid: str) -> list[str]:
    return [step for study, step, event, _ in story.journal(node.data_dir) if study == study_uid and event == "begin"]


def is_running(process: str) -> bool:
    return Path(f"/proc/{process}").exists()


def test_killed_worker_goes_on_from_the_step_that_ran(node: Node) -> None:
    node.behave("1.1", register="sleep:20")
    node.receive("1.1", instances=range(2))
    node.start()
    node.wait_for(lambda: "register" in begun(node, "1.1"))
    child = story.journal(node.data_dir)[-1][3]
    node.kill()
    node.wait_for(lambda: not is_running(child), 5)  # the child died with the worker
    node.behave("1.1")
    node.start()
    node.wait_for_state("1.1", "done")
    assert begun(node, "1.1") == ["read", "register", "register", "segment", "deliver"]


@pytest.mark.slow
def test_stopped_worker_ends_at_once_and_goes_on_later(node: Node) -> None:
    node.behave("1.1", segment="sleep:20")
    node.receive("1.1", instances=range(2))
    node.start()
    node.wait_for(lambda: "segment" in begun(node, "1.1"))
    assert node.process is not None
    node.process.terminate()
    started = time.monotonic()
    assert node.process.wait(10) == 0
    assert time.monotonic() - started < 2
    node.behave("1.1")
    node.start()
    node.wait_for_state("1.1", "done")
    assert begun(node, "1.1") == ["read", "register", "segment", "segment", "deliver"]


@pytest.mark.slow
def test_retry_survives_the_worker(node: Node) -> None:
    node.options = {"DICOM_NODE_LIMITS__FIRST_RETRY_WAIT_S": "2"}
    node.behave("1.1", segment="unavailable:1")
    node.receive("1.1", instances=range(2))
    node.start()
    node.wait_for(lambda: "1.1" in node.jobs() and "does not answer" in node.jobs()["1.1"].reason)
    node.kill()
    node.start()
    node.wait_for_state("1.1", "done")
    assert begun(node, "1.1") == ["read", "register", "segment", "segment", "deliver"]


def all_done(node: Node, studies: list[str]) -> bool:
    return sum(record.state == "done" for record in node.jobs().values()) == len(studies)


@pytest.mark.slow
def test_nothing_is_lost_in_a_storm_of_kills(node: Node) -> None:
    chance = random.Random(7)
    node.options = {"DICOM_NODE_LIMITS__CONCURRENT_STUDIES": "2"}
    studies = [f"1.{number}" for number in range(8)]
    for number, study_uid in enumerate(studies):
        node.receive(study_uid, instances=range(number + 1), patient=study_uid)
    while not all_done(node, studies):
        node.start()
        lines = len(story.journal(node.data_dir)) + chance.randint(1, 8)
        node.wait_for(lambda enough=lines: len(story.journal(node.data_dir)) >= enough or all_done(node, studies), 120)
        time.sleep(chance.uniform(0, 0.5))
        node.kill()
    for number, study_uid in enumerate(studies):
        record = node.jobs()[study_uid]
        assert record.outcome is not None
        assert record.outcome["lesion_count"] == number + 1
        assert [begun(node, study_uid).count(step) >= 1 for step in story.STEPS] == [True] * len(story.STEPS)
    node.wait_for(lambda: not any(is_running(process) for *_, process in story.journal(node.data_dir)), 5)
