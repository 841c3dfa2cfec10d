"""What holds while a fit, a prediction or an inspection runs: bars, log lines, kept results."""

from ._kept import Kept, content_key, keeping, kept_results
from ._progress import advance, fitting, phase, predicting, run

__all__ = [
    "Kept",
    "advance",
    "content_key",
    "fitting",
    "keeping",
    "kept_results",
    "phase",
    "predicting",
    "run",
]
