"""What was made of weights once and is used again: files under the weights' checksum, with a record of their making.

Design rule: what is kept is never needed. A file that is damaged, or was made by other software or on another
processor, is made again, and the log says so; other weights have another folder.
"""

import fcntl
import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from inference.agreement import Agreement
from inference.manifest import Manifest

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Record:
    """How something was made of weights, and what came of it.

    Attributes
    ----------
    made_with
        Everything that it depends on, by name.
    agreements
        By precision, how near it came to float32 in torch.
    files
        SHA-256 by file name, of files beside the record.
    """

    made_with: dict[str, str]
    agreements: dict[str, Agreement]
    files: dict[str, str] = field(default_factory=dict)


_RECORD = TypeAdapter(Record)


@contextmanager
def folder_of(cache_folder: Path, manifest: Manifest) -> Iterator[Path]:
    """Lend the folder of a model's derived files to one process at a time."""
    folder = cache_folder / "models" / manifest.sha256
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def circumstances(manifest: Manifest, *packages: str) -> dict[str, str]:
    """Return what a derived file depends on: the model, the versions of packages and the processor."""
    model = {"weights": manifest.sha256, "window": repr(manifest.window), "threshold": repr(manifest.threshold)}
    return model | {name: version(name) for name in packages} | {"processor": processor_name()}


def processor_name() -> str:
    """Return the processor's model as Linux names it; empty where it does not."""
    return _processor_line("model name")


def processor_flags() -> frozenset[str]:
    """Return what the processor says it can do, for example ``avx512_bf16``."""
    return frozenset(_processor_line("flags").split())


def read_record(path: Path, made_with: dict[str, str]) -> Record | None:
    """Return a record if it fits and its files are whole; None, with a line in the log, where something is off."""
    if not path.exists():
        return None
    try:
        record = _RECORD.validate_json(path.read_bytes())
        damaged = [name for name, digest in record.files.items() if _digest(path.with_name(name)) != digest]
    except (ValidationError, OSError) as error:
        _log.warning("%s is damaged (%s): made again", path, type(error).__name__)
        return None
    if damaged:
        _log.warning("%s in %s is damaged: made again", ", ".join(damaged), path.parent)
        return None
    if record.made_with != made_with:
        _log.info("%s was made under other circumstances: made again", path)
        return None
    return record


def write_record(path: Path, made_with: dict[str, str], agreements: dict[str, Agreement], *names: str) -> Record:
    """Write a record, whole or not at all; files beside it are named, and written before it."""
    files = {name: _digest(path.with_name(name)) for name in names}
    record = Record(made_with=made_with, agreements=agreements, files=files)
    part = path.with_suffix(".part")
    part.write_bytes(_RECORD.dump_json(record, indent=1))
    part.replace(path)
    return record


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _processor_line(name: str) -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), "")
