"""How well pixels alone tell T1 with from T1 without contrast agent: every centre judged by a fit on the others.

Usage: ``python -m benchmarks.contrast_from_pixels [DATA] [--dicom FOLDER ...]``. ``DATA`` is the folder with ``heads/``
(default ``../shared/data``); each ``FOLDER`` holds one DICOM series of a T1 without contrast agent.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from scipy.optimize import minimize

from dicom_node.studies.brain_region import NoBrainError
from dicom_node.studies.contrast import SMALLEST_SHARE, Brightness, compare_brightness, measure_brightness
from dicom_node.studies.reading import read_study
from dicom_node.studies.volumes import read_volume

PENALTY = 0.05


@dataclass(frozen=True, kw_only=True)
class Case:
    """One T1-weighted series with its truth."""

    name: str
    centre: str
    with_contrast: bool
    share: float
    depth_contrast: float


def main() -> None:
    """Measure all heads, fit, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=Path("../shared/data"))
    parser.add_argument("--dicom", nargs="*", type=Path, default=[])
    options = parser.parse_args()
    cases, pairs = _measure_heads(options.data / "heads")
    cases += [_case(folder.name, "DICOM", _dicom(folder), with_contrast=False) for folder in options.dicom]
    print(f"\n{'series':34} truth    share   depth contrast")
    for case in sorted(cases, key=lambda one: one.share):
        truth = "with" if case.with_contrast else "without"
        print(f"{case.name:34} {truth:8}{case.share:.5f}  {case.depth_contrast:6.2f}")
    _print_single(cases)
    right = sum(odds > 0 for odds in pairs)
    print(f"pairs of one study (with, without): {right} of {len(pairs)} told right, weakest log odds {min(pairs):.2f}")


def _measure_heads(folder: Path) -> tuple[list[Case], list[float]]:
    cases, pairs = [], []
    for path in sorted(folder.glob("*_t1c.nii.gz")):
        name = path.name.removesuffix("_t1c.nii.gz")
        centre = name.split("_")[1]
        enhanced = _measured(_nifti(path), name)
        if enhanced is not None:
            cases.append(_as_case(f"{name}_t1c", centre, enhanced, with_contrast=True))
        native_path = folder / f"{name}_t1.nii.gz"
        native = _measured(_nifti(native_path), name) if native_path.exists() else None
        if native is not None:
            cases.append(_as_case(f"{name}_t1", centre, native, with_contrast=False))
        if native is not None and enhanced is not None:
            pairs.append(compare_brightness(enhanced, native))
    return cases, pairs


def _measured(volume: Volume, name: str) -> Brightness | None:
    try:
        return measure_brightness(volume)
    except NoBrainError as error:
        print(f"{name}: {error}")
        return None


def _case(name: str, centre: str, volume: Volume, *, with_contrast: bool) -> Case:
    return _as_case(name, centre, measure_brightness(volume), with_contrast=with_contrast)


def _as_case(name: str, centre: str, brightness: Brightness, *, with_contrast: bool) -> Case:
    return Case(
        name=name,
        centre=centre,
        with_contrast=with_contrast,
        share=brightness.bright_share,
        depth_contrast=brightness.depth_contrast,
    )


def _nifti(path: Path) -> Volume:
    volume = Volume.from_nibabel(nib.load(path)).to_patient_orientation("HPL")
    return volume.with_array(volume.array.astype(np.float32))


def _dicom(folder: Path) -> Volume:
    study, _ = read_study(path for path in folder.rglob("*") if path.is_file())
    return read_volume(study.series[0]).volume


def _print_single(cases: list[Case]) -> None:
    x = np.log10(np.maximum([case.share for case in cases], SMALLEST_SHARE))
    truth = np.array([case.with_contrast for case in cases])
    print(f"\narea under the ROC curve: {_auc(x, truth):.3f} ({truth.sum()} with, {(~truth).sum()} without)")
    slope, even = _fit(x, truth)
    print(f"fit on all: {slope:.2f} log odds per decade, even odds at a share of {10**even:.5f}")
    centres = np.array([case.centre for case in cases])
    held_out = np.zeros(len(cases))
    for centre in np.unique(centres):
        rest = centres != centre
        slope, even = _fit(x[rest], truth[rest])
        held_out[~rest] = slope * (x[~rest] - even)
    for limit in (0.0, 1.5):
        sensitivity = (held_out[truth] > limit).mean()
        specificity = (held_out[~truth] < -limit).mean()
        wrong = ((held_out > limit) & ~truth).sum() + ((held_out < -limit) & truth).sum()
        undecided = (np.abs(held_out) <= limit).sum()
        print(
            f"left-out centres, |log odds| > {limit:.1f}: sensitivity {sensitivity:.3f}, "
            f"specificity {specificity:.3f}, wrong {wrong} of {len(cases)}, undecided {undecided}"
        )


def _fit(x: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Fit a balanced logistic regression; return slope and the x of even odds."""
    weight = np.where(truth, 0.5 / truth.sum(), 0.5 / (~truth).sum())
    sign = np.where(truth, 1.0, -1.0)

    def loss(parameters: NDArray[np.float64]) -> float:
        slope, even = parameters
        return float((weight * np.logaddexp(0, -sign * slope * (x - even))).sum() + PENALTY * (slope / 10) ** 2)

    slope, even = minimize(loss, np.array([3.0, float(x.mean())]), method="Nelder-Mead").x
    return float(slope), float(even)


def _auc(x: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    above = x[truth][:, None] - x[~truth][None, :]
    return float((above > 0).mean() + 0.5 * (above == 0).mean())


if __name__ == "__main__":
    main()
