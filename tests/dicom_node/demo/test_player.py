"""The node as a process, started, asked and stopped; what it does with a study, `test_command` sees."""

from pathlib import Path

import pytest

from dicom_node.demo.player import DemoError, _has_all, _job_report, running_node
from dicom_node.network.sender import echo_peer


@pytest.mark.end_to_end
def test_node_is_up_while_needed_and_gone_afterwards(tmp_path: Path) -> None:
    with running_node(tmp_path / "node", tmp_path / "archive") as node:
        echo_peer("127.0.0.1", node.port, "METSEG")
        assert node.job_of("1.2.3", 1) is None
        node.check_alive()
    assert node.process.poll() == 0
    assert "listens on" in node.log_path.read_text(encoding="utf-8")


@pytest.mark.end_to_end
def test_node_that_ends_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with running_node(tmp_path / "node", tmp_path / "archive") as node:
        node.process.terminate()
        node.process.wait()
        with pytest.raises(DemoError, match=r"the node ended with status 0; the end of .*node\.log"):
            node.wait_for("1.2.3", 1, watch=lambda _job: None)


@pytest.mark.end_to_end
def test_options_in_the_environment_do_not_reach_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOM_NODE_NODE__AE_TITLE", "SOMEONE_ELSE")
    with running_node(tmp_path / "node", tmp_path / "archive") as node:
        echo_peer("127.0.0.1", node.port, "METSEG")


def test_job_is_read_from_the_listing() -> None:
    decision = {"series_uid": "1.2", "series_number": None, "description": "", "role": None, "reason": "a localizer"}
    entry = {
        "study_uid": "1.2.3",
        "state": "done",
        "step": "deliver",
        "progress": 1.0,
        "reason": "",
        "instance_count": 12,
        "timings_s": {"segment": 31.5},
        "outcome": {"series": [decision], "remarks": ["no prior"], "result_uids": {"SR": "1.2.4"}},
    }
    report = _job_report(entry)
    assert (report.state, report.remarks, dict(report.result_uids)) == ("done", ("no prior",), {"SR": "1.2.4"})
    assert (report.series[0].role, report.series[0].reason) == ("", "a localizer")
    assert dict(report.timings_s) == {"segment": 31.5}
    assert _job_report(entry | {"outcome": None, "state": "running"}).series == ()


def test_job_of_a_part_of_the_study_is_not_taken_for_the_whole() -> None:
    job = {"study_uid": "1.2.3", "state": "done", "instance_count": 11}
    assert not _has_all(job, "1.2.3", 12)
    assert not _has_all(job | {"instance_count": 12, "state": "replaced"}, "1.2.3", 12)
    assert _has_all(job | {"instance_count": 12}, "1.2.3", 12)
