"""The prior study brought to the current one, with a measure of how far to trust it."""

from tracking.registration.result import Registration, RegistrationKind
from tracking.registration.steps import register

__all__ = ["Registration", "RegistrationKind", "register"]
