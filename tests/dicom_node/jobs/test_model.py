"""The model of the configuration is loaded once for a process, and again when its files have changed."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.jobs.job import StudyJob
from dicom_node.jobs.model import description_of, model_of
from inference.grid_model import GridModel
from inference.training.export import write_manifest
from inference.weights import default_manifest_path, read_manifest, weights_path


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyJob:
    monkeypatch.setenv("DICOM_NODE_NODE__DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DICOM_NODE_MODEL__THREADS", "1")
    monkeypatch.setenv("DICOM_NODE_MODEL__MANIFEST", str(tmp_path / "mine.toml"))
    shutil.copy(default_manifest_path(), tmp_path / "mine.toml")
    shutil.copy(weights_path(default_manifest_path()), tmp_path / "mine.safetensors")
    return StudyJob(job_id="1.2:now", study_uid="1.2", instance_paths=(), work_folder=tmp_path, configuration_path=None)


def predictor_of(job: StudyJob) -> object:
    model = model_of(job)
    assert isinstance(model, GridModel)
    return model.predictor


@pytest.mark.slow  # the first use compares its arithmetic
def test_the_model_stays_loaded_until_its_weights_change(job: StudyJob, tmp_path: Path) -> None:
    first = model_of(job)
    assert isinstance(first, GridModel)
    assert predictor_of(job) is first.predictor
    assert first.manifest == description_of(job)
    from safetensors.torch import load_file, save_file

    path = tmp_path / "mine.safetensors"
    save_file({name: value * 0.5 for name, value in load_file(path).items()}, path)
    import hashlib

    changed = replace(read_manifest(tmp_path / "mine.toml"), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    write_manifest(changed, tmp_path / "mine.toml")
    again = model_of(job)
    assert predictor_of(job) is not first.predictor
    assert again.manifest.sha256 != first.manifest.sha256
