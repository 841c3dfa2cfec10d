"""From features of a modality to coordinates whose inner products are a kernel.

Sizes: B batch, F features, L landmarks, R coordinates.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["KernelMap"]

# Directions with an eigenvalue below this fraction of the largest one are rounding errors.
_RELATIVE_EIGENVALUE = 1e-7


class KernelMap(nn.Module):
    """A kernel between a sample and landmark samples, or coordinates that reproduce it.

    The kernel is linear, or Gaussian, ``exp(-bandwidth * |x - x'|^2 / 2)``, of features that are
    divided by their root-mean-square norm over the landmarks. With ``n_coordinates=None`` the
    output is the kernel itself, with one column for each landmark: the dual form. Otherwise it is
    the Nystroem approximation [1]_ with ``n_coordinates`` leading directions: the primal form. With
    all directions it is exact on the landmarks.

    Parameters
    ----------
    landmarks : Tensor of shape (L, F)
        Features of some training samples, NaN where the modality is missing.
    bandwidth : float or None, default=None
        Bandwidth of the Gaussian kernel; None for the linear kernel.
    n_coordinates : int or None, default=None
        Number R of coordinates; None for the kernel to the landmarks.

    Attributes
    ----------
    n_coordinates : int
        Number of columns of the output.

    Notes
    -----
    A sample without the modality has a row of zeros, and a kernel of 0 to all others.

    References
    ----------
    .. [1] Williams and Seeger, "Using the Nystroem method to speed up kernel machines", NeurIPS,
       2000.

    Examples
    --------
    >>> x = torch.randn(6, 3)
    >>> exact = KernelMap(x, n_coordinates=6)(x)
    >>> torch.allclose(exact @ exact.T, KernelMap(x)(x), atol=1e-5)
    True
    """

    scale: Tensor
    landmarks: Tensor | None
    observed: Tensor
    projection: Tensor | None

    def __init__(
        self,
        landmarks: Tensor,
        *,
        bandwidth: float | None = None,
        n_coordinates: int | None = None,
    ) -> None:
        super().__init__()
        self.bandwidth = bandwidth
        observed = _is_observed(landmarks)
        square = landmarks.nan_to_num(0.0).double().square().sum(1)
        norm = (square.sum() / observed.sum().clamp(min=1)).sqrt()
        scale = 1 / norm if norm > 0 else torch.ones((), dtype=torch.float64)
        self.register_buffer("scale", scale)
        # In float64, so that a sample has the same kernel in any batch.
        self.register_buffer("landmarks", landmarks.nan_to_num(0.0).double() * self.scale)
        self.register_buffer("observed", observed)
        self.register_buffer("projection", None)
        self._norms: Tensor | None = None
        self.n_coordinates = len(landmarks)
        if n_coordinates is not None:
            self._project(n_coordinates)

    def _project(self, n_coordinates: int) -> None:
        assert self.landmarks is not None
        gram = self._kernel(self.landmarks, self.observed)
        values, vectors = torch.linalg.eigh((gram + gram.T) / 2)
        values, vectors = values.flip(0)[:n_coordinates], vectors.flip(1)[:, :n_coordinates]
        kept = values > values[0].clamp(min=0) * _RELATIVE_EIGENVALUE
        if not bool(kept.any()):  # all samples of the modality are zeros
            kept = torch.zeros_like(kept).index_fill(0, torch.tensor([0]), True)
            values = values.clamp(min=1.0)
        projection = vectors[:, kept] / values[kept].sqrt()
        if self.bandwidth is None:  # (L, F), (L, R) -> (F, R)
            projection = self.landmarks.T @ projection
            self.landmarks = None
        self.projection = projection
        self.n_coordinates = projection.shape[1]

    def _kernel(self, x: Tensor, observed: Tensor) -> Tensor:
        landmarks = self.landmarks
        assert landmarks is not None
        product = x @ landmarks.T
        if self.bandwidth is None:
            return product
        square = x.square().sum(1, keepdim=True) + self._landmark_norms() - 2 * product
        gaussian = torch.exp(-self.bandwidth / 2 * square.clamp(min=0.0))
        return gaussian * observed.unsqueeze(1) * self.observed

    def _landmark_norms(self) -> Tensor:
        """Squared norms ``(L,)``, computed once: for one sample they are half of the work."""
        assert self.landmarks is not None
        if self._norms is None or self._norms.device != self.landmarks.device:
            self._norms = self.landmarks.square().sum(1)
        return self._norms

    def append(self, features: Tensor) -> None:
        """Add landmarks, in the dual form; the scale does not change.

        Parameters
        ----------
        features : Tensor of shape (k, F)
            Features of further samples.
        """
        assert self.landmarks is not None
        new = features.nan_to_num(0.0).double() * self.scale
        self.landmarks, self._norms = torch.cat([self.landmarks, new]), None
        self.observed = torch.cat([self.observed, _is_observed(features)])
        self.n_coordinates = len(self.landmarks)

    def keep(self, index: Tensor) -> None:
        """Keep some of the landmarks, in the dual form.

        Parameters
        ----------
        index : int Tensor of shape (k,)
            Indices of the landmarks.
        """
        assert self.landmarks is not None
        self.landmarks, self.observed = self.landmarks[index], self.observed[index]
        self._norms = None
        self.n_coordinates = len(self.landmarks)

    def gram(self) -> Tensor:
        """Kernel between the landmarks, in the dual form.

        Returns
        -------
        Tensor of shape (L, L)
            float64.
        """
        assert self.landmarks is not None
        return self._kernel(self.landmarks, self.observed)

    def landmark_features(self) -> Tensor:
        """Features of the landmarks, in the dual form.

        Returns
        -------
        Tensor of shape (L, F)
            NaN where the modality is missing.
        """
        assert self.landmarks is not None
        features = (self.landmarks / self.scale).float()
        return features.masked_fill(~self.observed.unsqueeze(1), torch.nan)

    def forward(self, features: Tensor) -> Tensor:
        """Coordinates of samples.

        Parameters
        ----------
        features : Tensor of shape (B, F)
            NaN where the modality is missing.

        Returns
        -------
        Tensor of shape (B, R)
            float64; 0 where the modality is missing.
        """
        base = self.base(features)
        return base if self.projection is None else base @ self.projection

    def base(self, features: Tensor) -> Tensor:
        """What the coordinates are linear in: scaled features, or the kernel to the landmarks.

        Parameters
        ----------
        features : Tensor of shape (B, F)
            NaN where the modality is missing.

        Returns
        -------
        Tensor of shape (B, F) or (B, L)
            float64; 0 where the modality is missing.
        """
        x = features.nan_to_num(0.0).double() * self.scale
        return x if self.landmarks is None else self._kernel(x, _is_observed(features))

    def base_coef(self, coef: Tensor) -> Tensor:
        """Coefficients of :meth:`base` that give the same products as those of the coordinates.

        Parameters
        ----------
        coef : Tensor of shape (R, C)
            Coefficients of the coordinates.

        Returns
        -------
        Tensor of shape (F or L, C)
            float64.
        """
        return coef if self.projection is None else self.projection @ coef


def _is_observed(features: Tensor) -> Tensor:
    return (~features.isnan()).any(1)
