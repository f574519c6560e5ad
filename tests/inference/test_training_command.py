"""The command as it is typed: every preset runs to its end, and a killed training goes on as if it had not been.

What the weights are worth is not tested here: a smoke test learns nothing.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from inference.training.checkpoint import read_checkpoint
from inference.training.command import MANIFEST, found_data, main
from inference.training.heads import HeadSource
from inference.training.settings import write_settings
from inference.weights import load_predictor
from tests.inference.training_pools import TINY, ball_pools

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "inference.training")


def start(*arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([*COMMAND, *arguments], cwd=ROOT, env=environment, stderr=subprocess.PIPE)


def finished(process: subprocess.Popen[bytes]) -> str:
    _, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors.decode()
    return errors.decode()


def command(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(main)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "folders"),
    [
        ("default", ["."]),
        ("ucsf", ["seed_0", "seed_1"]),
        ("nyumets", ["seed_0", "seed_1"]),
        ("nyumets_stt", ["seed_0", "seed_1"]),
        ("chuv", ["fold_0"]),
    ],
)
def test_every_preset_runs_to_weights_that_load(tmp_path: Path, preset: str, folders: list[str]) -> None:
    finished(start("--preset", preset, "--out", str(tmp_path), "--smoke"))
    assert len(list(tmp_path.rglob(MANIFEST))) == len(folders)
    for folder in folders:
        predictor = load_predictor(tmp_path / folder / MANIFEST, threads=1)
        manifest = predictor.manifest
        assert manifest.name == f"brainmets-{preset}"
        assert manifest.training_data.startswith("smoke test, of no use")
        image = np.random.default_rng(0).normal(size=(len(manifest.channels), 32, 32, 32)).astype(np.float32)
        answer = predictor.predict(image)
        assert answer.shape == (len(manifest.labels), 32, 32, 32)
        np.testing.assert_allclose(answer.sum(0), 1, atol=1e-4)


@pytest.mark.slow
def test_a_killed_training_goes_on_as_if_it_had_not_been(tmp_path: Path, ball_head: HeadSource) -> None:
    config = replace(
        TINY, steps=40, accumulation=2, validate_every=7, validation_heads=2, checkpoint_s=0.0, normalisation="instance"
    )
    write_settings(config, tmp_path / "own.toml")
    for name in ("whole", "killed"):
        ball_pools(tmp_path / name, ball_head)
    settings = ("--config", str(tmp_path / "own.toml"), "--out")
    finished(start(*settings, str(tmp_path / "whole")))
    checkpoint = tmp_path / "killed" / "checkpoint.pt"
    process = start(*settings, str(checkpoint.parent))
    while not checkpoint.exists() or read_checkpoint(checkpoint)["step"] < 5:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert 5 <= read_checkpoint(checkpoint)["step"] < 40
    assert "resumed at step" in finished(start(*settings, str(checkpoint.parent)))
    whole, killed = read_checkpoint(tmp_path / "whole" / "checkpoint.pt"), read_checkpoint(checkpoint)
    for part in ("network", "average"):
        for key, value in whole[part].items():
            assert value.equal(killed[part][key]), key
    assert killed["objective"] == whole["objective"]
    assert (tmp_path / "killed" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "loss=diec"), "error: the settings from"),
        (("--set", "lr=1"), "error: unknown key 'lr' in --set"),
        (("--fold", "7", "--preset", "chuv"), "fold 7: there are 5 folds, counted from 0"),
        (("--data", "/absent"), "error: no heads in /absent/heads: give the folder"),
        (("--config", "/absent.toml"), "error: the settings /absent.toml cannot be read"),
    ],
)
def test_a_slip_is_told_in_one_line_before_anything_is_made(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    out = tmp_path / "out"
    code, output = command("--out", str(out), *arguments)
    assert code == 2
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert message in line
    assert not out.exists()


def test_without_the_usual_folder_the_shipped_head_is_used_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert found_data(None) is None
    assert "no data: learning from the one head" in caplog.text
    assert found_data(Path("mine")) == Path("mine")
