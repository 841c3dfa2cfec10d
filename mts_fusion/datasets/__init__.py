"""Synthetic panels, loaders of public data sets, and recordings cut into windows."""

from ._cache import get_data_home
from ._cmapss import fetch_cmapss
from ._dsads import fetch_dsads
from ._hydraulic import fetch_hydraulic
from ._live import LiveSegmenter
from ._pamap2 import fetch_pamap2
from ._physionet2012 import fetch_physionet2012
from ._physionet2019 import fetch_physionet2019
from ._segment import segment
from ._stress_predict import fetch_stress_predict
from ._synthetic import make_panel_classification, make_panel_regression
from ._trace_benchmark import make_trace_benchmark
from ._wesad import fetch_wesad

__all__ = [
    "LiveSegmenter",
    "fetch_cmapss",
    "fetch_dsads",
    "fetch_hydraulic",
    "fetch_pamap2",
    "fetch_physionet2012",
    "fetch_physionet2019",
    "fetch_stress_predict",
    "fetch_wesad",
    "get_data_home",
    "make_panel_classification",
    "make_panel_regression",
    "make_trace_benchmark",
    "segment",
]
