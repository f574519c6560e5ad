"""The prior study brought to the current one, with a measure of how far to trust it."""

from tracking.registration.result import Registration, RegistrationKind
from tracking.registration.steps import register
from tracking.registration.within_study import SequenceAlignment, align_sequence

__all__ = ["Registration", "RegistrationKind", "SequenceAlignment", "align_sequence", "register"]
