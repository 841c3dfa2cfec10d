"""Encoders of one modality: a masked sequence of any length becomes one embedding."""

from ._base import Encoder, EncoderOutput
from ._cnn import CNNEncoder
from ._convolution import ConvolutionEncoder
from ._recurrent import GRUEncoder, LSTMEncoder
from ._registry import ENCODERS, get_encoder, register_encoder
from ._transformer import TransformerEncoder
from ._utde import UTDEEncoder

__all__ = [
    "CNNEncoder",
    "ConvolutionEncoder",
    "ENCODERS",
    "EncoderOutput",
    "Encoder",
    "GRUEncoder",
    "LSTMEncoder",
    "TransformerEncoder",
    "UTDEEncoder",
    "get_encoder",
    "register_encoder",
]
