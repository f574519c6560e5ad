"""A new training starts from the averaged weights of another: its optimiser, schedule and patches begin anew."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inference.networks.memory import start_from_unet
from inference.networks.stt import SpatioTemporalUNet
from inference.training.checkpoint import TrainingState, read_checkpoint
from inference.training.config import TrainingConfig

NEW_CLASS_PENALTY = 2.0
SSL_NETWORK = "unet."
LAST_STAGE = "final_conv."
MEMORY = "convlstm."


def start_from(path: Path, state: TrainingState, config: TrainingConfig) -> None:
    """Give a fresh state the averaged weights of a checkpoint.

    The other network may have had fewer input channels or classes, see `widened`. Of a self-supervised network, encoder
    and decoder are taken; its last stage, which restores images, gives way to the fresh one. A U-Net becomes an STT
    whose memory changes nothing yet, see `inference.networks.memory`.

    Raises
    ------
    ValueError
        If the other network's channels, classes or levels do not fit.
    FileNotFoundError
        If there is no such checkpoint.
    """
    saved = read_checkpoint(path)
    settings = saved.get("config", {})
    taught_ssl = settings.get("objective") == "ssl"
    if tuple(settings.get("features", config.features)) != config.features:
        raise ValueError(
            f"the weights of {path} have the features {tuple(settings['features'])}, not {config.features}: give theirs"
        )
    for what in ("activation", "normalisation"):  # an activation has no weights whose absence would tell
        theirs, ours = settings.get(what), getattr(config, what)
        if theirs not in (None, ours):
            raise ValueError(f"the weights of {path} have the {what} {theirs}, not {ours}: give theirs")
    _check_names("channels", settings.get("channels"), config.channels, path)
    if config.objective == "ssl" or not taught_ssl:
        _check_names("labels", settings.get("labels"), config.labels, path)
    carried = _encoder_and_decoder(saved["average"]) if taught_ssl and config.objective != "ssl" else saved["average"]
    teaches_memory = config.objective == "recall" and settings.get("objective") != "recall"
    wanted = {
        key: value
        for key, value in state.average.state_dict().items()
        if not (teaches_memory and key.startswith(MEMORY))
    }
    missing = [key for key in wanted if key not in carried and not (taught_ssl and key.startswith(LAST_STAGE))]
    unknown = sorted(carried.keys() - wanted.keys())
    if missing or unknown:
        raise ValueError(
            f"the weights of {path} are of a network of another kind (first difference: {(missing + unknown)[0]}): "
            "give the same objective, activation and normalisation"
        )
    weights = {key: widened(carried[key], value) if key in carried else value for key, value in wanted.items()}
    for network in (state.network, state.average):
        if teaches_memory and isinstance(network, SpatioTemporalUNet):
            start_from_unet(network, weights)
        else:
            network.load_state_dict(weights)


def widened(weights: Tensor, wanted: Tensor) -> Tensor:
    """Return weights for a network with more input channels or classes than the one that they come from.

    Parameters
    ----------
    weights
        Shape (out, in, ...) or (out,).
    wanted
        A tensor of the wanted shape. What comes first keeps its place: new inputs weigh 0, so that the network
        answers as before; new classes begin as its last class did, but less likely.

    Raises
    ------
    ValueError
        If anything but the first two axes differs, or something would have to be dropped.
    """
    if weights.shape == wanted.shape:
        return weights
    grown = [new - old for new, old in zip(wanted.shape, weights.shape, strict=False)]
    if weights.ndim != wanted.ndim or min(grown) < 0 or any(grown[2:]):
        raise ValueError(
            f"weights of shape {tuple(weights.shape)} cannot start a network that wants {tuple(wanted.shape)}: "
            "only input channels and classes can be added"
        )
    if weights.ndim > 1:
        weights = torch.cat([weights, weights.new_zeros(weights.shape[0], grown[1], *weights.shape[2:])], 1)
    added = weights[-1:].expand(grown[0], *weights.shape[1:])
    return torch.cat([weights, added - NEW_CLASS_PENALTY if weights.ndim == 1 else added])


def _encoder_and_decoder(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named = {key.removeprefix(SSL_NETWORK): value for key, value in weights.items() if key.startswith(SSL_NETWORK)}
    return {key: value for key, value in named.items() if not key.startswith(LAST_STAGE)}


def _check_names(what: str, theirs: Any, ours: Sequence[str], path: Path) -> None:
    """Check that what the other network had comes first; a checkpoint that does not name it is taken on trust."""
    if isinstance(theirs, tuple | list) and tuple(theirs) != tuple(ours[: len(theirs)]):
        raise ValueError(
            f"the weights of {path} have the {what} {tuple(theirs)}, which do not come first in {tuple(ours)}: "
            f"reorder the {what}, only adding is possible"
        )
