"""The current study's lesions, looked at again with the prior study in mind."""

from dataclasses import replace

import numpy as np
from highdicom import Volume

from dicom_node.config import load_configuration
from dicom_node.jobs.artefacts import load_volume, save_volume
from dicom_node.jobs.job import StudyJob
from dicom_node.jobs.segmented import SegmentedStudy
from inference.segmentation import lesions_at_known_places
from inference.weights import default_manifest_path, read_manifest
from tracking.components import separate_touching
from tracking.matching.sites import sites_of
from tracking.measurement import measure_lesions
from tracking.registration import Registration, RegistrationKind
from tracking.timepoint import Timepoint


def look_again(
    job: StudyJob, current: SegmentedStudy, before: Timepoint, registration: Registration
) -> tuple[SegmentedStudy, tuple[str, ...]]:
    """Use what the prior study knows: a lesion is there as long as anything is left of it, and touching ones stay two.

    Parameters
    ----------
    current
        As segmented without any prior.
    before, registration
        The prior study with its lesions, and how it lies on the current one.

    Returns
    -------
    SegmentedStudy, tuple of str
        The study with its lesions as they are now, and what the reader must know of it.
    """
    if current.probability is None or registration.kind == RegistrationKind.NONE or before.lesions is None:
        return current, ()
    probability = load_volume(current.probability)
    known = registration.warp(before.lesions, probability, interpolation="nearest")
    manifest = read_manifest(load_configuration(job.configuration_path).model.manifest or default_manifest_path())
    found = lesions_at_known_places(probability, load_volume(current.brain), known, manifest)
    sites = sites_of(measure_lesions(before.lesions), before.lesions, registration.transform)
    lesions = separate_touching(found, sites)
    more = _count(found) - len(current.measured)
    parted = _count(lesions) - _count(found)
    again = replace(
        current,
        lesions=save_volume(job.work_folder / "current-lesions-known.npz", lesions),
        measured=measure_lesions(lesions, probability),
    )
    remarks = []
    if more > 0:
        remarks.append(f"Lesions kept only because the prior study has one at their place: {more}; verify them.")
    if parted > 0:
        remarks.append(f"Lesions that touch a neighbour and were told apart as in the prior study: {parted}.")
    return again, tuple(remarks)


def _count(lesions: Volume) -> int:
    return len(np.unique(lesions.array)) - 1
