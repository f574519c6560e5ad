"""The example in the README runs as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_example_of_tracking_alone_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, check=True, cwd=tmp_path)
    grown, new, verdict, *_ = done.stdout.splitlines()
    assert grown == "L1 persistent 1728.0 4096.0"
    assert new == "L2 new 0 64.0"
    assert verdict.startswith("RANO-BM on 2024-04-08: progressive disease")
