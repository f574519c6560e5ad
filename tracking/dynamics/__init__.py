"""How fast a patient's metastases come and grow: figures per interval, per lesion, and as velocity.

They describe; none of them is a prognosis.
"""

from tracking.dynamics.export import FIGURE_COLUMNS, write_figures
from tracking.dynamics.figures import Dynamics, dynamics
from tracking.dynamics.growth import LesionGrowth, doubling_time_days, lesion_growth, log2_rate
from tracking.dynamics.intervals import IntervalFigures, interval_figures
from tracking.dynamics.velocity import Velocity, VelocityClass, brain_metastasis_velocity
from tracking.dynamics.wording import describe_dynamics

__all__ = [
    "FIGURE_COLUMNS",
    "Dynamics",
    "IntervalFigures",
    "LesionGrowth",
    "Velocity",
    "VelocityClass",
    "brain_metastasis_velocity",
    "describe_dynamics",
    "doubling_time_days",
    "dynamics",
    "interval_figures",
    "lesion_growth",
    "log2_rate",
    "write_figures",
]
