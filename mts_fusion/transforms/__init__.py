"""scikit-learn transformers of panels, which treat missing values as missing."""

from ._group import ModalityGrouper
from ._imputer import PanelImputer
from ._masker import MissingnessMasker, mask_panel
from ._sax import SAXTokenizer
from ._scaler import PanelScaler
from ._summary import PanelSummarizer

__all__ = [
    "MissingnessMasker",
    "ModalityGrouper",
    "PanelImputer",
    "PanelScaler",
    "PanelSummarizer",
    "SAXTokenizer",
    "mask_panel",
]
