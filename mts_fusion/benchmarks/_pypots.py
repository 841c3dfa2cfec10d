"""Imputers of PyPOTS as rows of our tables: SAITS and CSDI, trained for a number of seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import available_if

from ..metrics import quantiles_from_samples
from ..panel import Panel
from ._costs import processor_seconds

__all__ = ["PyPOTSImputer"]

# Samples by which the seconds of an epoch are estimated.
_N_TRIAL = {"SAITS": 512, "CSDI": 32}


def _draws_numbers(imputer: PyPOTSImputer) -> bool:
    return imputer.network == "CSDI"


class PyPOTSImputer(BaseEstimator):
    """SAITS or CSDI of PyPOTS on one modality, with a budget of processor time for its training.

    Sizes are those of PyPOTS' own examples for PhysioNet 2012 (SAITS), and of our defaults (CSDI).

    Parameters
    ----------
    network : {"SAITS", "CSDI"}, default="SAITS"
        Which.
    seconds : float or None, default=2700
        Processor time of the training: as many epochs as fit, at least one, and of samples as many
        as one epoch allows. None: ``epochs``.
    epochs : int, default=1
        Passes over the samples, without ``seconds``.
    n_draws : int, default=20
        Draws of CSDI behind its quantiles.
    random_state : int, default=0
        Of the weights; sets torch's global seed, the only one that PyPOTS has.
    """

    def __init__(
        self,
        network: str = "SAITS",
        *,
        seconds: float | None = 2700.0,
        epochs: int = 1,
        n_draws: int = 20,
        random_state: int = 0,
    ) -> None:
        self.network = network
        self.seconds = seconds
        self.epochs = epochs
        self.n_draws = n_draws
        self.random_state = random_state

    def fit(self, X: Panel) -> Self:
        """Train the network on the only modality of ``X``."""
        (name,) = X.schema.names
        epochs = self.epochs
        if self.seconds is not None:
            few = X[: _N_TRIAL[self.network]]
            # The first training of a process takes longer, by what is set up once.
            self._make(X, 1).fit(_series(few))
            an_epoch = processor_seconds(lambda: self._make(X, 1).fit(_series(few)))
            passes = self.seconds * len(few) / (an_epoch * len(X))
            X = X[: len(X) if passes >= 1 else max(32, math.floor(passes * len(X)))]
            epochs = max(1, round(passes))
        self.name_, self.n_training_, self.n_iter_ = name, len(X), epochs
        self.model_ = self._make(X, epochs)
        self.model_.fit(_series(X))
        return self

    def transform(self, X: Panel) -> Panel:
        """The imputation of SAITS, or the median of CSDI's draws."""
        if self.network == "CSDI":
            return self.quantiles(X, q=[0.5])[0]
        return self._fill(X, np.asarray(self.model_.impute(_series(X))).transpose(0, 2, 1))

    @available_if(_draws_numbers)
    def quantiles(self, X: Panel, q: Sequence[float]) -> list[Panel]:
        """A panel for each level."""
        return [self._fill(X, x) for x in quantiles_from_samples(self.draws(X, self.n_draws), q)]

    @available_if(_draws_numbers)
    def sample(self, X: Panel, n: int) -> list[Panel]:
        """Panels of draws."""
        return [self._fill(X, x) for x in self.draws(X, n)]

    @available_if(_draws_numbers)
    def draws(self, X: Panel, n: int) -> NDArray[Any]:
        """Draws ``(n, samples, C, L)``."""
        drawn = np.asarray(self.model_.impute(_series(X), n_sampling_times=n))
        return drawn.transpose(1, 0, 3, 2)

    @property
    def n_weights(self) -> int:
        """Trainable numbers."""
        return sum(p.numel() for p in self.model_.model.parameters())

    def _fill(self, X: Panel, values: NDArray[Any]) -> Panel:
        return X.replace(values={self.name_: values}, observed=X.observed)

    def _make(self, X: Panel, n_epochs: int) -> Any:
        try:
            from pypots import imputation
        except ImportError:
            raise ImportError(
                f"The row '{self.network} of PyPOTS' requires pypots: pip install "
                "'mts-fusion[benchmarks]'. Where its requirements do not fit beside ours, compute "
                "the row in another environment with the same --out, then the table in this one."
            ) from None
        import torch

        torch.manual_seed(self.random_state)
        (modality,) = X.schema
        sizes: dict[str, Any] = {
            "SAITS": {"n_layers": 2, "d_model": 256, "n_heads": 4, "d_k": 64, "d_v": 64}
            | {"d_ffn": 128, "dropout": 0.1},
            "CSDI": {"n_layers": 4, "n_heads": 8, "n_channels": 64, "d_time_embedding": 128}
            | {"d_feature_embedding": 64, "d_diffusion_embedding": 128, "n_diffusion_steps": 50}
            | {"batch_size": 16},
        }
        return getattr(imputation, self.network)(
            n_steps=modality.n_timepoints,
            n_features=modality.n_channels,
            epochs=n_epochs,
            device="cpu",
            verbose=False,
            **sizes[self.network],
        )


def _series(panel: Panel) -> dict[str, NDArray[Any]]:
    """The only modality as PyPOTS takes it."""
    (values,) = panel.values.values()
    return {"X": values.transpose(0, 2, 1)}
