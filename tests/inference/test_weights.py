"""Weights with their manifest: written by the exporter, read back by the loader, refused when anything is off."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from inference.manifest import Manifest
from inference.training.checkpoint import save_checkpoint
from inference.training.config import TrainingConfig
from inference.training.export import export_weights, write_manifest
from inference.training.train import new_state
from inference.weights import (
    WeightsError,
    default_manifest_path,
    load_predictor,
    read_manifest,
    verify_weights,
    weights_path,
)

TINY = TrainingConfig(features=(2, 2, 4, 4, 4, 2), patches=(32,), channels=("T1c",), labels=("background", "lesion"))


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """The manifest of a tiny untrained network."""
    checkpoint, manifest = tmp_path / "checkpoint.pt", tmp_path / "tiny.toml"
    save_checkpoint(checkpoint, new_state(TINY, torch.device("cpu")), TINY)
    export_weights(checkpoint, manifest, version="0.1")
    return manifest


def test_manifest_reads_back_unchanged(exported: Path) -> None:
    manifest = replace(read_manifest(exported), training_data='49 "real" heads, ½ of them thick', threshold=0.35)
    write_manifest(manifest, exported)
    assert read_manifest(exported) == manifest


def test_loaded_network_computes_as_the_trained_one_but_for_half_precision(exported: Path) -> None:
    predictor = load_predictor(exported, threads=1)
    trained = new_state(TINY, torch.device("cpu")).average.eval()
    image = np.random.default_rng(0).normal(size=(1, 32, 32, 32)).astype(np.float32)
    with torch.inference_mode():
        expected = trained(torch.from_numpy(image)[None]).softmax(1)[0].numpy()
    np.testing.assert_allclose(predictor.predict(image), expected, atol=5e-3)


def test_stored_as_half_computed_as_single(exported: Path) -> None:
    assert {t.dtype for t in load_file(weights_path(exported)).values()} == {torch.float16}
    assert {p.dtype for p in load_predictor(exported).network.parameters()} == {torch.float32}


def test_one_changed_byte_is_noticed(exported: Path) -> None:
    path = weights_path(exported)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged or of another version"):
        load_predictor(exported)


def test_missing_weights_are_named(exported: Path) -> None:
    weights_path(exported).unlink()
    with pytest.raises(WeightsError, match=r"no weights at .*tiny\.safetensors"):
        verify_weights(exported)


def test_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no model manifest at .*absent\.toml"):
        read_manifest(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("threshold = 'high'", "threshold: input should be a valid number"),
        ("shape = 3", "unknown keys: shape"),
        ("window = [64]", "window.1: field required"),
        ("= 3", "no valid TOML"),
    ],
)
def test_bad_manifest_says_what_is_wrong(exported: Path, line: str, message: str) -> None:
    key = line.split(" ", maxsplit=1)[0]
    kept = [old for old in exported.read_text().splitlines() if not old.startswith(f"{key} ")]
    exported.write_text("\n".join([*kept, line]) + "\n")
    with pytest.raises(WeightsError, match=message):
        read_manifest(exported)


def test_manifest_without_a_needed_key_says_which(exported: Path) -> None:
    kept = [line for line in exported.read_text().splitlines() if not line.startswith("sha256")]
    exported.write_text("\n".join(kept))
    with pytest.raises(WeightsError, match="sha256: field required"):
        read_manifest(exported)


def test_weights_of_another_network_are_refused(exported: Path) -> None:
    write_manifest(replace(read_manifest(exported), features=(2, 2, 4, 4, 8, 2)), exported)
    with pytest.raises(WeightsError, match="do not fit its features"):
        load_predictor(exported)


def test_shipped_weights_are_whole_small_and_named() -> None:
    manifest: Manifest = verify_weights(default_manifest_path())
    assert weights_path(default_manifest_path()).stat().st_size < 25e6
    assert manifest.channels == ("T1c",)
    assert "research use" in manifest.licence
