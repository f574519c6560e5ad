"""Which earlier study is compared with: the latest with a usable T1c; every one that was passed over has its reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from dicom_node.errors import InvalidStudyError
from dicom_node.network.archive import Archive, ArchivedStudy
from dicom_node.results.codes import MANUFACTURER
from dicom_node.results.content import described_segmentations
from dicom_node.results.course_record import EarlierReport, earlier_report
from dicom_node.studies.physics import SeriesPhysics
from dicom_node.studies.reading import read_study
from dicom_node.studies.selection import require_t1c, select_series
from dicom_node.studies.study import Series, Study
from tracking.timepoint import MRSequence


@dataclass(frozen=True, kw_only=True)
class PriorStudy:
    """An earlier study, fetched.

    Attributes
    ----------
    t1c, physics
        The series that its lesions are found on, and how it was acquired.
    chosen
        The series of every sequence that the study has.
    unreadable_count
        How many files it had beside.
    """

    study: Study
    t1c: Series
    physics: SeriesPhysics
    chosen: Mapping[MRSequence, Series] = field(default_factory=dict)
    unreadable_count: int = 0


@dataclass(frozen=True, kw_only=True)
class PriorChoice:
    """What was found of the patient's past.

    Attributes
    ----------
    prior
        None when no earlier study can be used.
    segmentation_path, report_path
        Our own latest SR of the prior and the SEG that it describes; None where there is none.
    reasons
        Why each later candidate was passed over, what the prior lacks, or why there is none; sentences for the report.
    earlier_report_paths
        The reports that our report of the prior goes back to, the latest first.
    """

    prior: PriorStudy | None
    segmentation_path: Path | None
    report_path: Path | None
    reasons: tuple[str, ...]
    earlier_report_paths: tuple[Path, ...] = ()


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
        if prior.unreadable_count:
            reasons.append(f"{prior.unreadable_count} files of the prior study could not be read and were left out.")
        segmentation, report = _own_results(archive, candidate, folder / candidate.study_uid)
        earlier, gap = ((), ()) if report is None else reports_before(archive, report, folder)
        return PriorChoice(
            prior=prior,
            segmentation_path=segmentation,
            report_path=report,
            reasons=(*reasons, *gap),
            earlier_report_paths=earlier,
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
    study, unreadable = read_study(paths)
    selection = select_series(study)
    t1c = require_t1c(selection)
    physics = selection.physics[MRSequence.T1C]
    return PriorStudy(study=study, t1c=t1c, physics=physics, chosen=selection.chosen, unreadable_count=len(unreadable))


def _own_results(archive: Archive, study: ArchivedStudy, folder: Path) -> tuple[Path | None, Path | None]:
    """Fetch our newest SR of a study and the SEG that it describes, or without an SR the newest SEG.

    Results of another program are not taken yet.
    """
    segmentations, reports = (fetch_own(archive, study, modality, folder / modality) for modality in ("SEG", "SR"))
    if not reports:
        return (segmentations[-1] if segmentations else None), None
    described = described_segmentations(dcmread(reports[-1], stop_before_pixels=True))
    return next((path for path in segmentations if path.stem in described), None), reports[-1]


def reports_before(archive: Archive, report_path: Path, folder: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Fetch the reports that a report goes back to, the latest first, and say where one of them is missing.

    Raises
    ------
    ArchiveUnavailableError, IncompleteFetchError
        The archive does not answer, or does not give what it lists.
    """
    found: list[Path] = []
    seen = {report_path.stem}
    link = _link(report_path)
    while link is not None and link.sop_instance_uid not in seen:
        seen.add(link.sop_instance_uid)
        study = archive.find_study(link.study_uid)
        reports = [] if study is None else fetch_own(archive, study, "SR", folder / link.study_uid / "SR")
        path = next((one for one in reports if one.stem == link.sop_instance_uid), None)
        if path is None:
            day = study.study_date if study and study.study_date else "an earlier study"
            return tuple(found), (f"The archive no longer has our report of {day}, so the course begins after it.",)
        found.append(path)
        link = _link(path)
    return tuple(found), ()


def _link(report_path: Path) -> EarlierReport | None:
    """Return the report that a report goes back to; a file that cannot be read goes back to none, and is told later."""
    try:
        return earlier_report(dcmread(report_path))
    except (InvalidDicomError, OSError):
        return None


def fetch_own(archive: Archive, study: ArchivedStudy, modality: str, folder: Path) -> list[Path]:
    """Fetch this node's own results of one modality in a study, the newest last.

    Raises
    ------
    ArchiveUnavailableError, IncompleteFetchError
        The archive does not answer, or does not give what it lists.
    """
    ours = [one for one in study.series if one.modality == modality and one.manufacturer == MANUFACTURER]
    paths = [path for one in ours for path in archive.fetch_series(study.study_uid, one.series_uid, into=folder)]
    return sorted(paths, key=_written)


def _written(path: Path) -> tuple[str, str]:
    header = dcmread(path, specific_tags=["ContentDate", "ContentTime"], stop_before_pixels=True)
    return str(header.get("ContentDate", "")), str(header.get("ContentTime", ""))
