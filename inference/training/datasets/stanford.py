"""Stanford BrainMetShare: one study of each patient before treatment, in pictures or, in its later edition, NIfTI.

Layouts, as public converters of the set read them::

    mets_stanford_releaseMask_train/Mets_005/0/1.png …    0 BRAVO with contrast, 1 T1, 2 T1 with contrast (spin echo),
                                                          3 FLAIR, seg labels; a picture a slice
    Mets_005/bravo.nii.gz                                 also t1_pre, t1_gd, flair, seg

Of the two sequences with contrast, BRAVO counts: its slices are the thinner. There is no T2. Labels are one class, 1 in
NIfTI and 255 in pictures, drawn by radiologists: gold. Masks stored as JPEG would hold other values and are refused.
The images are registered and cut to the brain.

Not verified: the pictures' orientation and spacing (see `inference.training.datasets.files.read_volume`; 0.94 mm and
1 mm is what others use), and that outlines hold necrosis too (taken for whole lesions, tissue unknown). The door was
tested on generated samples alone.
"""

from collections.abc import Mapping
from pathlib import Path

from inference.label_schemes import BRAINMETSHARE
from inference.training.datasets.files import Names, folders, images, nifti
from inference.training.datasets.records import Quality, StudyRecord
from tracking.timepoint import MRSequence

FILES: Names = {
    MRSequence.T1C: ("bravo", "t1_gd"),
    MRSequence.T1: ("t1_pre",),
    MRSequence.FLAIR: ("flair",),
}
PICTURE_FOLDERS: Mapping[MRSequence, tuple[str, ...]] = {
    MRSequence.T1C: ("0", "2"),
    MRSequence.T1: ("1",),
    MRSequence.FLAIR: ("3",),
}


def read_stanford(root: Path) -> tuple[StudyRecord, ...]:
    """Return the studies of BrainMetShare; those without labels (the test part) are there without labels.

    Raises
    ------
    FileNotFoundError
        There is no study below ``root``.
    """
    records = []
    for folder in folders(root, "Mets_*"):
        present = images(folder, FILES) or _pictures(folder)
        if not present:
            continue  # a folder of folders, whose name begins alike
        pictures = folder / "seg"
        labels = nifti(folder, "seg") or (pictures if pictures.is_dir() else None)
        records.append(
            StudyRecord(
                data_set="BrainMetShare",
                patient_id=folder.name,
                visit=0,
                images=present,
                labels=labels,
                scheme=BRAINMETSHARE if labels else None,
                quality=Quality.GOLD if labels else Quality.UNLABELLED,
            )
        )
    return tuple(records)


def _pictures(folder: Path) -> dict[MRSequence, Path]:
    found = {
        sequence: next((folder / name for name in names if (folder / name).is_dir()), None)
        for sequence, names in PICTURE_FOLDERS.items()
    }
    return {sequence: path for sequence, path in found.items() if path is not None}
