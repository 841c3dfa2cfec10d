"""The encoders by name, to which users add their own."""

from __future__ import annotations

import torch

from mts_fusion.nn.layers import construct
from mts_fusion.panel._schema import Modality

from ._base import Encoder, EncoderOutput
from ._cnn import CNNEncoder
from ._convolution import ConvolutionEncoder
from ._recurrent import GRUEncoder, LSTMEncoder
from ._transformer import TransformerEncoder
from ._utde import UTDEEncoder

__all__ = ["ENCODERS", "get_encoder", "register_encoder"]

ENCODERS: dict[str, type[Encoder]] = {
    "multirocket": ConvolutionEncoder,
    "hydra": ConvolutionEncoder,
    "lstm": LSTMEncoder,
    "gru": GRUEncoder,
    "cnn": CNNEncoder,
    "transformer": TransformerEncoder,
    "utde": UTDEEncoder,
}


def get_encoder(name: str) -> type[Encoder]:
    """The class of an encoder.

    Parameters
    ----------
    name : str
        Its name.

    Returns
    -------
    type of Encoder
        The class.

    Raises
    ------
    ValueError
        If no encoder has this name; the message lists those there are.

    Examples
    --------
    >>> get_encoder("gru").__name__
    'GRUEncoder'
    """
    if name not in ENCODERS:
        raise ValueError(
            f"No encoder {name!r}; there are {sorted(ENCODERS)}. Add your own with "
            "register_encoder(name, cls)."
        )
    return ENCODERS[name]


def register_encoder(name: str, cls: type[Encoder]) -> None:
    """Add an encoder of your own under a name.

    It is first tried on a modality of which some values are missing.

    Parameters
    ----------
    name : str
        The name. If an encoder has it already, the new class replaces it only if it has the same
        class name.
    cls : type of Encoder
        Built with ``(modality, d_model)``, and with those of ``n_heads`` and ``dropout`` that its
        constructor names. It reads the values of its modality: fixed features are computed for the
        encoders of this package only.

    Raises
    ------
    TypeError
        If ``cls`` is not a subclass of :class:`Encoder` or returns anything but an
        :class:`EncoderOutput`.
    ValueError
        If the name is taken, or the output has a wrong shape, is not finite, or depends on values
        that are missing.

    Examples
    --------
    >>> class MeanEncoder(Encoder):
    ...     def __init__(self, modality, d_model):
    ...         super().__init__()
    ...         self.project = torch.nn.Linear(modality.n_channels, d_model)
    ...     def forward(self, values, observed, times=None, *, features=None):
    ...         mean = values.masked_fill(~observed, 0.0).mean(1)
    ...         embedding = self.project(mean)
    ...         available = observed.flatten(1).any(1, keepdim=True)
    ...         return EncoderOutput(embedding, embedding.unsqueeze(1), available)
    >>> register_encoder("mean", MeanEncoder)
    >>> del ENCODERS["mean"]
    """
    if not (isinstance(cls, type) and issubclass(cls, Encoder)):
        raise TypeError(f"Encoder {name!r} has to be a subclass of Encoder, got {cls!r}.")
    if name in ENCODERS and ENCODERS[name].__qualname__ != cls.__qualname__:
        raise ValueError(
            f"Encoder {name!r} is {ENCODERS[name].__name__} already. Choose another name."
        )
    _try(name, cls)
    ENCODERS[name] = cls


def _try(name: str, cls: type[Encoder]) -> None:
    """Build the encoder and encode four samples with gaps, of which the last has nothing at all."""
    d_model = 8
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        options = {"n_heads": 2, "dropout": 0.0}
        encoder = construct(cls, Modality("modality", 3, 12), d_model, options=options).eval()
    values = torch.randn(4, 12, 3, generator=generator)
    observed = torch.rand(4, 12, 3, generator=generator) < 0.7
    observed[-1] = False
    outputs = []
    with torch.no_grad():
        for x in (values, torch.where(observed, values, -3.0)):
            output = encoder(x, observed, None, features=None)
            if not isinstance(output, EncoderOutput):
                raise TypeError(
                    f"Encoder {name!r} has to return an EncoderOutput(embedding, tokens, "
                    f"observed), got {type(output).__name__}."
                )
            outputs.append(output)
    embedding, tokens, token_observed = outputs[0]
    shapes = (tuple(embedding.shape), tuple(tokens.shape), tuple(token_observed.shape))
    n_tokens = tokens.shape[1] if tokens.dim() == 3 else 1
    wanted = ((4, d_model), (4, n_tokens, d_model), (4, n_tokens))
    if shapes != wanted:
        raise ValueError(
            f"Encoder {name!r} gave embedding, tokens and observed of shapes {shapes} for 4 "
            f"samples and d_model={d_model}; {wanted} are wanted."
        )
    if not (embedding.isfinite().all() and tokens.isfinite().all()):
        raise ValueError(
            f"Encoder {name!r} gave numbers that are not finite for samples in which values are "
            "missing. Mask what is not observed before a softmax or a division."
        )
    if not all(torch.equal(one, two) for one, two in zip(*outputs, strict=True)):
        raise ValueError(
            f"The output of encoder {name!r} changes with values that are missing. Mask them by "
            "observed."
        )
