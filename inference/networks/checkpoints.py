"""Weights that others trained: their files are read without running code, and must fit the network key by key."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

# Where frameworks keep the weights in a checkpoint: Lightning, AURORA, MONAI's bundles, nnU-Net, training of ours.
CONTAINERS: Final = ("state_dict", "model_state", "model", "network_weights", "average")
# Lightning names weights after the attribute that holds the network, DataParallel after "module".
PREFIXES: Final = ("net.", "module.")
NAMED_AT_MOST: Final = 5


class CheckpointError(ValueError):
    """A file of weights cannot be read or does not fit the network."""


@contextmanager
def numpy_scalars_allowed() -> Iterator[None]:
    """Let `torch.load` read numpy's numbers too: trainings keep losses and scores beside their weights."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = {type(np.dtype(kind)) for kind in "?bhilqBHILQefd"}
    # Both names of the module are given: numpy 2 renamed it, and files keep the name of the numpy that wrote them.
    names: list[Any] = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    with torch.serialization.safe_globals([*names, np.dtype, *kinds]):
        yield


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the weights from a file of safetensors or of torch.

    Parameters
    ----------
    path
        Ends in ``.safetensors``, or whatever `torch.save` wrote: a state_dict; one of Lightning (``state_dict``, keys
        under ``net.``); one of AURORA (``model_state``, keys under ``module.``).

    Returns
    -------
    dict
        Tensors on the CPU by the names that the bare network gives them.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, holds more than tensors and plain values, or holds no weights.
    """
    content = _content(path)
    named = next((content[name] for name in CONTAINERS if isinstance(content.get(name), Mapping)), content)
    tensors = {str(key): value for key, value in named.items() if isinstance(value, Tensor)}
    if not tensors:
        keys = ", ".join(map(str, list(content)[:NAMED_AT_MOST])) or "nothing"
        raise CheckpointError(f"the file {path} holds no weights (found: {keys}); name a checkpoint or a state_dict")
    return _without_prefixes(tensors)


def load_weights(network: nn.Module, path: Path) -> None:
    """Put the weights of a file into a network; see `read_state_dict`.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or names or shapes are not exactly the network's.
    """
    fit_weights(network, read_state_dict(path), source=str(path))


def fit_weights(network: nn.Module, tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Put tensors into a network if their names and shapes are exactly the network's.

    Parameters
    ----------
    source
        Where they come from, for the message.

    Raises
    ------
    CheckpointError
        If they do not fit; the message names the keys. The network is unchanged then.
    """
    wanted = network.state_dict()
    problems = [
        _listed("missing", [key for key in wanted if key not in tensors]),
        _listed("unexpected", [key for key in tensors if key not in wanted]),
        _listed(
            "of another shape",
            [
                f"{key} {tuple(value.shape)} instead of {tuple(wanted[key].shape)}"
                for key, value in tensors.items()
                if key in wanted and value.shape != wanted[key].shape
            ],
        ),
    ]
    if found := "; ".join(filter(None, problems)):
        raise CheckpointError(
            f"the weights of {source} do not fit the network: {found}. "
            "Check its features, channels and labels, or name another file"
        )
    network.load_state_dict(dict(tensors))


def _content(path: Path) -> dict[Any, Any]:
    if not path.is_file():
        raise CheckpointError(f"no weights at {path}: name an existing file")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        with numpy_scalars_allowed():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise CheckpointError(
            f"the file {path} is damaged, or holds objects beside weights and plain values, which could run code: "
            "save its state_dict alone, best as safetensors"
        ) from error
    # Bytes that are no checkpoint make torch stumble in all these ways.
    except (SafetensorError, RuntimeError, EOFError, OSError, LookupError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise CheckpointError(f"the weights {path} cannot be read ({reason}): restore the file") from error
    return dict(content) if isinstance(content, Mapping) else {}


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cut the prefixes off; what a Lightning module holds beside its network (losses, metrics) is left out."""
    for prefix in PREFIXES:
        if any(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    return tensors


def _listed(what: str, items: list[str]) -> str:
    """Return how many keys are wrong in one way and name the first few, or nothing."""
    if not items:
        return ""
    more = f" and {len(items) - NAMED_AT_MOST} more" if len(items) > NAMED_AT_MOST else ""
    return f"{len(items)} {what} ({', '.join(items[:NAMED_AT_MOST])}{more})"
