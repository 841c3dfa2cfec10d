"""What X is: samples of several modalities, and the one door in."""

from ._convert import SERIES, as_panel
from ._model import schema_of
from ._panel import Panel
from ._save import save_panels
from ._schema import RATE_TOLERANCE, Modality, Schema, Vocabulary
from ._types import PanelLike

__all__ = [
    "RATE_TOLERANCE",
    "SERIES",
    "Modality",
    "Panel",
    "PanelLike",
    "Schema",
    "Vocabulary",
    "as_panel",
    "save_panels",
    "schema_of",
]
