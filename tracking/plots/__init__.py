"""Figures that can be read without colour: every line differs by marker and stroke as well; one colour per lesion.

All functions return a matplotlib `Figure` that nothing else holds on to; `save_figure` writes it.
"""

from tracking.plots.growth import growth_figure
from tracking.plots.look import Look, lesion_looks, save_figure

__all__ = ["Look", "growth_figure", "lesion_looks", "save_figure"]
