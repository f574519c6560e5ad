"""The compiled form in the process of heavy steps: both stay for the next step, and end together."""

import os
import signal
import threading

import pytest

from dicom_node.errors import NodeError
from dicom_node.jobs.child import ChildLimits, end_idle_children, run_in_child
from inference.compiled import is_installed
from tests.dicom_node.jobs import story
from tests.inference.compiled_model import TinyModel
from tests.inference.processes import is_alive, is_gone

pytestmark = pytest.mark.skipif(not is_installed(), reason="OpenVINO is optional")


def compute(model: TinyModel) -> tuple[int, int, str]:
    arguments = (str(model.manifest_path), str(model.cache_folder))
    limits = ChildLimits(time_limit_s=120, cancelled=threading.Event())
    result: tuple[int, int, str] = run_in_child("segment", story.compute_in_openvino, arguments, limits=limits)
    return result


def test_it_stays_for_the_next_step_and_ends_with_the_process_of_steps(converted_model: TinyModel) -> None:
    end_idle_children()
    step, windows, engine = compute(converted_model)
    assert engine.startswith("OpenVINO")
    assert compute(converted_model) == (step, windows, engine)
    assert is_alive(windows)
    end_idle_children()
    assert is_gone(windows)
    assert compute(converted_model)[0] != step
    end_idle_children()


def test_its_death_costs_no_step(converted_model: TinyModel, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    end_idle_children()
    step, windows, _ = compute(converted_model)
    os.kill(windows, signal.SIGSEGV)
    again, _, engine = compute(converted_model)
    assert again == step
    assert engine.startswith("torch")
    assert "ended (signal 11); torch computes this image anew" in caplog.text
    end_idle_children()


def test_a_step_that_ran_too_long_takes_it_along(converted_model: TinyModel) -> None:
    end_idle_children()
    _, windows, _ = compute(converted_model)
    with pytest.raises(NodeError, match="ran longer than 1 s"):
        run_in_child("x", story.sleep, (60.0,), limits=ChildLimits(time_limit_s=1, cancelled=threading.Event()))
    assert is_gone(windows)
