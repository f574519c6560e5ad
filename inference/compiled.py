"""A network compiled by OpenVINO for this machine's processor, behind the same `Predictor` as in torch.

Design rule: the compiled form is checked against torch before it is used, with the real weights, and computes in a
process of its own. Where it does not agree, cannot be made or fails, torch computes.
"""

from __future__ import annotations

import importlib.util
import logging
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from inference.agreement import BFLOAT16, SAME_ARITHMETIC, Agreement, compare
from inference.bfloat16 import FLAGS, in_bf16_if_near
from inference.bound import environment_for_modules, how_it_ended, start_bound
from inference.kept import Record, circumstances, folder_of, processor_flags, read_record, write_record
from inference.manifest import Manifest
from inference.predictor import Predictor, check_channels, over_windows
from inference.threads import thread_count
from inference.window_process import EngineError, WindowProcess

if TYPE_CHECKING:
    from inference.predictor import TorchPredictor

FLOAT32: Final = "f32"
BF16: Final = "bf16"
CONVERSION_LIMIT_S: Final = 300.0
_CONVERSION = "inference.openvino_conversion"
_RECORD = "openvino.json"
_MODEL = "openvino.xml"
_WEIGHTS = "openvino.bin"
_log = logging.getLogger(__name__)

Channels = Callable[[], NDArray[np.float32]]
InTorch = Callable[[], "TorchPredictor"]


class ConversionError(EngineError):
    """These weights cannot be converted here; trying again would end the same way."""


