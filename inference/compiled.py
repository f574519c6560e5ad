"""A network compiled by OpenVINO for this machine's processor, behind the same `Predictor` as in torch.

Design rule: the compiled form is checked against torch before it is used, with the real weights; where it does not
agree, or cannot be made, torch computes.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from inference.agreement import BFLOAT16, SAME_ARITHMETIC, Agreement, compare
from inference.kept import circumstances, folder_of, read_record, write_record
from inference.manifest import Manifest
from inference.predictor import Predictor, check_channels
from inference.threads import thread_count
from inference.windows import seen_voxels, slide

if TYPE_CHECKING:
    from inference.predictor import TorchPredictor

FLOAT32: Final = "f32"
BF16: Final = "bf16"
_RECORD = "openvino.json"
_MODEL = "openvino.xml"
_WEIGHTS = "openvino.bin"
_log = logging.getLogger(__name__)

Channels = Callable[[], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True, eq=False)
class CompiledPredictor:
    """A network that OpenVINO runs over sliding windows on the processor.

    Attributes
    ----------
    manifest
        What the model is and what it expects.
    model
        An ``openvino.CompiledModel`` for one window of the manifest's size.
    precision
        ``"f32"`` or ``"bf16"``.
    """

    manifest: Manifest
    model: Any
    precision: str = FLOAT32

    @property
    def engine(self) -> str:
        """What computes, with version and precision."""
        return f"OpenVINO {version('openvino')} cpu {'bfloat16' if self.precision == BF16 else 'float32'}"

    def predict(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return class probabilities; see `inference.predictor.Predictor.predict`.

        Raises
        ------
        ValueError
            If the number of channels is not the manifest's.
        """
        check_channels(channels, self.manifest)
        request = self.model.create_infer_request()

        def run(window: NDArray[np.float32]) -> NDArray[np.float32]:
            logits: NDArray[np.float32] = request.infer([window], share_inputs=True, share_outputs=True)[0]
            return logits

        return slide(
            channels,
            run,
            seen=seen_voxels(channels, self.manifest.channels),
            labels=len(self.manifest.labels),
            size=self.manifest.window,
            overlap=self.manifest.overlap,
        )


def is_installed() -> bool:
    """Tell whether OpenVINO is there; it is an optional dependency."""
    return importlib.util.find_spec("openvino") is not None


def load_compiled(
    manifest: Manifest,
    reference: Callable[[], TorchPredictor],
    *,
    cache_folder: Path,
    channels: Channels,
    threads: int | None = None,
) -> Predictor | None:
    """Load the compiled form of a model; it is made, checked and kept the first time, in about a minute.

    Parameters
    ----------
    manifest
        What the model is.
    reference
        Makes the same model in torch; called only where the compiled form is missing.
    cache_folder
        Where it is kept, in ``models/<checksum of the weights>/``.
    channels
        Makes the images by which the two are compared; called only then.
    threads
        Processor threads to use; None: one per core.

    Returns
    -------
    Predictor or None
        In bfloat16 if processor and weights bear it, else in float32; None if OpenVINO does not agree with torch.
    """
    made_with = circumstances(manifest, "openvino", "torch")
    with folder_of(cache_folder, manifest) as folder:
        path = folder / _RECORD
        record = read_record(path, made_with)
        if record is None:
            agreements = _make(folder, reference(), channels, threads)
            if not agreements:
                return None
            record = write_record(path, made_with, agreements, _MODEL, _WEIGHTS)
        precision = _best(record.agreements)
        if precision is None:
            return None
        return open_compiled(folder, manifest, precision=precision, threads=threads)


def open_compiled(folder: Path, manifest: Manifest, *, precision: str, threads: int | None = None) -> CompiledPredictor:
    """Open what `load_compiled` has left in the folder of a model, in a precision of one's choice."""
    core = _openvino().Core()
    options: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": thread_count(threads),
        "NUM_STREAMS": 1,  # one window at a time: memory for one, and always the same order
        "ENABLE_CPU_PINNING": False,  # other processes have a right to these cores, too
    }
    model = core.compile_model(folder / _MODEL, "CPU", options)
    return CompiledPredictor(manifest=manifest, model=model, precision=precision)


def _best(agreements: Mapping[str, Agreement]) -> str | None:
    """Return the quickest precision that is near enough to torch; bfloat16 only where float32 is, too."""
    if not SAME_ARITHMETIC.allow(agreements.get(FLOAT32)):
        return None
    return BF16 if BFLOAT16.allow(agreements.get(BF16)) else FLOAT32


def _make(folder: Path, reference: TorchPredictor, channels: Channels, threads: int | None) -> dict[str, Agreement]:
    """Convert a network into files and tell how near they come to it; nothing if it cannot be converted."""
    manifest = reference.manifest
    _log.info("%s is compiled for this processor and compared with torch; this happens once", manifest.name)
    try:
        _convert(reference, folder / _MODEL)
    except Exception as error:  # noqa: BLE001 - whatever a converter trips over, torch can do without it
        _log.warning("%s cannot be compiled (%s): torch computes", manifest.name, type(error).__name__)
        return {}
    images = channels()
    expected = reference.predict(images)
    agreements = {}
    for precision in _precisions():
        found = open_compiled(folder, manifest, precision=precision, threads=threads).predict(images)
        agreements[precision] = compare(expected, found, threshold=manifest.threshold)
        _log.info("%s in OpenVINO's %s against torch: %s", manifest.name, precision, agreements[precision])
    if _best(agreements) is None:
        _log.warning("%s differs too much between OpenVINO and torch: torch computes", manifest.name)
    return agreements


def _convert(reference: TorchPredictor, path: Path) -> None:
    import torch  # late: needed only when the compiled form is missing

    manifest = reference.manifest
    example = torch.zeros(1, len(manifest.channels), *manifest.window)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter about its own code
        model = _openvino().convert_model(torch.export.export(reference.network, (example,)))
    model.reshape(list(example.shape))
    _openvino().save_model(model, path, compress_to_fp16=False)


def _precisions() -> tuple[str, ...]:
    """Return what to try: bfloat16 only where the processor computes in it."""
    able = "BF16" in _openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return (FLOAT32, BF16) if able else (FLOAT32,)


def _openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, which would report the import and every conversion."""
    # A module that is None counts as not installed, and OpenVINO then takes its own stand-in, which sends nothing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")  # late: optional
