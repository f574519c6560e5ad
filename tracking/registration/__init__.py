"""The prior study brought to the current one, with a measure of how far to trust it.

`register` is for two studies, `align_sequence` for the sequences within one. Two engines stand behind one interface.
greedy (picsl-greedy) is the default: on two real heads with known motion (`benchmarks.registration`) it is as exact
as ANTs (antspyx) near a growing mass and near a resection, 0.53 and 0.86 mm against 0.58 and 0.90, in an eighth of
the time, 17 s against 125 s of one core. Neither is told where a resection cavity is; known lesions are masked out.
How far a point may be off is read from the images (`uncertainty`): a transform and its inverse agree well even where
both are wrong, blocks of the two images that fit better elsewhere show it.
"""

from tracking.registration.result import Registration, RegistrationKind
from tracking.registration.steps import register
from tracking.registration.within_study import SequenceAlignment, align_sequence

__all__ = ["Registration", "RegistrationKind", "SequenceAlignment", "align_sequence", "register"]
