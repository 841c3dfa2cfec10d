"""TraceClassifier and TraceRegressor: impute, fuse, and propagate the uncertainty of imputation."""

from __future__ import annotations

import numpy as np

from mts_fusion.panel import PanelLike

from ._docs import CLASSIFIER_ATTRIBUTES, REGRESSOR_ATTRIBUTES, TRAINING_PARAMETERS
from ._mixins import PanelClassifierMixin, PanelRegressorMixin
from ._trace_base import TraceEstimator

__all__ = ["TraceClassifier", "TraceRegressor"]

_PARAMETERS = f"""imputer : transformer, "diffusion", "nearest" or None, default="diffusion"
        Stage 1, fitted before the network. ``"diffusion"`` is a small
        :class:`ConditionalDiffusionImputer` of all modalities of numbers, trained for
        ``max_epochs`` (``"auto"``: 300 steps and at least 3 epochs); modalities of tokens, and
        those of which nothing was observed in a sample, stay as they are. ``"nearest"`` is
        ``PanelImputer()``. With None the network reads observed values only: with
        ``statistics=False`` this is FuseMoE, not TRACE. A transformer is fitted on ``(X, y)``,
        without channels never observed in X, with ``groups`` where its ``fit`` takes them, and
        gets seeds where its ``random_state`` is None; pass one that is
        already fitted as ``FrozenEstimator(imputer)``.
    n_imputations : int, default=1
        Number of imputations that each prediction is averaged over. 1 uses ``imputer.transform``.
        Above 1 the network is trained on one draw of ``imputer.sample(X, n)`` and predicts from
        ``n_imputations`` of them, which takes that many times as long.
    d_model : int, default=64
        Width of the tokens; a multiple of ``n_heads``.
    d_time : int, default=64
        Width of the time embedding; a multiple of ``n_heads``.
    n_reference : int, default=16
        Number of reference times at which every series is interpolated. More resolve faster
        changes and cost more.
    n_heads : int, default=4
        Number of heads, of the attention over time and of that between modalities.
    n_layers : int, default=2
        Number of layers of attention and experts.
    n_experts : int, default=8
        Number of experts in each layer; with ``router="disjoint"`` a multiple of the number of
        modalities.
    n_active_experts : int, default=2
        Number of experts that process each token.
    d_hidden : int, default=64
        Hidden width of an expert.
    router : {{"joint", "per_modality", "disjoint"}}, default="per_modality"
        ``"joint"``: one router reads all modalities. ``"per_modality"``: each has its own router
        and all share the experts. ``"disjoint"``: each has its own router and experts.
    gate : {{"softmax", "laplace", "gaussian"}}, default="laplace"
        Score of an expert: inner product, negative distance, or negative squared distance.
    entropy_weight : float, default=1.0
        Weight of the regulariser that assigns modalities to different experts (eq. 8 of the paper).
        It acts on the per-modality router alone: with a joint router it is 0, with disjoint ones
        constant. 0 turns it off.
    modality_dropout : float, default=0.2
        Rate at which each modality of a sample, imputed values included, is dropped in training;
        reached after a quarter of the epochs. The papers have 0.
    dropout : float, default=0.1
        Dropout in all layers.
    statistics : bool or "auto", default="auto"
        Whether summary statistics of the observed values of each modality are read too, as a token
        and by a linear term of the logits; with irregular times also when and how often its
        channels were observed. They do not depend on the imputed values, so ``"auto"``
        is True with ``n_imputations=1`` and False where an average over imputations carries their
        uncertainty. The papers have False.
    head : {{"network", "boosting"}}, default="network"
        ``"boosting"`` adds boosted trees on ``PanelSummarizer`` to the outputs of the network: log
        probabilities (numbers for regression), each with a share that is learnt on the held-out
        samples. Where thresholds decide, as the times of measurements on a ward do, trees learn
        them better. Not in the papers.
    horizon_seconds : float or None, default=None
        Span of the reference times, from 0 s. None is the longest duration of the regular
        modalities; with irregular ones it is the time span of each sample, so that only the order
        and spacing of times matter.
    {TRAINING_PARAMETERS}"""


