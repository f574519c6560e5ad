"""The one door to every model: channels in, probabilities out, on the model's own grid."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from inference.manifest import MOST_TIMEPOINTS, Manifest
from inference.threads import torch_threads
from inference.windows import Network, Size, seen_voxels, slide

if TYPE_CHECKING:
    from torch import nn

# Window edges are multiples of what four halvings of a network divide by.
EDGE_STEP: Final = 16
SMALLEST_EDGE: Final = 32
CPU: Final = "cpu"
_log = logging.getLogger(__name__)


class Predictor(Protocol):
    """A model that is ready to run."""

    @property
    def manifest(self) -> Manifest:
        """What the model is and what it expects."""

    @property
    def engine(self) -> str:
        """What computes, with version and precision, for the record: for example ``torch 2.13.0 float32``."""

    def predict(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return class probabilities.

        Parameters
        ----------
        channels
            Normalised images, shape (channels, i, j, k), on cubic voxels of ``manifest.spacing_mm``; exactly 0 where
            there is nothing to see. A model that remembers takes the channels of earlier timepoints before those of
            the newest, oldest first.

        Returns
        -------
        NDArray
            Probabilities, shape (labels, i, j, k), summing to 1 over the first axis.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class TorchPredictor:
    """A network that runs in torch over sliding windows, on the GPU where there is one.

    When the GPU's memory does not suffice, windows are halved down to ``SMALLEST_EDGE``, and then the processor
    computes; each time the whole image anew, so that a result never mixes windows.

    Attributes
    ----------
    manifest
        What the model is and what it expects.
    network
        In evaluation mode, with float32 weights, on the processor; a GPU gets a copy of it for each image.
    device
        Where to compute: ``"cpu"`` or ``"cuda"``.
    bf16
        Convolve in bfloat16 on the processor; for weights of which `inference.agreement` says that they bear it.
    threads
        Processor threads to use; None: one per core.
    """

    manifest: Manifest
    network: nn.Module
    device: str = CPU
    bf16: bool = False
    threads: int | None = None

    @property
    def engine(self) -> str:
        """What computes, with version and precision."""
        import torch  # late: torch takes seconds to load, and reading a manifest needs none of it

        return f"torch {torch.__version__} {self.device} {'bfloat16' if self.bf16 else 'float32'}"

    def predict(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return class probabilities; see `Predictor.predict`.

        Raises
        ------
        ValueError
            If the number of channels is not the manifest's.
        """
        check_channels(channels, self.manifest)
        attempts = list(_fallbacks(self.device, self.manifest.window))
        for (device, size), after in zip(attempts, [*attempts[1:], None], strict=True):
            try:
                return self._predict(channels, device, size)
            except RuntimeError as error:
                if after is None or not _is_out_of_memory(error):
                    raise
                _log.warning(
                    "%s: the memory of %s does not suffice for windows of %s; computing again on %s in windows of %s",
                    self.manifest.name, device, size, *after,
                )  # fmt: skip
            _forget_gpu_memory()  # here, as what the error holds is gone by now
        raise AssertionError("the last attempt either answers or raises")

    def _predict(self, channels: NDArray[np.float32], device: str, size: Size) -> NDArray[np.float32]:
        with self._running(device) as run:
            return over_windows(channels, run, self.manifest, size=size)

    @contextmanager
    def _running(self, device: str) -> Iterator[Network]:
        """Lend the network as a function of arrays."""
        import torch  # late: see above

        network = self.network if device == CPU else copy.deepcopy(self.network).to(device)

        def run(window: NDArray[np.float32]) -> NDArray[np.float32]:
            if self.manifest.remembers:  # (1, time, channels, i, j, k)
                visits = window.reshape(1, -1, len(self.manifest.channels), *window.shape[2:])
                logits, _ = network(torch.from_numpy(visits).to(home))
            else:
                logits = network(torch.from_numpy(window).to(home))
            answer: NDArray[np.float32] = logits.float().cpu().numpy()
            return answer

        home = next(network.parameters()).device
        with ExitStack() as stack:
            stack.enter_context(torch_threads(self.threads))
            stack.enter_context(torch.inference_mode())
            # The same image gives the same bits, and float32 means float32.
            stack.enter_context(
                torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
            )
            if self.bf16 and device == CPU:
                stack.enter_context(torch.autocast(CPU, torch.bfloat16))
            yield run


def over_windows(
    channels: NDArray[np.float32], network: Network, manifest: Manifest, *, size: Size | None = None
) -> NDArray[np.float32]:
    """Return class probabilities of a model whose network computes one window; see `inference.windows.slide`.

    Parameters
    ----------
    channels
        Normalised images, shape (channels, i, j, k); see `Predictor.predict`.
    network
        Computes one window.
    manifest
        Of the model.
    size
        Edges of the windows in voxels; None: the manifest's.

    Raises
    ------
    ValueError
        If the network answers what is no number: it would look like a brain without lesions.
    """
    found = slide(
        channels,
        network,
        seen=seen_voxels(channels, manifest.channels * timepoints_in(channels, manifest)),
        labels=len(manifest.labels),
        size=size or manifest.window,
        overlap=manifest.overlap,
    )
    if not np.isfinite(found).all():
        voxels = int((~np.isfinite(found)).any(axis=0).sum())
        raise ValueError(
            f"{manifest.name} answered what is no number in {voxels} voxels: look for such values in the images, and "
            "restore the weights"
        )
    return found


def check_channels(channels: NDArray[np.float32], manifest: Manifest) -> None:
    """Check that an array has the channels that a model wants.

    Raises
    ------
    ValueError
        If it has another number of axes or channels.
    """
    wanted = len(manifest.channels)
    most = MOST_TIMEPOINTS if manifest.remembers else 1
    if channels.ndim != 4 or channels.shape[0] not in range(wanted, wanted * most + 1, wanted):
        raise ValueError(
            f"{manifest.name} takes {wanted} channels (channels, i, j, k) at each of at most {most} timepoint(s), "
            f"not {channels.shape}"
        )


def timepoints_in(channels: NDArray[np.float32], manifest: Manifest) -> int:
    """Return how many timepoints an array of channels holds."""
    return len(channels) // len(manifest.channels)


def _fallbacks(device: str, window: Size) -> Iterator[tuple[str, Size]]:
    """Yield where and in which windows to compute, best first."""
    size = window
    while device != CPU:
        yield device, size
        smaller = _halved(size)
        if smaller == size:
            break
        size = smaller
    yield CPU, window


def _halved(size: Size) -> Size:
    i, j, k = (min(edge, max(SMALLEST_EDGE, edge // 2 // EDGE_STEP * EDGE_STEP)) for edge in size)
    return i, j, k


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether a GPU lacks memory; not every library behind torch says so by the class of its error."""
    import torch  # late: see above

    return isinstance(error, torch.OutOfMemoryError) or any(
        sign in str(error) for sign in ("out of memory", "_ALLOC_FAILED")
    )


def _forget_gpu_memory() -> None:
    """Give back what torch keeps; called when the failed attempt's own arrays are gone."""
    import torch  # late: see above

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
