"""ImputerMixin: what imputers that draw share: transform, sample, quantiles and score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from mts_fusion.metrics import crps_from_samples
from mts_fusion.panel import Panel, PanelLike
from mts_fusion.panel._arguments import as_floats, check_types
from mts_fusion.transforms import MissingnessMasker, PanelScaler

from ._checks import check_X

__all__ = ["ImputerMixin"]


class ImputerMixin(TransformerMixin):
    """Abstract: an imputer that knows how uncertain it is. A method fills gaps in three ways.

    Attributes
    ----------
    seed_ : int
        Seed of the draws.
    """

    n_samples: int
    seed_: int

    _FILLS_GAPS: ClassVar[bool] = True

    # Hooks of a method

    @abstractmethod
    def _center(self, panel: Panel) -> Panel:
        """Panel whose gaps are filled with the median or the mean."""

    @abstractmethod
    def _draw(self, panel: Panel, n: int) -> list[Panel]:
        """Panels whose gaps are filled with draws."""

    @abstractmethod
    def _quantiles(self, panel: Panel, levels: np.ndarray) -> list[Panel]:
        """Panels whose gaps are filled with quantiles."""

    @abstractmethod
    def _unit(self) -> PanelScaler:
        """Scaler by the standard deviations of the channels in training."""

    # Imputation

    def transform(self, X: PanelLike) -> Panel:
        """Fill the gaps with the median (or mean) of what the values may have been.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        Panel
            The same panel with its gaps filled; observed entries and ``observed`` are unchanged. X
            itself if nothing is missing.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X has another schema than in ``fit``; the message names the modality.
        """
        return self._center(self._check_fitted(X))

    def sample(self, X: PanelLike, n: int | None = None) -> list[Panel]:
        """Fill the gaps with each of several draws.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.
        n : int or None, default=None
            Number of draws; None takes ``n_samples``. A larger number begins with the draws of a
            smaller one (with several networks: with those of its first network).

        Returns
        -------
        list of Panel
            One complete panel a draw, ``observed`` as in X.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``n`` is below 1, or X has another schema than in ``fit``.
        """
        check_types(ImputerMixin.sample, locals())
        n = self.n_samples if n is None else n
        if n < 1:
            raise ValueError(f"n={n}; at least 1 sample can be drawn.")
        return self._draw(self._check_fitted(X), n)

    def quantiles(
        self, X: PanelLike, q: float | Sequence[float] = (0.05, 0.5, 0.95)
    ) -> list[Panel]:
        """Fill the gaps with quantiles of what the values may have been.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.
        q : float or sequence of float, default=(0.05, 0.5, 0.95)
            Levels in [0, 1]. Where they are those of draws, levels within ``1 / n_samples`` of 0 or
            1 need more draws.

        Returns
        -------
        list of Panel
            One complete panel a level, ``observed`` as in X.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If a level is outside [0, 1], or X has another schema than in ``fit``.
        """
        check_types(ImputerMixin.quantiles, locals())
        levels = np.atleast_1d(as_floats("q", q))
        if levels.size == 0 or not ((levels >= 0) & (levels <= 1)).all():
            raise ValueError(f"q is a list of levels in [0, 1], got {q!r}.")
        return self._quantiles(self._check_fitted(X), levels)

    def score(self, X: PanelLike, y: object = None) -> float:
        """How well a hidden tenth of the observed entries is predicted; higher is better.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.
        y : None
            Ignored.

        Returns
        -------
        float
            Negative continuous ranked probability score of ``n_samples`` draws, in standard
            deviations of the channel, mean over the hidden entries.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X has another schema than in ``fit``, or nothing of it can be hidden.
        """
        panel, scaler = self._check_fitted(X), self._unit()
        masker = MissingnessMasker(pattern="point", fraction=0.1, random_state=self.seed_)
        masked = masker.fit_transform(panel)
        hidden = {k: panel.observed[k] & ~masked.observed[k] for k in panel.schema.names}
        if not any(h.any() for h in hidden.values()):
            raise ValueError(
                "Too little is observed in X to hide a tenth of it. Give more samples."
            )
        truth = scaler.transform(panel)
        draws = [scaler.transform(one) for one in self._draw(masked, self.n_samples)]
        parts = [
            (truth.values[k][h], np.stack([drawn.values[k][h] for drawn in draws]))
            for k, h in hidden.items()
        ]
        return -crps_from_samples(
            np.concatenate([t for t, _ in parts]), np.concatenate([d for _, d in parts], axis=1)
        )

    def _check_fitted(self, X: Any) -> Panel:
        check_is_fitted(self)
        return check_X(self, X, reset=False)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.target_tags.required = False
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = []  # numbers become float32
        return tags
