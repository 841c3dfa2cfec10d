"""What holds while a fit, a prediction or an inspection runs: its bars and log lines."""

from ._progress import advance, fitting, phase, predicting, run

__all__ = ["advance", "fitting", "phase", "predicting", "run"]
