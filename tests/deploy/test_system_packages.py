"""What `deploy/system-packages.sh` takes for missing; nothing is installed here, since its PATH has no apt-get."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.peers import ORTHANC_MISSING, installed

SCRIPT = Path(__file__).parents[2] / "deploy" / "system-packages.sh"


@pytest.fixture
def named(tmp_path: Path) -> str:
    """What the script says to an ordinary user who has none of the programs on the PATH."""
    for program in ("sh", "id"):
        (tmp_path / program).symlink_to(shutil.which(program) or program)
    done = subprocess.run([SCRIPT, "test"], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_missing_programs_are_named_by_package(named: str) -> None:
    words = named.split()
    assert "dcmtk" in words
    assert "dicom3tools" in words
    assert "skipped by name" in named


@ORTHANC_MISSING
@pytest.mark.skipif(installed("Orthanc") != "/usr/sbin/Orthanc", reason="Orthanc is not Debian's own")
def test_orthanc_off_an_ordinary_users_path_is_not_missing(named: str) -> None:
    assert "orthanc" not in named.split()
