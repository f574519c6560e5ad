"""The compiled form: it says what torch says, is kept under the weights' checksum, and gives way when it fails.

How near it comes to torch with the shipped detector is told by `tests.inference.test_weights`.
"""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from inference import compiled
from inference.agreement import Limits
from inference.bfloat16 import FLAGS
from inference.compiled import CompiledPredictor, ConversionError, is_installed
from inference.kept import processor_flags
from inference.predictor import Predictor, TorchPredictor
from inference.weights import load_predictor, weights_path
from inference.window_process import EngineError, WindowProcess
from tests.inference.compiled_model import TinyModel, image
from tests.inference.processes import is_gone

pytestmark = pytest.mark.skipif(not is_installed(), reason="OpenVINO is optional")
HAS_BF16 = bool(FLAGS & processor_flags())
FILES = ("openvino.xml", "openvino.bin", "openvino.json")


@pytest.fixture
def model(converted_model: TinyModel, tmp_path: Path) -> TinyModel:
    """A model of which all is kept that loading it needs."""
    return converted_model.copy(tmp_path)


@pytest.fixture
def conversions(converted_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Convert by copying what was converted before; tell where to."""
    done = []

    def convert(_: Path, folder: Path, threads: int | None) -> None:
        done.append(folder)
        for name in FILES[:2]:
            shutil.copy(converted_model.kept / name, folder / name)

    monkeypatch.setattr(compiled, "_convert", convert)
    return done


@pytest.fixture
def exact_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "processor_flags", frozenset)


def in_openvino(predictor: Predictor) -> CompiledPredictor:
    assert isinstance(predictor, CompiledPredictor)
    assert predictor.engine.startswith("OpenVINO 20")
    return predictor


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_says_what_torch_says_and_always_the_same(model: TinyModel) -> None:
    predictor = in_openvino(model.load())
    assert not model.asked  # torch is not so much as loaded
    expected, found = model.in_torch().predict(image(2)), predictor.predict(image(2))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=0.1 if HAS_BF16 else 1e-4)
    np.testing.assert_array_equal(predictor.predict(image(2)), found)
    np.testing.assert_array_equal(in_openvino(model.load()).predict(image(2)), found)


@pytest.mark.usefixtures("exact_only", "conversions")
def test_float32_where_the_processor_has_no_bfloat16(model: TinyModel) -> None:
    (model.kept / FILES[2]).unlink()
    predictor = in_openvino(model.load())
    assert predictor.engine.endswith("cpu float32")
    assert list(json.loads((model.kept / FILES[2]).read_text())["agreements"]) == ["f32"]
    expected = model.in_torch().predict(image(2))
    np.testing.assert_allclose(predictor.predict(image(2)), expected, atol=1e-4)


@pytest.mark.skipif(not HAS_BF16, reason="this processor has no bfloat16")
def test_bfloat16_only_where_the_weights_bear_it(model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model.load().engine.endswith("cpu bfloat16")
    monkeypatch.setattr(compiled, "BFLOAT16", Limits(dice=1, difference=0))
    assert in_openvino(model.load()).engine.endswith("cpu float32")


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_made_again(
    model: TinyModel, name: str, conversions: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = model.kept / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    again = in_openvino(model.load())
    assert conversions == [model.kept]
    assert path.read_bytes() != bytes(content)
    assert [line for line in warnings_in(caplog) if name in line and line.endswith("made again")]
    np.testing.assert_allclose(again.predict(image(2)), model.in_torch().predict(image(2)), atol=0.1)


@pytest.mark.parametrize("what", ["openvino", "torch", "processor", "weights"])
def test_what_was_made_by_others_is_made_again(
    model: TinyModel, what: str, conversions: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = model.kept / FILES[2]
    record = json.loads(path.read_text())
    record["made_with"][what] += " of another kind"
    path.write_text(json.dumps(record))
    in_openvino(model.load())
    assert conversions == [model.kept]
    assert "was made under other circumstances: made again" in caplog.text


def test_what_does_not_agree_is_not_used(
    model: TinyModel, conversions: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    (model.kept / FILES[2]).unlink()
    for _ in range(2):
        caplog.clear()
        predictor = model.load(contrary=True)
        assert isinstance(predictor, TorchPredictor)
        (line,) = warnings_in(caplog)
        assert "not near enough to torch" in line
        assert line.endswith("torch computes")
    assert len(conversions) == 1  # the verdict is kept, too


def test_what_cannot_be_converted_is_left_to_torch(model: TinyModel, caplog: pytest.LogCaptureFixture) -> None:
    exact = model.in_torch()
    for name in FILES:
        (model.kept / name).unlink()
    path = weights_path(model.manifest_path)
    path.write_bytes(path.read_bytes()[:-1])  # as the converter finds it
    predictor = compiled.load_compiled(
        model.manifest_path,
        model.manifest,
        lambda: exact,
        cache_folder=model.cache_folder,
        channels=lambda: image(1),
        threads=1,
    )
    assert isinstance(predictor, TorchPredictor)
    why, what = warnings_in(caplog)
    assert "converter failed (exit status 1: " in why
    assert "damaged or of another version" in why
    assert why.endswith(f"not tried again until {model.kept / FILES[2]} is deleted")
    assert what.endswith("failed with these weights when they were new here; torch computes")


def test_a_conversion_that_takes_too_long_is_ended(
    model: TinyModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (model.kept / FILES[2]).unlink()
    monkeypatch.setattr(compiled, "CONVERSION_LIMIT_S", 0.1)
    assert isinstance(model.load(), TorchPredictor)
    assert "took longer than 0.1 s; torch computes" in caplog.text
    assert not (model.kept / FILES[2]).exists()  # another time it may be quicker


def test_a_failed_conversion_is_tried_again_only_when_someone_wants_it(
    model: TinyModel, conversions: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = model.kept / FILES[2]
    record.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "_convert", raising(ConversionError("it ended (signal 11)")))
        assert isinstance(model.load(), TorchPredictor)
    assert isinstance(model.load(), TorchPredictor)
    assert not conversions
    record.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "_compare", raising(EngineError("it ended (signal 9)")))
        assert isinstance(model.load(), TorchPredictor)
    in_openvino(model.load())
    assert len(conversions) == 2


def raising(error: Exception) -> Callable[..., None]:
    """Return a function that raises."""

    def fail(*_: object) -> None:
        raise error

    return fail


def disturb(monkeypatch: pytest.MonkeyPatch, how: Callable[[WindowProcess], None]) -> list[int]:
    """Do something to the process before its third window; return a list that grows with every window."""
    windows: list[int] = []
    compute = WindowProcess.compute

    def counted(process: WindowProcess, window: NDArray[np.float32]) -> NDArray[np.float32]:
        windows.append(1)
        if len(windows) == 3:
            how(process)
        return compute(process, window)

    monkeypatch.setattr(WindowProcess, "compute", counted)
    return windows


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_when_the_process_dies_torch_computes_the_image_anew(
    model: TinyModel, number: signal.Signals, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    predictor = in_openvino(model.load())
    windows = disturb(monkeypatch, lambda process: os.kill(process.process_id, number))
    found = predictor.predict(image(2))
    assert len(windows) == 3
    instead = model.quickest_in_torch()
    np.testing.assert_array_equal(found, instead.predict(image(2)))  # not one window of OpenVINO's
    assert predictor.engine == instead.engine
    predictor.predict(image(3))
    assert len(windows) == 3
    (line,) = warnings_in(caplog)
    assert f"ended (signal {number.value}); torch computes this image anew and all that follow" in line


def test_an_answer_that_nobody_waited_for_answers_nothing_else(
    model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(process: WindowProcess, window: NDArray[np.float32]) -> NDArray[np.float32]:
        with process._answering_within(60):
            process._connection.send_bytes((window + 5).data)
            raise KeyboardInterrupt
        return window

    predictor = in_openvino(model.load())
    with monkeypatch.context() as patch:
        patch.setattr(WindowProcess, "compute", interrupted)
        with pytest.raises(KeyboardInterrupt):
            predictor.predict(image(2))
    np.testing.assert_array_equal(predictor.predict(image(2)), model.quickest_in_torch().predict(image(2)))


def test_its_process_holds_numpy_and_openvino_alone(model: TinyModel) -> None:
    predictor = in_openvino(model.load())
    predictor.predict(image(2))
    maps = Path(f"/proc/{predictor.process_id}/maps").read_text()
    assert "openvino" in maps
    assert "numpy" in maps
    for other in ("torch", "SimpleITK", "scipy", "greedy", "ants", "monai", "pydantic"):
        assert f"/{other}" not in maps


def test_threads_are_bounded_and_nobody_is_told(model: TinyModel, tmp_path: Path) -> None:
    """Even where the telemetry package is installed, it is not so much as imported."""
    (tmp_path / "openvino_telemetry").mkdir()
    (tmp_path / "openvino_telemetry" / "__init__.py").write_text("raise SystemExit('telemetry was imported')\n")
    code = f"""
from inference.openvino_windows import compile_model, openvino
from pathlib import Path
model = compile_model(Path({str(model.kept / FILES[0])!r}), "f32", 1)
openvino().convert_model
print(*(model.get_property(name) for name in ("INFERENCE_NUM_THREADS", "NUM_STREAMS", "ENABLE_CPU_PINNING")))
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.stdout == "1 1 False\n", found.stderr


@pytest.mark.parametrize("state", ["idle", "busy", "stopped"])
def test_it_ends_when_its_parent_is_killed(model: TinyModel, state: str) -> None:
    code = f"""
import os, signal
from pathlib import Path
from tests.inference.compiled_model import TinyModel, image
predictor = TinyModel(folder=Path({str(model.folder)!r})).load()
print(predictor.process_id, flush=True)
if {state == "stopped"}:
    os.kill(predictor.process_id, signal.SIGSTOP)
if {state == "busy"}:
    predictor._windows._connection.send_bytes(image(2)[:, :32, :32, :32].copy().data)
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    assert found.returncode == -signal.SIGKILL
    assert is_gone(int(found.stdout))


@pytest.mark.parametrize("shape", [(2, 32, 32, 32), (32, 32, 32)])
def test_wrong_channels_are_refused_and_harm_nothing(model: TinyModel, shape: tuple[int, ...]) -> None:
    predictor = in_openvino(model.load())
    with pytest.raises(ValueError, match="takes 1 channels"):
        predictor.predict(np.zeros(shape, np.float32))
    assert in_openvino(predictor)


def test_loading_weights_chooses_it_where_there_is_a_cache_and_no_gpu(
    model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.weights._has_gpu", lambda: False)
    in_openvino(load_predictor(model.manifest_path, threads=1, cache_folder=model.cache_folder))
    assert isinstance(load_predictor(model.manifest_path, threads=1), TorchPredictor)
    monkeypatch.setattr("inference.weights._has_gpu", lambda: True)
    on_gpu = load_predictor(model.manifest_path, threads=2, cache_folder=model.cache_folder)
    assert on_gpu.engine.endswith("cuda float32")


def test_without_the_package_torch_computes(model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.weights.is_installed", lambda: False)
    monkeypatch.setattr("inference.weights._has_gpu", lambda: False)
    monkeypatch.setattr("inference.weights.generated_channels", lambda *_, **__: image(1))
    predictor = load_predictor(model.manifest_path, threads=3, cache_folder=model.cache_folder)
    assert isinstance(predictor, TorchPredictor)
