"""How fast instances are received, beside storescp and Orthanc in the same run: ``python -m benchmarks.receiving``.

All receivers get the same files from the same senders (dcmtk's storescu) over loopback, in turns. TCP_NODELAY is set on
both sides: dcmtk, and with it Debian's Orthanc, would else wait 40 ms for each instance. Ours and Orthanc answer when
the file is flushed to disk, storescp does not flush. Rates share the cores with the senders and with whatever else
runs, so read the ratios; CPU seconds are the receiver's alone.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import generate_uid
from rich.console import Console
from rich.table import Table

from tests.dicom_node.network.instances import mr_instance, save
from tests.peers import free_port, wait_for_port

OURS = "this node"
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """A running receiver: where to send, and the process whose CPU time counts."""

    port: int
    ae_title: str
    process: subprocess.Popen[bytes]

    def cpu_s(self) -> float:
        """User and system seconds that the process has used up to now."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(command: list[str | Path], port: int, ae_title: str, log: Path) -> Iterator[Receiver]:
    """Run a receiver while the block runs."""
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=ENVIRONMENT)
        try:
            wait_for_port(port, process, timeout_s=60)
            yield Receiver(port=port, ae_title=ae_title, process=process)
        finally:
            process.terminate()
            process.wait(30)


def this_node(folder: Path) -> AbstractContextManager[Receiver]:
    """Run our listener in its own process."""
    port = free_port()
    script = (
        "from pathlib import Path; from dicom_node.network.receiver import *; "
        f"run_listener(ListenerSettings(incoming_folder=Path({str(folder / 'incoming')!r}), port={port}))"
    )
    return running([sys.executable, "-c", script], port, "METSEG", folder / "log")


def storescp(folder: Path) -> AbstractContextManager[Receiver]:
    """Run dcmtk's storescp; it serves one association at a time."""
    port = free_port()
    command: list[str | Path] = ["storescp", "+B", "-pdu", "131072", "-od", folder, str(port)]
    return running(command, port, "STORESCP", folder.parent / f"{folder.name}.log")


def orthanc(folder: Path) -> AbstractContextManager[Receiver]:
    """Run Orthanc with SQLite; its default SyncStorageArea flushes files."""
    port = free_port()
    (folder / "orthanc.json").write_text(
        f'{{"StorageDirectory": "{folder}/db", "IndexDirectory": "{folder}/db", "HttpPort": {free_port()}, '
        f'"DicomPort": {port}, "RemoteAccessAllowed": false, "OverwriteInstances": true}}'
    )
    return running(["Orthanc", folder / "orthanc.json"], port, "ORTHANC", folder / "log")


RECEIVERS: dict[str, Callable[[Path], AbstractContextManager[Receiver]]] = {
    OURS: this_node,
    "storescp (not durable)": storescp,
    "Orthanc": orthanc,
}


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One sending: instances per second, and the receiver's CPU seconds per 1,000 instances."""

    rate: float
    cpu_s_per_1000: float


def write_instances(folder: Path, associations: int, count: int) -> list[Path]:
    """Write `count` MR instances of 256 × 256 (132 kB) in one new study, split over as many folders as senders."""
    study, series_uid = generate_uid(), generate_uid()
    folders = [folder / str(number) for number in range(associations)]
    for number in range(count):
        save(mr_instance(study, series_uid, number, side=256), folders[number % associations])
    return folders


def send(receiver: Receiver, folders: list[Path], count: int) -> Measurement:
    """Send each folder over its own association at the same time, and wait for the last answer."""
    command = ["storescu", "-aec", receiver.ae_title, "+sd", "127.0.0.1", str(receiver.port)]
    cpu_before_s, started_s = receiver.cpu_s(), time.perf_counter()
    senders = [subprocess.Popen([*command, folder], env=ENVIRONMENT, stderr=subprocess.DEVNULL) for folder in folders]
    if any(sender.wait() for sender in senders):
        raise SystemExit(f"A sender could not send everything to port {receiver.port}.")
    wall_s = time.perf_counter() - started_s
    return Measurement(rate=count / wall_s, cpu_s_per_1000=(receiver.cpu_s() - cpu_before_s) / count * 1000)


def measure(associations: int, count: int, rounds: int) -> dict[str, list[Measurement]]:
    """Send to each receiver in turn, several times, always instances that it has not seen."""
    results: dict[str, list[Measurement]] = defaultdict(list)
    for number in range(rounds):
        with tempfile.TemporaryDirectory(prefix=f"receiving-{associations}-{number}-") as name:
            folders = write_instances(Path(name) / "source", associations, count)
            for index, (receiver_name, start) in enumerate(RECEIVERS.items()):
                target = Path(name) / f"receiver-{index}"
                target.mkdir()
                with start(target) as receiver:
                    results[receiver_name].append(send(receiver, folders, count))
    return results


def add_rows(table: Table, associations: int, results: dict[str, list[Measurement]]) -> None:
    """One row per receiver, with our rate and CPU time as multiples of its own."""
    rates = {name: statistics.median(m.rate for m in runs) for name, runs in results.items()}
    cpu_s = {name: statistics.median(m.cpu_s_per_1000 for m in runs) for name, runs in results.items()}
    for name in results:
        table.add_row(
            str(associations),
            name,
            f"{rates[name]:.0f}",
            f"{cpu_s[name]:.2f}",
            f"{rates[OURS] / rates[name]:.2f}",
            f"{cpu_s[OURS] / cpu_s[name]:.2f}" if cpu_s[name] else "-",
        )


def main() -> None:
    """Measure with one and with four associations and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="instances per round")
    parser.add_argument("--rounds", type=int, default=3, help="the medians are shown")
    options = parser.parse_args()
    columns = ("associations", "receiver", "instances/s", "CPU s/1000", "our rate ÷ its", "our CPU ÷ its")
    table = Table(*columns, title=f"{options.rounds} rounds of {options.count} MR instances of 132 kB")
    for associations in (1, 4):
        add_rows(table, associations, measure(associations, options.count, options.rounds))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
