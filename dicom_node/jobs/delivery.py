"""The last steps: results are written, put into the archive, and asked for again."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydicom import Dataset, dcmread

from dicom_node.config import load_configuration, open_configured_archive
from dicom_node.errors import DeliveryError
from dicom_node.jobs.acceptance import AcceptedStudy
from dicom_node.jobs.analysis import ComparedStudy
from dicom_node.jobs.artefacts import load_volume
from dicom_node.jobs.job import StudyJob
from dicom_node.jobs.model import description_of
from dicom_node.results.provenance import ResultIdentity
from dicom_node.results.report import Findings, build_report
from dicom_node.results.segmentation import build_segmentation
from dicom_node.studies.prior import fetch_own


@dataclass(frozen=True, kw_only=True)
class WrittenResults:
    """Result files by kind (``"SEG"``, ``"SR"``), and their SOP Instance UIDs."""

    paths: dict[str, Path]
    uids: dict[str, str]


def write_results(job: StudyJob, study: AcceptedStudy, compared: ComparedStudy) -> WrittenResults:
    """Write SEG and SR of the study; without any lesion today the SR alone."""
    current = compared.current
    configuration = load_configuration(job.configuration_path)
    model = description_of(job)
    identity = ResultIdentity(
        revision=_revision(job, compared),
        created=_received(job),
        device_serial_number=configuration.node.ae_title,
    )
    images = [dcmread(path) for path in current.t1c_paths]
    lesions = load_volume(current.lesions)
    segmentation = build_segmentation(images, lesions, compared.comparison, model, identity=identity)
    report = build_report(
        Findings(
            source_images=images,
            lesions=lesions,
            segmentation=segmentation,
            comparison=compared.comparison,
            series=study.selection.decisions,
            empty_sites=compared.empty_sites,
            days_since_baseline=compared.days_since_baseline,
            replaces=_replaced(job, identity.uid("SR", job.study_uid, model)),
            details=compared.details,
            course=compared.course.sentences,
            visits=compared.course.recorded,
            prior_report=compared.prior_report,
        ),
        model,
        identity=identity,
    )
    datasets = {"SEG": segmentation, "SR": report}
    written = {kind: dataset for kind, dataset in datasets.items() if dataset is not None}
    paths = {kind: job.work_folder / f"{kind}.dcm" for kind in written}
    for kind, dataset in written.items():
        dataset.save_as(paths[kind])
    return WrittenResults(paths=paths, uids={kind: str(one.SOPInstanceUID) for kind, one in written.items()})


def deliver_results(job: StudyJob, results: WrittenResults) -> dict[str, str]:
    """Store the results and return their UIDs by kind once the archive says that it has them.

    Raises
    ------
    DeliveryError
        The archive refuses them, or does not have them afterwards.
    """
    archive = open_configured_archive(load_configuration(job.configuration_path))
    archive.store(results.paths.values())
    held = archive.held_instances(results.uids.values())
    lost = [kind for kind, uid in results.uids.items() if uid not in held]
    if lost:
        raise DeliveryError(
            f"The archive took {' and '.join(lost)} of study {job.study_uid} but does not list them afterwards; "
            "look into the archive's own log, then send the study again."
        )
    return results.uids


def _revision(job: StudyJob, compared: ComparedStudy) -> str:
    """Name the input of the results: the instances of this study, and the study or report it was compared with."""
    report = compared.prior_report
    compared_with = report.sop_instance_uid if report else compared.comparison.prior_study_uid
    return f"{job.job_id}:{compared_with or 'no prior'}"


def _replaced(job: StudyJob, report_uid: str) -> tuple[Dataset, ...]:
    """Return our newest report of the study that is not this one, as after a late series."""
    archive = open_configured_archive(load_configuration(job.configuration_path))
    study = archive.find_study(job.study_uid)
    reports = [] if study is None else fetch_own(archive, study, "SR", job.work_folder / "replaced")
    earlier = [path for path in reports if path.stem != report_uid]
    return tuple(dcmread(path) for path in earlier[-1:])


def _received(job: StudyJob) -> datetime:
    """Return when the newest instance came, so that a repeated job writes the same files."""
    return datetime.fromtimestamp(max(path.stat().st_mtime for path in job.instance_paths), UTC)
