"""Rules for all tests: in CI nothing may be skipped."""

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.inference.compiled_model import TinyModel


@pytest.fixture(scope="session")
def converted_model(tmp_path_factory: pytest.TempPathFactory) -> "TinyModel":
    """A tiny network with what OpenVINO made of it, which takes seconds; tests that change it copy it."""
    from tests.inference.compiled_model import make_model  # late: most tests need no torch

    model = make_model(tmp_path_factory.mktemp("converted"))
    model.load()
    model.quickest_in_torch()
    return model


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say that a skip is a failure where CI is set, since there everything must be installed."""
    if os.environ.get("CI") and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line("CI is set: a skipped test counts as a failure", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a run with skipped tests into a failed run where CI is set."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped") if reporter else None
    if os.environ.get("CI") and skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
