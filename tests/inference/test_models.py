"""One door for every model: the manifest's kind decides, and what is wrong is said by who knows it."""

from pathlib import Path

import pytest

from inference.adapters.manifest import PluginError
from inference.grid_model import GridModel
from inference.models import load_model, read_model, verify_model
from inference.weights import WeightsError, default_manifest_path

PLUGIN = """
kind = "nnunet"
name = "ours"
version = "1"
folder = "results"
channels = ["T1c", "prior_mask"]
training_data = "none"
licence = "none"
[labels]
lesion = "lesion"
"""


def test_the_packages_own_network_is_read_verified_and_loaded() -> None:
    path = default_manifest_path()
    described = read_model(path)
    assert described == verify_model(path)
    model = load_model(path, threads=1)
    assert isinstance(model, GridModel)
    assert model.manifest == described


def test_a_manifest_with_a_kind_is_a_plug_in(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_text(PLUGIN)
    described = read_model(path)
    assert (described.name, described.channels) == ("ours", ("T1c", "prior_mask"))
    with pytest.raises(PluginError, match="results"):
        verify_model(path)
    with pytest.raises(PluginError, match="results"):
        load_model(path)


def test_a_manifest_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent\.toml"):
        read_model(tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("kind = ")
    with pytest.raises(WeightsError, match="no valid TOML"):
        load_model(broken)
