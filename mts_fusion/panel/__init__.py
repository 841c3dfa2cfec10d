"""What X is: samples of several modalities, and the one door in."""

from ._convert import SERIES, as_panel
from ._panel import Panel
from ._schema import Modality, Schema, Vocabulary

__all__ = ["SERIES", "Modality", "Panel", "Schema", "Vocabulary", "as_panel"]
