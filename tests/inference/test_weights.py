"""Weights with their manifest: read back by the loader, refused when anything is off."""

import hashlib
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from inference.agreement import BFLOAT16, compare, generated_channels
from inference.bfloat16 import FLAGS
from inference.kept import processor_flags
from inference.manifest import Manifest
from inference.networks.unet import build_unet
from inference.predictor import TorchPredictor
from inference.preprocessing import POSITIONS
from inference.training.export import write_manifest
from inference.weights import (
    WeightsError,
    default_manifest_path,
    load_predictor,
    read_manifest,
    verify_weights,
    weights_path,
)
from tests.inference.test_predictor import MANIFEST

FEATURES = (2, 2, 4, 4, 4, 2)


def network() -> nn.Module:
    """A tiny one, always the same."""
    torch.manual_seed(0)
    return build_unet(FEATURES).eval()


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """The manifest of the tiny network, with its weights beside it."""
    path = tmp_path / "tiny.toml"
    save_file({key: value.half() for key, value in network().state_dict().items()}, weights_path(path))
    sha256 = hashlib.sha256(weights_path(path).read_bytes()).hexdigest()
    write_manifest(replace(MANIFEST, sha256=sha256, window=(32, 32, 32), features=FEATURES), path)
    return path


def test_manifest_reads_back_unchanged(exported: Path) -> None:
    manifest = replace(read_manifest(exported), training_data='49 "real" heads, ½ of them thick', threshold=0.35)
    write_manifest(manifest, exported)
    assert read_manifest(exported) == manifest


def test_loaded_network_computes_as_the_trained_one_but_for_half_precision(exported: Path) -> None:
    predictor = load_predictor(exported, threads=1)
    trained = network()
    image = np.random.default_rng(0).normal(size=(1, 32, 32, 32)).astype(np.float32)
    with torch.inference_mode():
        expected = trained(torch.from_numpy(image)[None]).softmax(1)[0].numpy()
    np.testing.assert_allclose(predictor.predict(image), expected, atol=5e-3)


def test_stored_as_half_computed_as_single(exported: Path) -> None:
    assert {t.dtype for t in load_file(weights_path(exported)).values()} == {torch.float16}
    predictor = load_predictor(exported)
    assert isinstance(predictor, TorchPredictor)
    assert {p.dtype for p in predictor.network.parameters()} == {torch.float32}


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
        (
            "peak_threshold = 0.9",
            "unknown keys: peak_threshold; instead of peak_threshold give least_confidence, 0 to 1",
        ),
        ("least_confidence = 50", "least_confidence 50.0: give a share from 0 to 1"),
        ("threshold = nan", "threshold nan: give a share from 0 to 1"),
        ("confidence = {intercept = 1}", "confidence.mean_log_odds: field required"),
        (
            "confidence = {intercept = nan, mean_log_odds = 1, ln_mm3 = 1, elongation = 1}",
            "intercept=nan.*give numbers",
        ),
        (
            "confidence = {intercept = 0, mean_log_odds = -1, ln_mm3 = 1, elongation = 1}",
            "mean_log_odds -1.0: the surer",
        ),
        (
            "confidence = {intercept = 0, mean_log_odds = 1, ln_mm3 = 1, elongation = 1, more = 1}",
            "confidence.more: unexpected",
        ),
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
    paths = [default_manifest_path(), default_manifest_path().with_name("memory.toml")]
    assert sum(weights_path(path).stat().st_size for path in paths) <= 45e6
    for path in paths:
        manifest: Manifest = verify_weights(path)
        # T1c alone must do: everything else is made of it, or of the prior
        assert {"T1c"} == set(manifest.channels) - {"prior_mask", *POSITIONS}
        assert "research use" in manifest.licence
    assert [verify_weights(path).remembers for path in paths] == [False, True]


def test_without_a_cache_torch_computes_in_float32(exported: Path) -> None:
    predictor = load_predictor(exported, threads=1)
    assert isinstance(predictor, TorchPredictor)
    assert not predictor.bf16


def test_it_stays_loaded_until_its_files_change(exported: Path) -> None:
    first = load_predictor(exported, threads=1)
    assert load_predictor(exported, threads=1) is first
    write_manifest(replace(read_manifest(exported), threshold=0.7), exported)
    assert load_predictor(exported, threads=1).manifest.threshold == 0.7


@pytest.mark.slow
def test_shipped_detector_says_the_same_in_its_quickest_form(tmp_path: Path) -> None:
    """Judged on another head than the one by which the form was chosen: its mirror image."""
    exact = load_predictor(default_manifest_path(), threads=1)
    quick = load_predictor(default_manifest_path(), threads=1, cache_folder=tmp_path)
    assert quick.engine != exact.engine or not processor_flags() & FLAGS
    mirrored = np.ascontiguousarray(generated_channels(exact.manifest, threads=1)[..., ::-1])
    agreement = compare(exact.predict(mirrored), quick.predict(mirrored), threshold=exact.manifest.threshold)
    assert BFLOAT16.allow(agreement), agreement


def test_the_model_card_and_the_manifest_have_the_figures_that_were_measured() -> None:
    folder = default_manifest_path().parent
    figures = json.loads((folder / "detector_froc.json").read_text())
    manifest = read_manifest(default_manifest_path())
    assert figures["sha256"] == manifest.sha256
    assert figures["choice"] == {
        "threshold": manifest.threshold,
        "least_confidence": manifest.least_confidence,
        "confidence": asdict(manifest.confidence) if manifest.confidence else None,
    }
    told = re.findall(
        r"^\| \**(\d+) %(, as shipped)?\** \| (.+) \|$", (folder / "MODEL_CARD.md").read_text(), re.MULTILINE
    )
    curve = {round(100 * point["least_score"]): point for point in figures["groups"]["real head"]["curve"]}
    assert [int(percent) for percent, shipped, _ in told if shipped] == [round(100 * manifest.least_confidence)]
    assert len(told) > 5
    for percent, _, row in told:
        point = curve[int(percent)]
        expected = [*point["sensitivity"].values(), point["false_positives_per_scan"]]
        found = [cell.strip(" *") for cell in row.split("|")]
        assert found == [*(f"{share:.2f}" for share in expected[:-1]), f"{expected[-1]:.1f}"]
