"""Weights of others: files laid out as the authors' are, written here, must give the same answers once loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from inference.networks.checkpoints import CheckpointError, load_weights, read_state_dict
from inference.networks.stt import SpatioTemporalUNet
from inference.networks.unet import build_aurora_unet, build_unet

TINY = (2, 2, 4, 4, 8, 2)


class LightningLike(nn.Module):
    """Holds the network as ``net`` and its loss's weights beside it, as a training framework does."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("class_weights", torch.tensor([1.0, 5.0]))


def prefixed(prefix: str, network: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}{key}": value for key, value in network.state_dict().items()}


LAYOUTS: dict[str, Callable[[nn.Module], dict[str, Any]]] = {
    "raw": lambda network: network.state_dict(),
    "lightning": lambda network: {
        "epoch": 149,
        "pytorch-lightning_version": "2.0.2",
        "state_dict": LightningLike(network).state_dict(),
        "optimizer_states": [torch.optim.Adam(network.parameters()).state_dict()],
        "callbacks": {"checkpoint": {"best_model_score": torch.tensor(0.7), "current_score": np.float64(0.7)}},
    },
    "aurora": lambda network: {
        "epoch": 500,
        "model_state": prefixed("module.", network),
        "optimizer_state": torch.optim.Adam(network.parameters()).state_dict(),
        "loss": np.float32(0.1),
    },
    "bundle": lambda network: {"model": network.state_dict()},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.inference_mode()
def test_stt_loads_from_every_layout(layout: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained = SpatioTemporalUNet(TINY).eval()
    with torch.inference_mode(mode=False):
        torch.save(LAYOUTS[layout](trained), tmp_path / "authors.ckpt")
    torch.manual_seed(1)
    ours = SpatioTemporalUNet(TINY).eval()
    visits = torch.randn(1, 2, 1, 32, 32, 16)
    assert not torch.allclose(ours(visits)[0], trained(visits)[0])
    load_weights(ours, tmp_path / "authors.ckpt")
    torch.testing.assert_close(ours(visits)[0], trained(visits)[0])


def test_aurora_checkpoint_of_full_size_loads_into_the_unet(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained = build_aurora_unet().eval()
    torch.save({"model_state": prefixed("module.", trained), "epoch": 1}, tmp_path / "best.tar")
    torch.manual_seed(1)
    ours = build_aurora_unet().eval()
    load_weights(ours, tmp_path / "best.tar")
    images = torch.randn(1, 4, 32, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), trained(images))


def test_safetensors_load(tmp_path: Path) -> None:
    trained = build_unet(TINY)
    save_file(trained.state_dict(), tmp_path / "weights.safetensors")
    found = read_state_dict(tmp_path / "weights.safetensors")
    for key, value in trained.state_dict().items():
        torch.testing.assert_close(found[key], value)


def test_numbers_that_an_older_numpy_wrote_load(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    content = {"state_dict": {"a": torch.ones(1)}, "score": np.float64(0.5)}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    written = path.read_bytes()
    assert b"numpy._core.multiarray\n" in written
    path.write_bytes(written.replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n"))
    assert read_state_dict(path).keys() == {"a"}


def test_keys_and_shapes_that_do_not_fit_are_named(tmp_path: Path) -> None:
    state = build_unet(TINY).state_dict()
    state["surplus.weight"] = state.pop("final_conv.weight")
    state["conv_0.conv_0.conv.bias"] = torch.zeros(7)
    torch.save(state, tmp_path / "other.pt")
    network = build_unet(TINY)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_weights(network, tmp_path / "other.pt")
    message = str(caught.value)
    assert "1 missing (final_conv.weight)" in message
    assert "1 unexpected (surplus.weight)" in message
    assert "conv_0.conv_0.conv.bias (7,) instead of (2,)" in message
    torch.testing.assert_close(dict(network.state_dict()), before)


def test_plain_unet_is_no_stt(tmp_path: Path) -> None:
    torch.save(build_unet(TINY).state_dict(), tmp_path / "unet.pt")
    with pytest.raises(CheckpointError, match=r"2 missing \(convlstm.conv.weight, convlstm.conv.bias\)"):
        load_weights(SpatioTemporalUNet(TINY), tmp_path / "unet.pt")


def test_long_lists_are_cut(tmp_path: Path) -> None:
    torch.save({"state_dict": {"x": torch.zeros(1)}}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"and \d+ more\); 1 unexpected \(x\)"):
        load_weights(build_unet(TINY), tmp_path / "x.pt")


class Intruder:
    """Would write a file if it were unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    state = {"state_dict": build_unet(TINY).state_dict(), "extra": Intruder(tmp_path / "intruded")}
    torch.save(state, tmp_path / "bad.ckpt")
    with pytest.raises(CheckpointError, match="which could run code"):
        read_state_dict(tmp_path / "bad.ckpt")
    assert not (tmp_path / "intruded").exists()


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello world", bytes(range(256))], ids=["empty", "text", "bytes"])
def test_damaged_files_are_named(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        read_state_dict(tmp_path / name)


def test_missing_and_empty_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no weights at .*absent\.pt"):
        read_state_dict(tmp_path / "absent.pt")
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match=r"holds no weights \(found: epoch\)"):
        read_state_dict(tmp_path / "none.pt")
