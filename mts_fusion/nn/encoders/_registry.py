"""The encoders by name."""

from __future__ import annotations

from ._base import Encoder
from ._cnn import CNNEncoder
from ._convolution import ConvolutionEncoder
from ._recurrent import GRUEncoder, LSTMEncoder
from ._transformer import TransformerEncoder

__all__ = ["ENCODERS"]

ENCODERS: dict[str, type[Encoder]] = {
    "multirocket": ConvolutionEncoder,
    "hydra": ConvolutionEncoder,
    "lstm": LSTMEncoder,
    "gru": GRUEncoder,
    "cnn": CNNEncoder,
    "transformer": TransformerEncoder,
}
