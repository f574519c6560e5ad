"""Which lesion of today is which lesion of before.

`matcher` tells one step from study to study, and its docstring names the parts. `baselines` are the published methods
that it is measured against.
"""

from tracking.matching.evidence import MatchSettings
from tracking.matching.matcher import baseline_tracks, match

__all__ = ["MatchSettings", "baseline_tracks", "match"]
