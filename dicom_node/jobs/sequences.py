"""Beside the T1c a model may want T1, T2 or FLAIR: they are read, laid on the T1c, and doubts are told."""

from collections.abc import Mapping
from dataclasses import dataclass

from highdicom import Volume

from dicom_node.errors import InvalidStudyError
from dicom_node.studies.study import Series
from dicom_node.studies.volumes import read_volume
from inference.inputs import sequences_for
from tracking.registration import align_sequence
from tracking.timepoint import MRSequence


@dataclass(frozen=True, kw_only=True, eq=False)
class AlignedSequences:
    """What a study has beside its T1c, of what the model wants.

    Attributes
    ----------
    images
        float32 volumes on the grid of the T1c.
    remarks
        What the reader must know: what was missing, or could not be laid on the T1c.
    """

    images: Mapping[MRSequence, Volume]
    remarks: tuple[str, ...] = ()


def align_further(
    series: Mapping[MRSequence, Series], t1c: Volume, brain: Volume, *, channels: tuple[str, ...], threads: int
) -> AlignedSequences:
    """Read and align the further sequences that a model with these channels can use.

    Parameters
    ----------
    series
        The series chosen for each sequence.
    t1c, brain
        Image and brain mask on one grid.
    channels
        Of the model's manifest.
    threads
        Processor threads.
    """
    images: dict[MRSequence, Volume] = {}
    remarks: list[str] = []
    for sequence in sequences_for(channels):
        if sequence == MRSequence.T1C:
            continue
        if sequence not in series:
            remarks.append(f"The study has no {sequence}; the network, which can use it, went without.")
            continue
        try:
            image = read_volume(series[sequence]).volume
        except InvalidStudyError as error:
            remarks.append(f"{sequence} was left out: {error}")
            continue
        found = align_sequence(t1c, image, brain, sequence=sequence, threads=threads)
        images[sequence] = found.transform.warp(image, t1c)
        remarks += [f"{sequence}: {remark}" for remark in found.remarks]
    return AlignedSequences(images=images, remarks=tuple(remarks))
