"""The current study's lesions, looked at again with the prior study in mind."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from highdicom import Volume

from dicom_node.jobs.artefacts import load_volume, save_volume
from dicom_node.jobs.job import StudyJob
from dicom_node.jobs.model import description_of, model_of
from dicom_node.jobs.segmented import SegmentedStudy, timepoint_of
from inference.follow_up import can_resegment, merged_probability, resegment
from inference.segmentation import lesion_confidence, lesion_probability, lesions_at_known_places, tissues_of
from inference.tissue_model import ModelDescription
from tracking.components import separate_touching
from tracking.matching.sites import sites_of
from tracking.measurement import measure_lesions
from tracking.registration import Registration, RegistrationKind
from tracking.timepoint import MRSequence, Timepoint, Tissue


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
    detected, brain = load_volume(current.probability), load_volume(current.brain)
    known = registration.warp(before.lesions, detected, interpolation="nearest")
    manifest = description_of(job)
    seen = None
    if can_resegment(manifest) and known.array.any():
        earlier = None
        if manifest.remembers:
            earlier = registration.warp(before.images[MRSequence.T1C], detected, interpolation="linear")
        seen = resegment(timepoint_of(current), brain, model_of(job), known=known, earlier=earlier)
    probability = _merged(detected, seen, known, manifest)
    found = lesions_at_known_places(probability, brain, known, manifest)
    sites = sites_of(measure_lesions(before.lesions), before.lesions, registration.transform)
    lesions = separate_touching(found, sites)
    tissues = _tissues(current, lesions, seen)
    more = _count(found) - len(current.measured)
    parted = _count(lesions) - _count(found)
    again = replace(
        current,
        lesions=save_volume(job.work_folder / "current-lesions-known.npz", lesions),
        probability=save_volume(job.work_folder / "current-probability-known.npz", probability),
        measured=measure_lesions(lesions, lesion_confidence(lesions, probability, manifest), tissues=tissues),
        tissues=None if tissues is None else save_volume(job.work_folder / "current-tissues-known.npz", tissues),
    )
    remarks = []
    if more > 0:
        remarks.append(f"Lesions kept only because the prior study has one at their place: {more}; verify them.")
    if parted > 0:
        remarks.append(f"Lesions that touch a neighbour and were told apart as in the prior study: {parted}.")
    return again, tuple(remarks)


def _merged(
    detected: Volume, seen: Mapping[Tissue, Volume] | None, known: Volume, manifest: ModelDescription
) -> Volume:
    if seen is None:
        return detected
    return merged_probability(detected, lesion_probability(seen), known, threshold=manifest.threshold)


def _tissues(current: SegmentedStudy, lesions: Volume, seen: Mapping[Tissue, Volume] | None) -> Volume | None:
    """Return the tissues as they were seen at first, and where there was no lesion then, with the prior in view."""
    first = None if current.tissues is None else load_volume(current.tissues)
    again = None if seen is None else tissues_of(lesions.array, seen)
    if first is None or again is None:
        return first if again is None else again
    told = np.isin(first.array, (Tissue.ENHANCING, Tissue.NECROSIS)) & (lesions.array > 0)
    return again.with_array(np.where(told, first.array, again.array))


def _count(lesions: Volume) -> int:
    return len(np.unique(lesions.array)) - 1
