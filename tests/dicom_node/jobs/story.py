"""A small pipeline for tests of the engine: its steps write to a journal what they did, and fail as they are told.

What a job does comes from ``behaviour/<study UID>.json`` in the data folder: step name to what goes wrong there.
"""

import ctypes
import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pydicom.valuerep import DSfloat

from dicom_node.errors import ArchiveUnavailableError, NoUsableSeriesError
from dicom_node.jobs.job import Outcome, StepRunner, StudyJob

STEPS = ("read", "register", "segment", "deliver")


def follow(job: StudyJob, step: StepRunner) -> Outcome:
    """Run four steps; one of them is heavy."""
    count = step("read", read, job)
    moved = step("register", register, job, count, heavy=True)
    lesions = step("segment", segment, job, moved)
    uids = step("deliver", deliver, job, lesions)
    return Outcome(
        study_uid=job.study_uid,
        prior_study_uid=None,
        series=(),
        result_uids=uids,
        lesion_count=lesions,
        remarks=("no prior",),
        timings_s={},
    )


def read(job: StudyJob) -> int:
    _act("read", job)
    return len(job.instance_paths)


def register(job: StudyJob, count: int) -> tuple[float, ...]:
    _act("register", job)
    return tuple(float(i) for i in range(count))


def segment(job: StudyJob, moved: tuple[float, ...]) -> int:
    _act("segment", job)
    return len(moved)


def deliver(job: StudyJob, lesions: int) -> dict[str, str]:
    _act("deliver", job)
    return {"SEG": f"1.2.{lesions}"}


def journal(data_dir: Path) -> list[list[str]]:
    """Return what happened so far: study UID, step, ``begin`` or ``end``, process id."""
    path = data_dir / "journal.txt"
    return [line.split() for line in path.read_text("ascii").splitlines()] if path.exists() else []


def _act(step: str, job: StudyJob) -> None:
    data_dir = job.work_folder.parent.parent
    _write(data_dir, f"{job.study_uid} {step} begin {os.getpid()}")
    behaviour = data_dir / "behaviour" / f"{job.study_uid}.json"
    if behaviour.exists():
        _behave(json.loads(behaviour.read_text("ascii")).get(step, ""), job.work_folder)
    _write(data_dir, f"{job.study_uid} {step} end {os.getpid()}")


def _behave(behaviour: str, folder: Path) -> None:
    kind, _, number = behaviour.partition(":")
    if kind == "sleep":
        time.sleep(float(number))
    elif kind == "no-t1c":
        raise NoUsableSeriesError("No series can serve as T1c: all were acquired without contrast.")
    elif kind == "unavailable":
        _fail_times(int(number), folder, ArchiveUnavailableError("The archive does not answer."))
    elif kind == "full":
        _fail_times(int(number), folder, OSError(errno.ENOSPC, "No space left on device", "volume.npz"))
    elif kind == "bug":
        raise KeyError("spacing")
    elif kind == "header":
        DSfloat("Doe^Jane")
    elif kind == "crash":
        os.abort()


def _fail_times(count: int, folder: Path, error: Exception) -> None:
    counter = folder / "failures.txt"
    failures = int(counter.read_text()) if counter.exists() else 0
    if failures < count:
        counter.write_text(str(failures + 1))
        raise error


def _write(data_dir: Path, line: str) -> None:
    with (data_dir / "journal.txt").open("a", encoding="ascii") as file:
        file.write(line + "\n")


def double_in_process(numbers: tuple[float, ...]) -> tuple[tuple[float, ...], bool]:
    """Return doubled numbers, and whether a test runs in this process."""
    return tuple(2 * number for number in numbers), "pytest" in sys.modules


def chatter(value: int) -> int:
    print("printed by a library")  # noqa: T201 - that is what it does
    os.write(1, b"printed from C\n")
    ctypes.CDLL(None).puts(b"printed through C's buffer")
    logging.getLogger("story").info("logged by a step")
    return value


def fail(how: str) -> int:
    if how == "unavailable":
        raise ArchiveUnavailableError("The archive does not answer.")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "abort":
        os.abort()
    os._exit(3)


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def start_another_and_sleep(mark: str) -> None:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", f"started-by-{mark}"])
    time.sleep(60)


def others_of(mark: str) -> list[str]:
    """Return the processes that `start_another_and_sleep` has left."""
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [command.decode() for command in commands if f"started-by-{mark}".encode() in command]


def process_id() -> int:
    return os.getpid()


def read_input() -> str:
    return os.read(0, 100).decode()


def leave_another(mark: str) -> int:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", f"started-by-{mark}"], process_group=0)
    return os.getpid()


def say_much(lines: int) -> int:
    for number in range(lines):
        logging.getLogger("story").info("line %d of much", number)
    return lines


def compute_in_openvino(manifest_path: str, cache_folder: str) -> tuple[int, int, str]:
    """Compute an image; return this process, that of OpenVINO, and what computed."""
    from inference.compiled import CompiledPredictor  # late: other steps need none of it
    from inference.weights import load_predictor
    from tests.inference.compiled_model import image

    predictor = load_predictor(Path(manifest_path), threads=1, cache_folder=Path(cache_folder))
    predictor.predict(image(2))
    windows = predictor.process_id if isinstance(predictor, CompiledPredictor) else 0
    return os.getpid(), windows, predictor.engine