class TraceClassifier(PanelClassifierMixin, TraceEstimator):
    __doc__ = f"""Classifier of time series with gaps and irregular times, after TRACE [1]_.

    Stage 1, ``imputer``, fills gaps from all modalities. Stage 2, FuseMoE [2]_, interpolates every
    series at common reference times by attention, and fuses the modalities by attention between
    them and sparse experts. With ``n_imputations > 1`` the probabilities account for the
    uncertainty of the imputation.

    Parameters
    ----------
    {_PARAMETERS}

    Attributes
    ----------
    {CLASSIFIER_ATTRIBUTES}
    imputer_ : transformer or None
        The fitted imputer.
    trees_ : object or None
        The boosted trees of ``head="boosting"``. ``trees_.shares``, of shape (2, 2), are those of
        network and trees, with all modalities and with none.

    References
    ----------
    .. [1] Kan et al., "TRACE: A Temporal Conditional Estimation for Multimodal Time Series
       Foundation Models", ICML, 2026. https://arxiv.org/abs/2606.06285
    .. [2] Han et al., "FuseMoE: Mixture-of-Experts Transformers for Fleximodal Fusion", NeurIPS,
       2024. https://arxiv.org/abs/2402.03226

    Examples
    --------
    >>> from mts_fusion.datasets import make_panel_classification
    >>> X, y = make_panel_classification(n_samples=60, random_state=0)
    >>> clf = TraceClassifier(imputer="nearest", d_model=16, max_epochs=2, random_state=0)
    >>> clf.fit(X, y).predict_proba(X[:5]).shape
    (5, 3)
    """

    def predict_uncertainty(
        self, X: PanelLike, *, n_samples: int = 20, method: str = "auto"
    ) -> dict[str, np.ndarray]:
        """The entropy of the prediction, split by source.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.
        n_samples : int, default=20
            Draws of dropout for each imputation, shared out evenly between the networks.
        method : {"auto", "ensemble", "dropout"}, default="auto"
            What disagrees given an imputation: the trained networks, or draws of dropout in each of
            them. ``"auto"`` is ``"ensemble"`` with ``n_estimators > 1``, otherwise ``"dropout"``.

        Returns
        -------
        dict of str to array of shape (n,)
            In nats. ``total``, the entropy of the mean probability, is the sum of ``aleatoric``,
            the mean entropy; ``epistemic``, the disagreement of the networks given the imputation;
            and ``imputation``, the disagreement of the imputations, 0 with ``n_imputations=1``.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``n_samples`` is below 2, ``method`` is unknown or ``"ensemble"`` with
            one network, or X has another schema than in ``fit``.
        """
        p = self._predictive_samples(X, n_samples, method)  # (I, S, n, K)
        total = self._task.entropy(p.mean((0, 1)))
        given_imputation = self._task.entropy(p.mean(1)).mean(0)
        aleatoric = self._task.entropy(p).mean((0, 1))
        return {
            "total": total,
            "aleatoric": aleatoric,
            "epistemic": given_imputation - aleatoric,
            "imputation": total - given_imputation,
        }


class TraceRegressor(PanelRegressorMixin, TraceEstimator):
    __doc__ = f"""Regressor of time series with gaps and irregular times, after TRACE [1]_.

    As :class:`TraceClassifier`, for one or several numeric targets.

    Parameters
    ----------
    {_PARAMETERS}

    Attributes
    ----------
    {REGRESSOR_ATTRIBUTES}
    imputer_ : transformer or None
        The fitted imputer.
    trees_ : object or None
        The boosted trees of ``head="boosting"``. ``trees_.shares``, of shape (2, 2), are those of
        network and trees, with all modalities and with none.

    References
    ----------
    .. [1] Kan et al., "TRACE: A Temporal Conditional Estimation for Multimodal Time Series
       Foundation Models", ICML, 2026. https://arxiv.org/abs/2606.06285

    Examples
    --------
    >>> from mts_fusion.datasets import make_panel_regression
    >>> X, y = make_panel_regression(n_samples=60, random_state=0)
    >>> TraceRegressor(d_model=16, max_epochs=2, random_state=0).fit(X, y).predict(X[:5]).shape
    (5,)
    """

    def predict_uncertainty(
        self, X: PanelLike, *, n_samples: int = 20, method: str = "auto"
    ) -> dict[str, np.ndarray]:
        """The standard deviation of the prediction, split by source.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.
        n_samples : int, default=20
            Draws of dropout for each imputation, shared out evenly between the networks.
        method : {"auto", "ensemble", "dropout"}, default="auto"
            What disagrees given an imputation: the trained networks, or draws of dropout in each of
            them. ``"auto"`` is ``"ensemble"`` with ``n_estimators > 1``, otherwise ``"dropout"``.

        Returns
        -------
        dict of str to array of shape (n,) or (n, n_outputs)
            In the unit of y: ``epistemic``, the disagreement of the networks given the imputation;
            ``imputation``, the disagreement of the imputations, 0 with ``n_imputations=1``; and
            ``total``, the root of the sum of their squares. The noise of y itself is not included.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``n_samples`` is below 2, ``method`` is unknown or ``"ensemble"`` with
            one network, or X has another schema than in ``fit``.
        """
        samples = self._predictive_samples(X, n_samples, method)  # (I, S, n, K)
        epistemic = samples.var(1).mean(0)
        imputation = samples.mean(1).var(0)
        variances = {
            "total": epistemic + imputation,
            "epistemic": epistemic,
            "imputation": imputation,
        }
        return {key: self._task.decode(np.sqrt(variance)) for key, variance in variances.items()}
