"""What a patient's visits say together: response and speed, for a report."""

from collections.abc import Sequence

from tracking.dynamics import describe_dynamics, dynamics
from tracking.response import Criteria, assess_course, describe
from tracking.visit import Visit


def describe_course(visits: Sequence[Visit], criteria: Criteria | None = None) -> tuple[str, ...]:
    """Return the sentences of the last visit: its verdict by RANO-BM with all numbers, and how fast things go.

    Parameters
    ----------
    visits
        Of one patient, the earliest of them the baseline; with less than two nothing can be said.
    criteria
        Options of RANO-BM; the defaults when None.

    Raises
    ------
    ValueError
        If two visits have the same date.
    """
    assessments = assess_course(visits, criteria)
    if not assessments:
        return ()
    return (*describe(assessments[-1]), *describe_dynamics(dynamics(visits)))
