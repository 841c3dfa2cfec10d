"""The parameters of MaestroClassifier and MaestroRegressor, for their docstrings."""

from __future__ import annotations

from ._docs import TRAINING_PARAMETERS

__all__ = ["MAESTRO_PARAMETERS"]

MAESTRO_PARAMETERS = f"""d_model : int, default=64
        Width of the tokens.
    n_heads : int, default=4
        Number of attention heads; divides ``d_model``.
    n_intra_layers : int, default=2
        Number of attention layers within each modality.
    n_cross_layers : int, default=2
        Number of attention layers across modalities.
    d_hidden : int or None, default=None
        Hidden width of the feed-forward layers and of each expert; None: ``2 * d_model``.
    n_experts : int, default=4
        Number of experts after each cross-modal attention; 1 is a plain feed-forward layer.
    n_active_experts : int, default=1
        Number of experts that process each token.
    attention_budget : "learnt", float, dict of str to float, default="learnt"
        Of n observed tokens of a modality, ``budget * log(n)`` are attention queries. ``"learnt"``
        predicts the budgets from the available modalities; a number fixes them, for all modalities
        or by name. With 0 no token is a query and each takes the mean; with ``inf``, for all
        modalities, each token is a query.
    max_budget : float, default=5.0
        Upper limit of a learnt budget.
    cross_budget : float or None, default=None
        Of the T tokens of all modalities, ``cross_budget * log(T)`` are queries of the attention
        across modalities; ``inf``: all. None: all of up to 1,024 tokens, and ``max_budget`` is the
        budget of more.
    distil : bool, default=True
        Whether each attention layer within a modality halves its tokens.
    modality_dropout : float, default=0.3
        Fraction of the modalities that is hidden in training, on average. With 0 the networks do
        not learn to predict without a sensor that is always there in training.
    modality_dropout_spread : bool, default=True
        Whether each sample has a rate of its own, drawn uniformly between 0 and twice
        ``modality_dropout`` (above .5: from ``2 * modality_dropout - 1`` to 1). False: all samples
        have the rate ``modality_dropout``.
    n_warmup_epochs : int, default=0
        Number of epochs without modality dropout.
    n_curriculum_epochs : int or "auto", default="auto"
        Epoch in which modality dropout reaches ``modality_dropout``; its rate rises linearly from
        the end of the warm-up. ``"auto"`` is ``n_warmup_epochs`` plus a quarter of the remaining
        epochs, rounded up. The dropout of kinds of tokens has the same curriculum.
    dropout : float, default=0.3
        Dropout in all layers.
    balance_weight : float, default=0.0
        Weight of the loss that balances the load of the experts.
    missing : {"mask", "token"}, default="mask"
        What stands where nothing of a patch, or of a modality, was observed. ``"mask"``: nothing;
        it is left out of the attention. ``"token"``: a learnt vector for each modality, which takes
        part in it, as in [1]_. Values behind what was not observed are never read.
    patch_length : int, dict of str to int or None, default=None
        Number of consecutive timepoints in a token, for all modalities or by name. None chooses it
        so that each modality has at most ``max_tokens`` tokens.
    max_tokens : int, default=4
        Maximum number of tokens of a modality whose ``patch_length`` is not given.
    feature_tokens : sequence of str, default=("statistics", "multirocket")
        Kinds of fixed features that stand as further tokens beside those of the series:
        ``"statistics"`` (level, spread, quantiles, spectrum, autocorrelation and correlations of
        the channels), ``"multirocket"`` (random convolutions: proportions of positive values and
        run lengths [2]_), ``"hydra"`` (random convolutions that compete), ``"timing"`` (when and
        how often irregular channels were observed). Each modality has one token of its statistics
        and one of all other kinds. ``()``: none, as in [1]_.
    feature_dropout : float, default=0.5
        Dropout on the fixed features.
    n_groups : int, default=8
        Number of groups of random convolutions, even. Time and memory grow linearly with it.
    linear_head : bool, default=False
        Whether the logits also have a term that is linear in the statistics of each modality. It
        helps where the target depends little on combinations of modalities. The probabilities are
        then underconfident: calibrate them with ``calibration="temperature"``.
    token_type_dropout : float, default=0.3
        Rate at which each kind of feature tokens (statistics, others) is dropped from a sample in
        training. At least one kind is kept.
    series_dropout : float, default=0.5
        Rate at which a sample is predicted from its feature tokens alone in training, so that the
        tokens of the series, which fit the training samples more closely, do not replace them.
    pretrained : PretrainedNetwork or None, default=None
        ``network_`` of a :class:`MaestroPretrainer` with the same tokens and layers, to start from.
    {TRAINING_PARAMETERS}"""
