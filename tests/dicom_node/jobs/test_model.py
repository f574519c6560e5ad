"""The model of the configuration is loaded once for a process, and again when its files have changed."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from dicom_node.jobs.job import StudyJob
from dicom_node.jobs.model import description_of, model_of
from inference.grid_model import GridModel
from inference.training.export import write_manifest
from inference.weights import weights_path
from tests.inference.compiled_model import TinyModel, image, make_model


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyModel:
    """A tiny network, compared quickly with itself in bfloat16."""
    monkeypatch.setattr("inference.weights.is_installed", lambda: False)
    monkeypatch.setattr("inference.weights.generated_channels", lambda *_, **__: image(1))
    folder = tmp_path / "model"
    folder.mkdir()
    return make_model(folder)


@pytest.fixture
def job(model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyJob:
    monkeypatch.setenv("DICOM_NODE_NODE__DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DICOM_NODE_MODEL__THREADS", "1")
    monkeypatch.setenv("DICOM_NODE_MODEL__MANIFEST", str(model.manifest_path))
    return StudyJob(job_id="1.2:now", study_uid="1.2", instance_paths=(), work_folder=tmp_path, configuration_path=None)


def predictor_of(job: StudyJob) -> object:
    model = model_of(job)
    assert isinstance(model, GridModel)
    return model.predictor


def test_the_model_stays_loaded_until_its_weights_change(job: StudyJob, model: TinyModel) -> None:
    first = model_of(job)
    assert isinstance(first, GridModel)
    assert predictor_of(job) is first.predictor
    assert first.manifest == description_of(job)
    path = weights_path(model.manifest_path)
    save_file({name: value * 0.5 for name, value in load_file(path).items()}, path)
    write_manifest(replace(model.manifest, sha256=hashlib.sha256(path.read_bytes()).hexdigest()), model.manifest_path)
    again = model_of(job)
    assert predictor_of(job) is not first.predictor
    assert again.manifest.sha256 != first.manifest.sha256
