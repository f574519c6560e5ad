"""A foreign ``inference`` in the way of ours: told as a sentence by every command that needs it, never a traceback."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import dicom_node
from dicom_node.packages import ForeignPackageError, require_own_packages
from dicom_node.serve import _same_search_path
from tests.peers import free_port

COMMAND = Path(sysconfig.get_path("scripts")) / "dicom-node"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder that holds another program's ``inference``."""
    (tmp_path / "site" / "inference").mkdir(parents=True)
    (tmp_path / "site" / "inference" / "__init__.py").touch()
    return tmp_path / "site"


def run(*words: str, foreign: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(foreign), "COLUMNS": "400"}
    return subprocess.run(
        [COMMAND, *words], capture_output=True, text=True, env=environment, cwd=folder, check=False, timeout=60
    )


def test_our_own_packages_are_fine() -> None:
    require_own_packages()


def test_check_names_it_and_what_it_leaves_out(foreign: Path, tmp_path: Path) -> None:
    answer = run("check", "--data-dir", str(tmp_path / "data"), foreign=foreign, folder=tmp_path)
    assert answer.returncode == 1
    assert answer.stderr == ""
    lines = {line.split("│")[1].strip(): line for line in answer.stdout.splitlines() if "│" in line}
    assert "problem" in lines["packages"]
    assert f"The package inference in {foreign}/inference is another program's" in lines["packages"]
    assert "pip uninstall inference" in lines["packages"]
    assert "Left out" in lines["model weights"]
    assert " ok " in lines["data folder"]
    assert "GPU" in lines


@pytest.mark.parametrize("command", ["serve", "process", "demo"])
def test_command_that_needs_ours_refuses_with_one_sentence(command: str, foreign: Path, tmp_path: Path) -> None:
    options = {
        "serve": ["--data-dir", str(tmp_path / "data"), "--port", str(free_port())],
        "process": [str(tmp_path), "--data-dir", str(tmp_path / "data")],
        "demo": ["--out", str(tmp_path / "out")],
    }
    answer = run(command, *options[command], foreign=foreign, folder=tmp_path)
    assert answer.returncode == 1
    assert answer.stderr.startswith(f"The package inference in {foreign}/inference is another program's: uninstall")
    assert answer.stderr.count("\n") == 1


def test_package_in_the_working_folder_is_not_taken_for_ours(foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python puts the working folder before all others, unless the node's own child processes tell it not to."""
    monkeypatch.chdir(foreign)
    look = [sys.executable, "-c", "import inference; print(inference.__file__)"]
    found = subprocess.run(look, capture_output=True, text=True, check=True, env=_same_search_path()).stdout
    assert Path(found).parents[1] == Path(dicom_node.__file__).parents[1]


def test_distribution_whose_files_replaced_ours_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in one site-packages folder, where ``pip install inference`` writes into the folder of ours."""
    for name in ("inference", "tracking"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        for module in [module for module in sys.modules if module.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.syspath_prepend(str(tmp_path))
    require_own_packages(tmp_path)
    (tmp_path / "inference-0.9.dist-info").mkdir()
    (tmp_path / "inference-0.9.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: inference\nVersion: 0.9\n"
    )
    with pytest.raises(
        ForeignPackageError, match=f"The package inference in {tmp_path}/inference is another program's"
    ):
        require_own_packages(tmp_path)


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ForeignPackageError, match="The package inference is missing"):
        require_own_packages()
