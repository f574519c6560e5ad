"""What the detector costs on the processor, form by form, beside MONAI's sliding windows over the whole volume.

Generated patients' T1c (axial, 1 mm, 186 x 240 x 192) with eight lesions of 30 to 6,000 mm³. The peer is MONAI's
`SlidingWindowInferer` in float32 with the same weights, windows, overlap and weighting, over everything that was
scanned: once as it comes, and once with the environment that the node gives its processes; and over the brain's box,
which tells what comes of other windows from what comes of other arithmetic. Every form runs once on
every head, in a process of its own, in turn; seconds are medians, Dice a mean, memory the highest. Loading is what a
process needs before its first window; what all forms need alike (the brain mask, preparing the image, lesions from
probabilities) and what is made only once (the conversion, the comparison with float32) do not count. OpenVINO computes
in a process of its own, whose seconds and memory are added to those of the one that asks it.

    python -m benchmarks.segmentation [--heads 3] [--threads 1]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Annotated

import numpy as np
import psutil
import typer
from highdicom import Volume
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from dicom_node.jobs.artefacts import load_volume, save_volume
from dicom_node.jobs.resident import FRUGAL
from inference.agreement import HEAD_DATE, LESIONS_MM3
from inference.brain import find_brain
from inference.compiled import BF16, FLOAT32, is_installed, open_windows
from inference.inputs import network_input
from inference.manifest import Manifest
from inference.postprocessing import OperatingPoint, find_lesions
from inference.predictor import TorchPredictor, over_windows
from inference.preprocessing import normalise, to_fixed_orientation, to_model_grid
from inference.weights import default_manifest_path, load_predictor, verify_weights
from tracking.geometry import resample_like
from tracking.timepoint import MRSequence

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
GIB_IN_KIB = 2**20
FIRST_SEED = 2  # 1 is the head by which the quicker forms are judged


@dataclass(frozen=True, kw_only=True)
class Form:
    """One way to compute the same network.

    Attributes
    ----------
    name
        In the table.
    load
        Makes it ready; takes the model, the folder of what is made of it once, and the number of threads.
    whole
        Over the whole volume, or the brain's box.
    frugal
        With the environment that the node gives its processes.
    """

    name: str
    load: Callable[[Manifest, Path, int], Predict]
    whole: bool = False
    frugal: bool = True


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one process needed for one head, and what came out."""

    loading_cpu_s: float
    cpu_s: float
    wall_s: float
    peak_kib: int
    dice: float = 0.0
    dice_with_plain: float = 0.0
    lesions: int = 0


