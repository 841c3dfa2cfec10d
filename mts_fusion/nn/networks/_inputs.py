"""What networks check of their input, and how many tokens it makes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mts_fusion.panel._schema import Schema

__all__ = ["check_features", "check_values", "token_counts"]


def check_values(schema: Schema, values: Sequence[Tensor], observed: Sequence[Tensor]) -> None:
    """Raise unless the input has the modalities and channels of a schema.

    Parameters
    ----------
    schema : Schema
        The modalities of the network.
    values : sequence of M Tensors of shape (B, L, C)
        Numbers or symbols.
    observed : sequence of M Tensors of shape (B, L, C)
        Bool.

    Raises
    ------
    ValueError
        If there is another number of modalities, or one has another number of channels.
    """
    if not len(values) == len(observed) == len(schema):
        raise ValueError(
            f"The network has {len(schema)} modalities {list(schema.names)}, got "
            f"{len(values)} values and {len(observed)} observed."
        )
    for modality, x in zip(schema, values, strict=True):
        if x.dim() != 3 or x.shape[2] != modality.n_channels:
            raise ValueError(
                f"Modality {modality.name!r} has values of shape (B, L, {modality.n_channels}), "
                f"got {tuple(x.shape)}."
            )


def check_features(features: Sequence[Tensor] | None) -> Sequence[Tensor]:
    """The fixed features that a network has declared.

    Parameters
    ----------
    features : sequence of M Tensors of shape (B, F) or None
        What ``forward`` was given.

    Returns
    -------
    sequence of M Tensors
        The same.

    Raises
    ------
    ValueError
        If there are none.
    """
    if features is None:
        raise ValueError("The network has feature_widths, but no features were given.")
    return features


def token_counts(
    schema: Schema, lengths: Sequence[int], n_layers: int, *, distil: bool
) -> list[list[int]]:
    """Tokens of each modality before each layer, and after the last.

    Parameters
    ----------
    schema : Schema
        The modalities.
    lengths : sequence of M int
        Timepoints that make one token.
    n_layers : int
        Number of layers.
    distil : bool
        Whether each layer halves the tokens.

    Returns
    -------
    list of n_layers + 1 lists of M int
    """
    first = [-(-m.n_timepoints // length) for m, length in zip(schema, lengths, strict=True)]
    return [[-(-n // 2 ** (layer * distil)) for n in first] for layer in range(n_layers + 1)]