class CompiledPredictor:
    """A network that OpenVINO runs over sliding windows on the processor, until it fails: then torch computes.

    Parameters
    ----------
    manifest
        What the model is and what it expects.
    windows
        Computes windows of the manifest's size.
    precision
        ``"f32"`` or ``"bf16"``.
    in_torch
        Makes the same model in torch; called only when it is needed.
    """

    def __init__(self, manifest: Manifest, windows: WindowProcess, *, precision: str, in_torch: InTorch) -> None:
        self._manifest = manifest
        self._windows = windows
        self._precision = precision
        self._in_torch = in_torch
        self._instead: TorchPredictor | None = None
        self._one_at_a_time = threading.Lock()

    @property
    def manifest(self) -> Manifest:
        """What the model is and what it expects."""
        return self._manifest

    @property
    def engine(self) -> str:
        """What computes, with version and precision."""
        if self._instead is not None:
            return self._instead.engine
        return f"OpenVINO {version('openvino')} cpu {'bfloat16' if self._precision == BF16 else 'float32'}"

    @property
    def process_id(self) -> int:
        """The process that computes, for whoever measures what it needs."""
        return self._windows.process_id

    def predict(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return class probabilities; see `inference.predictor.Predictor.predict`.

        A result never mixes windows of OpenVINO and torch.

        Raises
        ------
        ValueError
            If the number of channels is not the manifest's.
        """
        check_channels(channels, self.manifest)
        with self._one_at_a_time:
            if self._instead is None:
                try:
                    return over_windows(channels, self._windows.compute, self.manifest)
                except EngineError as error:
                    _log.warning(
                        "%s: %s; torch computes this image anew and all that follow", self.manifest.name, error
                    )
                self._instead = self._in_torch()
            return self._instead.predict(channels)


def is_installed() -> bool:
    """Tell whether OpenVINO is there; it is an optional dependency."""
    return importlib.util.find_spec("openvino") is not None


def load_compiled(
    manifest_path: Path,
    manifest: Manifest,
    in_torch: InTorch,
    *,
    cache_folder: Path,
    channels: Channels,
    threads: int | None = None,
) -> Predictor:
    """Load a model in OpenVINO if that comes near to torch, else in torch.

    Parameters
    ----------
    manifest_path, manifest
        The weights lie beside the former.
    in_torch
        Makes the same model in torch, in float32 on the processor; called only when it is needed.
    cache_folder
        Where the converted network is kept, in ``models/<checksum of the weights>/``; it is made and compared with
        torch the first time, in about a minute.
    channels
        Makes the images by which the two are compared; called only then.
    threads
        Processor threads to use; None: one per core.
    """

    def quickest_in_torch() -> TorchPredictor:
        return in_bf16_if_near(in_torch(), cache_folder=cache_folder, channels=channels)

    made_with = circumstances(manifest, "openvino", "torch")
    try:
        with folder_of(cache_folder, manifest) as folder:
            record = read_record(folder / _RECORD, made_with)
            if record is None:
                _log.info("%s is converted for OpenVINO and compared with torch; this happens once", manifest.name)
                record = _make(manifest_path, folder, in_torch, channels, made_with=made_with, threads=threads)
            precision = _quickest(record.agreements)
            windows = open_windows(folder, manifest, precision=precision, threads=threads)
    except (EngineError, OSError) as error:  # a full disk, too, is no reason not to compute
        _log.warning("%s: %s; torch computes", manifest.name, error)
        return quickest_in_torch()
    return CompiledPredictor(manifest, windows, precision=precision, in_torch=quickest_in_torch)


def open_windows(folder: Path, manifest: Manifest, *, precision: str, threads: int | None = None) -> WindowProcess:
    """Start a process that computes windows of what `load_compiled` has left in the folder of a model.

    Raises
    ------
    EngineError
        If it does not become ready.
    """
    return WindowProcess(
        folder / _MODEL,
        answers=(1, len(manifest.labels), *manifest.window),
        precision=precision,
        threads=thread_count(threads),
    )


def _quickest(agreements: Mapping[str, Agreement]) -> str:
    """Return the quickest precision that is near enough to torch; bfloat16 only where float32 is, too."""
    if not agreements:
        raise EngineError("OpenVINO failed with these weights when they were new here")
    exact = agreements.get(FLOAT32)
    if not SAME_ARITHMETIC.allow(exact):
        raise EngineError(f"OpenVINO is not near enough to torch ({exact})")
    return BF16 if BFLOAT16.allow(agreements.get(BF16)) else FLOAT32


def _make(
    manifest_path: Path,
    folder: Path,
    in_torch: InTorch,
    channels: Channels,
    *,
    made_with: dict[str, str],
    threads: int | None,
) -> Record:
    """Convert, compare and keep what came of it: also that it cannot be done, so that it costs its minutes only once.

    What may be otherwise next time is not kept: a busy machine, or too little memory.
    """
    record = folder / _RECORD
    try:
        _convert(manifest_path, folder, threads)
    except ConversionError as error:
        _log.warning("%s; that is not tried again until %s is deleted", error, record)
        return write_record(record, made_with, {})
    agreements = _compare(folder, in_torch(), channels(), threads)
    return write_record(record, made_with, agreements, _MODEL, _WEIGHTS)


def _convert(manifest_path: Path, folder: Path, threads: int | None) -> None:
    """Leave a network as OpenVINO has it in a folder; a process does that, and ends."""
    with start_bound(
        _CONVERSION,
        str(manifest_path.absolute()),
        str(folder / f"part-{_MODEL}"),
        environment=environment_for_modules() | {"OMP_NUM_THREADS": str(thread_count(threads))},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            _, said = process.communicate(timeout=CONVERSION_LIMIT_S)
        except subprocess.TimeoutExpired as error:
            raise EngineError(f"the conversion for OpenVINO took longer than {CONVERSION_LIMIT_S:g} s") from error
        finally:
            process.kill()
    if process.returncode:
        reason = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
        kind = EngineError if process.returncode == -signal.SIGKILL else ConversionError
        raise kind(f"OpenVINO's converter failed ({how_it_ended(process.returncode)}: {reason})")
    for name in (_WEIGHTS, _MODEL):
        (folder / f"part-{name}").replace(folder / name)


def _compare(
    folder: Path, reference: TorchPredictor, images: NDArray[np.float32], threads: int | None
) -> dict[str, Agreement]:
    """Return by precision how near OpenVINO comes to torch; bfloat16 only where the processor computes in it."""
    manifest, expected, agreements = reference.manifest, reference.predict(images), {}
    for precision in (FLOAT32, BF16) if FLAGS & processor_flags() else (FLOAT32,):
        with closing(open_windows(folder, manifest, precision=precision, threads=threads)) as windows:
            found = over_windows(images, windows.compute, manifest)
        agreements[precision] = compare(expected, found, threshold=manifest.threshold)
        _log.info("%s in OpenVINO's %s against torch: %s", manifest.name, precision, agreements[precision])
    return agreements
