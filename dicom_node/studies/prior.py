"""Which earlier study is compared with: the latest with a usable T1c; every one that was passed over has its reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from dicom_node.errors import InvalidStudyError
from dicom_node.network.archive import Archive, ArchivedSeries, ArchivedStudy
from dicom_node.results.codes import MANUFACTURER
from dicom_node.studies.physics import SeriesPhysics
from dicom_node.studies.reading import read_study
from dicom_node.studies.selection import require_t1c, select_series
from dicom_node.studies.study import Series, Study
from tracking.timepoint import MRSequence


@dataclass(frozen=True, kw_only=True)
class PriorStudy:
    """An earlier study, fetched, with the series that its lesions are found on."""

    study: Study
    t1c: Series
    physics: SeriesPhysics


@dataclass(frozen=True, kw_only=True)
class PriorChoice:
    """What was found of the patient's past.

    Attributes
    ----------
    prior
        None when no earlier study can be used.
    segmentation_path, report_path
        Our own latest SEG and SR of the prior; None where there is none.
    reasons
        Why each later candidate was passed over, or why there is no prior at all; sentences for the report.
    """

    prior: PriorStudy | None
    segmentation_path: Path | None
    report_path: Path | None
    reasons: tuple[str, ...]


def find_prior(archive: Archive, study: Study, folder: Path) -> PriorChoice:
    """Find and fetch the latest earlier study of the same patient that has a usable T1c.

    Parameters
    ----------
    archive
        Where the patient's studies are.
    study
        The study that a prior is wanted for.
    folder
        Receives the fetched files, one folder per study.

    Raises
    ------
    ArchiveUnavailableError, IncompleteFetchError
        The archive does not answer, or does not give what it lists.
    """
    reasons: list[str] = []
    if not study.patient_id:
        return _nothing(("The study has no patient ID, so no prior could be looked for.",))
    found = archive.find_studies(study.patient_id, issuer_of_patient_id=study.issuer_of_patient_id)
    for candidate in _earlier(found, study):
        try:
            prior = _fetch(archive, candidate, folder / candidate.study_uid)
        except InvalidStudyError as error:
            reasons.append(f"The study of {candidate.study_date} was not used as prior: {error}")
            continue
        results = {
            modality: _latest_result(archive, candidate, modality, folder / candidate.study_uid)
            for modality in ("SEG", "SR")
        }
        return PriorChoice(
            prior=prior, segmentation_path=results["SEG"], report_path=results["SR"], reasons=tuple(reasons)
        )
    undated = sum(one.study_date is None for one in found if one.study_uid != study.study_uid)
    if undated:
        reasons.append(f"{undated} other studies of the patient have no date and could not be used as prior.")
    return _nothing(tuple(reasons) or ("The archive holds no earlier study of the patient.",))


def _nothing(reasons: tuple[str, ...]) -> PriorChoice:
    return PriorChoice(prior=None, segmentation_path=None, report_path=None, reasons=reasons)


def _earlier(found: Sequence[ArchivedStudy], study: Study) -> list[ArchivedStudy]:
    """Return the studies before this one, the latest first; one without a date cannot be placed in time."""
    now = (study.study_date, study.study_time)
    placed = [
        (one.study_date, one.study_time, one)
        for one in found
        if one.study_uid != study.study_uid and one.study_date is not None
    ]
    earlier = [(day, time, one) for day, time, one in placed if (day, time) < now]
    return [one for *_, one in sorted(earlier, key=lambda each: each[:2], reverse=True)]


def _fetch(archive: Archive, candidate: ArchivedStudy, folder: Path) -> PriorStudy:
    """Fetch the MR series of a study and choose among them.

    Raises
    ------
    InvalidStudyError
        It cannot be used; the message says why.
    """
    images = [series for series in candidate.series if series.modality == "MR"]
    if not images:
        modalities = ", ".join(sorted({series.modality for series in candidate.series})) or "nothing"
        raise InvalidStudyError(f"it holds no MR images ({modalities}).")
    paths = [
        path for one in images for path in archive.fetch_series(candidate.study_uid, one.series_uid, into=folder / "MR")
    ]
    study, _ = read_study(paths)
    selection = select_series(study)
    t1c = require_t1c(selection)
    return PriorStudy(study=study, t1c=t1c, physics=selection.physics[MRSequence.T1C])


def _latest_result(archive: Archive, study: ArchivedStudy, modality: str, folder: Path) -> Path | None:
    """Fetch our own results of one modality and return the newest; of another program's nothing is taken yet."""
    ours = [one for one in study.series if one.modality == modality and one.manufacturer == MANUFACTURER]
    paths = [path for one in ours for path in _fetched(archive, study, one, folder / modality)]
    return max(paths, key=_written, default=None)


def _fetched(archive: Archive, study: ArchivedStudy, series: ArchivedSeries, folder: Path) -> Sequence[Path]:
    return archive.fetch_series(study.study_uid, series.series_uid, into=folder)


def _written(path: Path) -> tuple[str, str]:
    header = dcmread(path, specific_tags=["ContentDate", "ContentTime"], stop_before_pixels=True)
    return str(header.get("ContentDate", "")), str(header.get("ContentTime", ""))
