"""The first step: what came is put into the embedded archive, and every series gets its role."""

from dataclasses import dataclass
from pathlib import Path

from dicom_node.config import load_configuration, open_configured_archive
from dicom_node.jobs.job import StudyJob
from dicom_node.studies.physics import SeriesPhysics
from dicom_node.studies.reading import read_study
from dicom_node.studies.selection import Selection, require_t1c, select_series
from dicom_node.studies.study import Series, Study
from tracking.timepoint import MRSequence


@dataclass(frozen=True, kw_only=True)
class AcceptedStudy:
    """A received study that can be analysed.

    Attributes
    ----------
    selection
        The role of every series, or the reason why it has none.
    t1c, physics
        The series that lesions are found on, and how it was acquired.
    remarks
        What the reader must know of the study as it came.
    """

    study: Study
    selection: Selection
    t1c: Series
    physics: SeriesPhysics
    remarks: tuple[str, ...]


def accept_study(job: StudyJob) -> AcceptedStudy:
    """Keep what was received, complete it with what the archive has of the study, and choose the series.

    Raises
    ------
    InvalidStudyError
        The files are no study.
    NoUsableSeriesError
        No series can serve as T1c; the message says why for each.
    """
    received, _ = read_study(job.instance_paths)
    study, unreadable = read_study([*job.instance_paths, *_rest_of_study(job, received)])
    selection = select_series(study)
    return AcceptedStudy(
        study=study,
        selection=selection,
        t1c=require_t1c(selection),
        physics=selection.physics[MRSequence.T1C],
        remarks=(
            *selection.remarks,
            *(f"A received file could not be used: {file.reason}." for file in unreadable),
        ),
    )


def _rest_of_study(job: StudyJob, received: Study) -> list[Path]:
    """Return the study's MR instances that the archive has and that did not come now, as after a late series."""
    configuration = load_configuration(job.configuration_path)
    archive = open_configured_archive(configuration)
    if configuration.archive.kind == "folder":
        archive.store(path for series in received.series for path in series.instance_paths)
    archived = archive.find_study(job.study_uid)
    here = {series.series_uid: len(series.instance_paths) for series in received.series}
    return [
        path
        for series in (archived.series if archived else ())
        if series.modality == "MR" and series.instance_count > here.get(series.series_uid, 0)
        for path in archive.fetch_series(job.study_uid, series.series_uid, into=job.work_folder / "rest")
    ]