def by_monai(manifest: Manifest, _folder: Path, threads: int) -> Predict:
    """Return MONAI's sliding windows, as its documentation has them."""
    import torch  # late: the other forms are measured without it
    from monai.inferers.inferer import SlidingWindowInferer

    torch.set_num_threads(threads)
    network = _torch(manifest, threads).network
    inferer = SlidingWindowInferer(roi_size=manifest.window, overlap=manifest.overlap, mode="gaussian")

    def predict(channels: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits = inferer(torch.from_numpy(channels)[None], network)
            probabilities: NDArray[np.float32] = torch.softmax(logits[0], dim=0).numpy()
        return probabilities

    return predict


def by_torch(manifest: Manifest, _folder: Path, threads: int) -> Predict:
    """Return the network in torch, float32."""
    return _torch(manifest, threads).predict


def by_torch_bf16(manifest: Manifest, _folder: Path, threads: int) -> Predict:
    """Return the network in torch, bfloat16."""
    return replace(_torch(manifest, threads), bf16=True).predict


def by_openvino(manifest: Manifest, folder: Path, threads: int) -> Predict:
    """Return the network in OpenVINO, float32."""
    return _openvino(manifest, folder, FLOAT32, threads)


def by_openvino_bf16(manifest: Manifest, folder: Path, threads: int) -> Predict:
    """Return the network in OpenVINO, bfloat16."""
    return _openvino(manifest, folder, BF16, threads)


PLAIN = "MONAI, whole volume"
FORMS = (
    Form(name=PLAIN, load=by_monai, whole=True, frugal=False),
    Form(name=f"{PLAIN}, the node's environment", load=by_monai, whole=True),
    Form(name="MONAI, the brain's box", load=by_monai),
    Form(name="torch", load=by_torch),
    Form(name="torch, bfloat16", load=by_torch_bf16),
    Form(name="OpenVINO", load=by_openvino),
    Form(name="OpenVINO, bfloat16", load=by_openvino_bf16),
)


def _torch(manifest: Manifest, threads: int) -> TorchPredictor:
    predictor = load_predictor(default_manifest_path(), threads=threads)
    if not isinstance(predictor, TorchPredictor):
        raise TypeError(f"{manifest.name} was loaded as {predictor.engine}, not in torch")
    return replace(predictor, device="cpu")


def _openvino(manifest: Manifest, folder: Path, precision: str, threads: int) -> Predict:
    windows = open_windows(folder, manifest, precision=precision, threads=threads)
    return lambda channels: over_windows(channels, windows.compute, manifest)


def run_form(form: Form, folder: Path, threads: int) -> None:
    """Run one form in this process; leave its lesions in the folder and print what it needed."""
    manifest = verify_weights(default_manifest_path())
    t1c, brain = load_volume(folder / "t1c.npz"), load_volume(folder / "brain.npz")
    if form.whole:
        image, mask = to_fixed_orientation(t1c), to_fixed_orientation(brain)
    else:
        image, mask = to_model_grid(t1c, brain, spacing_mm=manifest.spacing_mm)
    inside = mask.array.astype(bool)
    channels = network_input(manifest.channels, {str(MRSequence.T1C): normalise(image.array, inside)}, inside)
    began_s, began_cpu_s = time.monotonic(), _cpu_s()
    predict = form.load(manifest, folder.parent / "models" / manifest.sha256, threads)
    loaded_cpu_s = _cpu_s()
    classes = predict(channels)
    needed = Run(
        loading_cpu_s=loaded_cpu_s - began_cpu_s,
        cpu_s=_cpu_s() - loaded_cpu_s,
        wall_s=time.monotonic() - began_s,
        peak_kib=_peak_kib(),
    )
    probability = resample_like(image.with_array(1 - classes[0]), t1c, interpolation="linear")
    lesions = find_lesions(
        probability.array,
        brain.array.astype(bool),
        point=OperatingPoint.of(manifest),
        spacing_mm=t1c.spacing,
    )
    save_volume(_lesions_path(folder, form), t1c.with_array(lesions))
    print(json.dumps(asdict(needed)))


def measure(form: Form, folder: Path, threads: int) -> Run:
    """Run one form in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.segmentation", "--form", form.name, "--folder", str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)} | (FRUGAL if form.frugal else {})
    answer = subprocess.run(
        [*command, "--threads", str(threads)], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    lesions = load_volume(_lesions_path(folder, form))
    return replace(
        Run(**json.loads(answer.stdout)),
        dice=dice(lesions, load_volume(folder / "truth.npz")),
        dice_with_plain=dice(lesions, load_volume(_lesions_path(folder, FORMS[0]))),
        lesions=int(lesions.array.max()),
    )


def make_case(seed: int, folder: Path, threads: int) -> None:
    """Leave a generated T1c, its brain and its true lesions in the folder."""
    # Late: this loads torch, without which some forms are measured.
    from inference.synthesis.courses import LesionCourse
    from inference.synthesis.patient import Examination, generate_patient

    courses = [LesionCourse(name=f"{size:.0f}", volumes_mm3=(size,)) for size in LESIONS_MM3]
    examination = Examination(sequences=(MRSequence.T1C,))
    study = generate_patient(seed, dates=[HEAD_DATE], courses=courses, examination=examination).studies[0]
    t1c = study.images[MRSequence.T1C]
    save_volume(folder / "t1c.npz", t1c)
    save_volume(folder / "brain.npz", find_brain(t1c, threads=threads).astype(np.uint8))
    save_volume(folder / "truth.npz", study.labels)


def dice(one: Volume, other: Volume) -> float:
    """Return the Dice of everything that is not background."""
    a, b = one.array > 0, other.array > 0
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


def show(runs: dict[str, list[Run]], threads: int) -> None:
    """Print the table of the README."""
    columns = ("Dice", "Dice with MONAI", "lesions", "CPU s", "times fewer", "loading, CPU s", "wall s", "memory, GiB")
    table = Table("form", *columns, title=f"{threads} thread(s), {os.cpu_count()} cores")
    usual_s = median(run.cpu_s for run in runs[PLAIN])
    for name, needed in runs.items():
        cpu_s = median(run.cpu_s for run in needed)
        table.add_row(
            name,
            f"{mean(run.dice for run in needed):.4f}",
            f"{mean(run.dice_with_plain for run in needed):.4f}",
            " ".join(str(run.lesions) for run in needed),
            f"{cpu_s:.1f}",
            f"{usual_s / cpu_s:.1f}",
            f"{median(run.loading_cpu_s for run in needed):.1f}",
            f"{median(run.wall_s for run in needed):.1f}",
            f"{max(run.peak_kib for run in needed) / GIB_IN_KIB:.2f}",
        )
    Console(width=160).print(table)


def main(
    heads: Annotated[int, typer.Option(help="Number of generated heads.", min=1)] = 3,
    threads: Annotated[int, typer.Option(help="Processor threads.", min=1)] = 1,
    form: Annotated[str, typer.Option(hidden=True)] = "",
    folder: Annotated[Path | None, typer.Option(help="Where heads and lesions are left.")] = None,
) -> None:
    """Measure every form and print the table."""
    if form and folder:
        run_form(next(one for one in FORMS if one.name == form), folder, threads)
        return
    with tempfile.TemporaryDirectory() as name:
        place = folder or Path(name)
        place.mkdir(parents=True, exist_ok=True)
        chosen = load_predictor(default_manifest_path(), threads=threads, cache_folder=place)
        forms = [one for one in FORMS if is_installed() or not one.name.startswith("OpenVINO")]
        runs: dict[str, list[Run]] = {one.name: [] for one in forms}
        for number in range(heads):
            head = place / f"head-{number}"
            head.mkdir(exist_ok=True)
            make_case(FIRST_SEED + number, head, threads)
            for one in forms:
                runs[one.name].append(measure(one, head, threads))
        show(runs, threads)
        print(f"The node chooses here: {chosen.engine}")


def _lesions_path(folder: Path, form: Form) -> Path:
    return folder / f"lesions-{FORMS.index(form)}.npz"


def _cpu_s() -> float:
    """Return the processor time of this process and of those that it has started and that live, in seconds."""
    times = [process.cpu_times() for process in _processes()]
    return float(sum(time.user + time.system for time in times))


def _peak_kib() -> int:
    """Return the sum of these processes' own peaks; what getrusage says begins with that of whoever started one."""
    return sum(_peak_of_one_kib(process.pid) for process in _processes())


def _peak_of_one_kib(process_id: int) -> int:
    lines = Path(f"/proc/{process_id}/status").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def _processes() -> list[psutil.Process]:
    this = psutil.Process()
    return [this, *this.children(recursive=True)]


if __name__ == "__main__":
    typer.run(main)
