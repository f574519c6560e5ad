"""The free-response curve with its interval: sensitivity against false positives per scan as the peak limit falls."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.evaluation.bootstrap import Bootstrap, Draws
from inference.evaluation.estimates import Figures, number_or_none
from inference.evaluation.metrics import ScanResult
from inference.evaluation.strata import by_diameter

FloatArray = NDArray[np.float64]

ALL = "all"
FALSE_POSITIVES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
MOST_THRESHOLDS = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class FreeResponse:
    """A curve in the sample and in every draw of patients.

    Attributes
    ----------
    thresholds
        Peak limits, rising; the last is above every peak.
    false_positives
        (1 + draws, thresholds): per scan.
    sensitivity
        By size, ``"all"`` among them: (1 + draws, thresholds), NaN without a lesion of the size.
    lesions
        By size: how many.
    patients
        Patients with a probability map.
    """

    thresholds: FloatArray
    false_positives: FloatArray
    sensitivity: dict[str, FloatArray]
    lesions: dict[str, int]
    patients: int

    def at(self, false_positives: float, size: str = ALL) -> Draws:
        """Return the sensitivity at the lowest limit with at most so many false positives per scan."""
        place = np.argmax(self.false_positives <= false_positives, axis=1)
        values = self.sensitivity[size][np.arange(len(place)), place]
        return Draws(values=values, n=self.lesions[size], patients=self.patients)

    def average(self, size: str = ALL) -> Draws:
        """Return the mean of the sensitivities at `FALSE_POSITIVES`."""
        values = np.mean([self.at(rate, size).values for rate in FALSE_POSITIVES], axis=0)
        return Draws(values=values, n=self.lesions[size], patients=self.patients)


def free_response(owners: Sequence[str], results: Sequence[ScanResult], bootstrap: Bootstrap) -> FreeResponse:
    """Compute the curve.

    Parameters
    ----------
    owners
        The patient of each scan.
    results
        Candidates and lesions of each scan, at least one.
    bootstrap
        The draws.
    """
    thresholds = peak_limits(results)
    places = bootstrap.places(owners)
    false = np.array([_above(_false_peaks(result), thresholds) for result in results])
    scans = bootstrap.totals(places, np.ones(len(results)))[:, None]
    volumes = [np.array(list(result.lesions_mm3.values()), float) for result in results]
    peaks = [_lesion_peaks(result) for result in results]
    chosen = [{ALL: np.ones(len(one), bool)} | by_diameter(one) for one in volumes]
    sensitivity, lesions = {}, {}
    for size in chosen[0]:
        mine = [one[choice[size]] for one, choice in zip(peaks, chosen, strict=True)]
        found = np.array([_above(one, thresholds) for one in mine])
        counts = np.array([len(one) for one in mine], float)
        sensitivity[size] = _quotient(bootstrap.totals(places, found), bootstrap.totals(places, counts)[:, None])
        lesions[size] = int(counts.sum())
    return FreeResponse(
        thresholds=thresholds,
        false_positives=_quotient(bootstrap.totals(places, false), scans),
        sensitivity=sensitivity,
        lesions=lesions,
        patients=len(set(owners)),
    )


def curve_figures(curve: FreeResponse) -> Figures:
    """Return sensitivity at fixed false positives per scan, their mean, and the whole curve."""
    figures: Figures = {"patients": curve.patients, "lesions": curve.lesions, "sensitivity_at": {}, "mean": {}}
    for size in curve.sensitivity:
        figures["sensitivity_at"][size] = {f"{rate:g}": curve.at(rate, size).estimate() for rate in FALSE_POSITIVES}
        figures["mean"][size] = curve.average(size).estimate()
    figures["curve"] = [
        {
            "peak_threshold": float(limit),
            "false_positives_per_scan": float(curve.false_positives[0, place]),
            "sensitivity": {size: number_or_none(values[0, place]) for size, values in curve.sensitivity.items()},
        }
        for place, limit in enumerate(curve.thresholds[:-1])
    ]
    return figures


def peak_limits(results: Sequence[ScanResult]) -> FloatArray:
    """Return at most `MOST_THRESHOLDS` of all peaks, rising, and one that nothing reaches."""
    peaks = np.unique([candidate.score for result in results for candidate in result.candidates])
    if len(peaks) > MOST_THRESHOLDS:
        peaks = peaks[np.linspace(0, len(peaks) - 1, MOST_THRESHOLDS).round().astype(int)]
    return np.append(peaks, np.inf)


def _false_peaks(result: ScanResult) -> FloatArray:
    return np.array([one.score for one in result.candidates if not one.found and not one.unknown], float)


def _lesion_peaks(result: ScanResult) -> FloatArray:
    """Return the highest peak of the candidates over each lesion; -inf without one."""
    best = dict.fromkeys(result.lesions_mm3, -np.inf)
    for candidate in result.candidates:
        for number in candidate.found:
            best[number] = max(best[number], candidate.score)
    return np.array(list(best.values()), float)


def _above(peaks: FloatArray, thresholds: FloatArray) -> FloatArray:
    """Count the peaks that reach each limit; nothing reaches infinity."""
    result: FloatArray = (peaks[:, None] >= thresholds[None]).sum(axis=0).astype(float)
    return result


def _quotient(part: FloatArray, whole: FloatArray) -> FloatArray:
    result = np.full(part.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result
