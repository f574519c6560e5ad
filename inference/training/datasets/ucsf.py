"""UCSF-BMSR: metastases before radiosurgery, one to several studies of each patient.

Layout, as public converters of the set read it::

    UCSF_BrainMetastases_TRAIN/100101A/100101A_T1post.nii.gz
        also _T1pre, _FLAIR, _T2Synth, _subtraction; labels: _seg, _BraTS-seg

Six digits are the patient, the letter the study in order of time. ``_BraTS-seg`` (some files write it with another
case) tells tissues apart with the values of BraTS-METS and is taken where it is there; ``_seg`` outlines enhancing
tissue alone, without necrosis. Both were drawn and reviewed by radiologists: gold. The images are registered and cut to
the brain.

Not verified: how much time lies between studies. ``_T2Synth`` is computed from other sequences and is left out unless
asked for: it holds nothing that was measured as T2. The door was tested on generated samples alone.
"""

import re
from pathlib import Path

from inference.label_schemes import BRATS_METS, ENHANCING_ALONE
from inference.training.datasets.files import Names, folders, images, nifti
from inference.training.datasets.records import Quality, StudyRecord
from tracking.timepoint import MRSequence

FILES: Names = {
    MRSequence.T1C: ("_T1post",),
    MRSequence.T1: ("_T1pre",),
    MRSequence.FLAIR: ("_FLAIR",),
}
FOLDER = re.compile(r"(\d{6})([A-Z])", re.IGNORECASE)


def read_ucsf(root: Path, *, synthetic_t2: bool = False) -> tuple[StudyRecord, ...]:
    """Return the studies of UCSF-BMSR.

    Parameters
    ----------
    root
        Any folder above the studies.
    synthetic_t2
        Take ``_T2Synth`` for T2.

    Raises
    ------
    FileNotFoundError
        There is no study below ``root``.
    """
    files = {**FILES, MRSequence.T2: ("_T2Synth",)} if synthetic_t2 else FILES
    records = []
    for folder in folders(root, "[0-9]" * 6 + "[A-Za-z]"):
        name, present = FOLDER.fullmatch(folder.name), images(folder, files, stem=folder.name)
        if name is None or not present:
            continue  # a folder of something else
        tissues = nifti(folder, f"{folder.name}_BraTS-seg")
        labels = tissues or nifti(folder, f"{folder.name}_seg")
        scheme = BRATS_METS if tissues else ENHANCING_ALONE
        records.append(
            StudyRecord(
                data_set="UCSF-BMSR",
                patient_id=name[1],
                visit=ord(name[2].upper()) - ord("A"),
                images=present,
                labels=labels,
                scheme=scheme if labels else None,
                quality=Quality.GOLD if labels else Quality.UNLABELLED,
            )
        )
    return tuple(records)
