"""How long a study takes, from its last instance to SEG and SR in the archive, step by step, and the peak memory.

The generated patient of the demonstration is sent to a real node, prior first. Memory is what the kernel says of all
processes of the node together (proportional set size), sampled five times a second.

    python -m benchmarks.main_job [--seed N]
"""

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

import psutil

from dicom_node.demo.phantom import identity_for, study_uid_of, write_study
from dicom_node.demo.player import QUIET_TIME_S, RunningNode, running_node
from inference.synthesis.patient import generate_patient

GIB = 2**30


class MemoryWatch(threading.Thread):
    """Samples the memory of a process and all its children."""

    def __init__(self, process_id: int) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(process_id)
        self._stopped = threading.Event()
        self.peak_bytes = 0

    def run(self) -> None:
        """Sample until stopped."""
        while not self._stopped.wait(0.2):
            self.peak_bytes = max(self.peak_bytes, self._now())

    def stop(self) -> int:
        """End, and return the peak since the start."""
        self._stopped.set()
        self.join()
        return self.peak_bytes

    def _now(self) -> int:
        total = 0
        for process in [self._root, *self._root.children(recursive=True)]:
            try:
                total += process.memory_full_info().pss
            except psutil.NoSuchProcess:
                continue
        return total


def follow(node: RunningNode, study_uid: str, paths: list[Path]) -> tuple[dict[str, float], float, int]:
    """Send one study and return its seconds per step, the seconds in all, and the peak memory in bytes."""
    node.send_study(paths, sent=lambda _: None)
    last_instance = time.monotonic()
    memory = MemoryWatch(node.process.pid)
    memory.start()
    job = node.wait_for(study_uid, len(paths), watch=lambda _: None)
    seconds = time.monotonic() - last_instance
    peak = memory.stop()
    if job.state != "done":
        raise SystemExit(f"study {study_uid}: {job.reason}")
    return dict(job.timings_s), seconds, peak


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    seed = parser.parse_args().seed
    patient, identity = generate_patient(seed), identity_for(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_node(folder / "node", folder / "archive") as node:
            columns = [
                follow(
                    node,
                    study_uid_of(identity, study.study_date),
                    write_study(study, identity=identity, folder=folder / str(study.study_date)),
                )
                for study in patient.studies
            ]
    show(columns)


def show(columns: list[tuple[dict[str, float], float, int]]) -> None:
    """Print the table of the README."""
    names = ["without prior", "with prior"][: len(columns)]
    print(f"{os.cpu_count()} cores, {psutil.virtual_memory().total / GIB:.0f} GiB\n")
    print("| step | " + " | ".join(f"{name}, s" for name in names) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for step in columns[-1][0]:
        print(f"| {step} | " + " | ".join(f"{timings.get(step, 0):.1f}" for timings, _, _ in columns) + " |")
    print("| quiet time and hand-over | " + " | ".join(f"{s - sum(t.values()):.1f}" for t, s, _ in columns) + " |")
    print("| **last instance to results** | " + " | ".join(f"**{seconds:.1f}**" for _, seconds, _ in columns) + " |")
    print("| peak memory, GiB | " + " | ".join(f"{peak / GIB:.2f}" for _, _, peak in columns) + " |")
    print(f"\nThe quiet time is {QUIET_TIME_S} s here.")


if __name__ == "__main__":
    main()
