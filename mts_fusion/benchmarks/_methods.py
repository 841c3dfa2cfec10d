"""The rows of the tables: a dict, name -> method. To add a method, add a line."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.feature_selection import VarianceThreshold
from sklearn.pipeline import make_pipeline

from ..transforms import PanelSummarizer, SAXTokenizer
from ._baselines import (
    gru_d,
    inception_time,
    multirocket_hydra,
    multirocket_hydra_regressor,
    transformer_of_all_channels,
)
from ._haim import haim
from ._protocol import Method

__all__ = ["CLASSIFIERS", "REGRESSORS", "SMALL_IMPUTER", "choose"]

M = TypeVar("M")


def _maestro(*, seed: int, quick: bool) -> Any:
    from ..estimators import MaestroClassifier

    short: dict[str, Any] = {"max_epochs": 5} if quick else {}
    return MaestroClassifier(random_state=seed, verbose=0, **short)


def _maestro_sax(*, seed: int, quick: bool) -> Any:
    # MAESTRO's setting for DSADS: 20 symbols, one timepoint a segment
    return make_pipeline(
        SAXTokenizer(alphabet_size=20, segment_length=1), _maestro(seed=seed, quick=quick)
    )


# An imputer for a run on a processor: wide patches, few and short draws, little training.
SMALL_IMPUTER = {
    "d_model": 32,
    "n_encoder_layers": 2,
    "patch_length": 8,
    "n_samples": 5,
    "n_steps": 2,
    "max_epochs": 4,
}


def _trace(*, seed: int, quick: bool, small: bool = False) -> Any:
    from ..estimators import ConditionalDiffusionImputer, TraceClassifier

    short: dict[str, Any] = {"max_epochs": 2} if quick else {}
    size: dict[str, Any] = SMALL_IMPUTER if small else {}
    imputer = ConditionalDiffusionImputer(random_state=seed, **{**size, **short})
    return TraceClassifier(imputer=imputer, random_state=seed, **short)


def _trace_default(*, seed: int, quick: bool, **settings: Any) -> Any:
    from ..estimators import TraceClassifier

    short: dict[str, Any] = {"max_epochs": 2} if quick else {}
    return TraceClassifier(random_state=seed, **short, **settings)


def _trace_paper(*, seed: int, quick: bool) -> Any:
    from ..estimators import TraceClassifier

    clf = TraceClassifier.from_paper("mimic4", random_state=seed)
    short = {"max_epochs": 1, "imputer__max_epochs": 1, "imputer__n_samples": 1}
    return clf.set_params(**short) if quick else clf


def _observed_only(*, seed: int, quick: bool) -> Any:
    from ..estimators import TraceClassifier

    short: dict[str, Any] = {"max_epochs": 2} if quick else {}
    return TraceClassifier(imputer=None, random_state=seed, **short)


def _fusemoe(*, seed: int, quick: bool) -> Any:
    # FuseMoE has neither an imputer nor statistics beside its series.
    return _observed_only(seed=seed, quick=quick).set_params(statistics=False)


def _fusion(*, seed: int, quick: bool, **settings: Any) -> Any:
    from ..estimators import FusionClassifier

    short: dict[str, Any] = {"max_epochs": 2, "n_groups": 8} if quick else {}
    return FusionClassifier(random_state=seed, verbose=0, **short, **settings)


def _plain_transformer(*, seed: int, quick: bool) -> Any:
    return _fusion(seed=seed, quick=quick, strategy="early", encoder="transformer")


def _pattern_ridge(*, seed: int, quick: bool, **settings: Any) -> Any:
    from ..estimators import PatternRidgeClassifier

    short: dict[str, Any] = {"n_groups": 8} if quick else {}
    return PatternRidgeClassifier(random_state=seed, **short, **settings)


def _extra_trees(*, seed: int, quick: bool) -> Any:
    trees = ExtraTreesClassifier(50 if quick else 200, random_state=seed, n_jobs=-1)
    return make_pipeline(PanelSummarizer(), trees)


def _boosting(*, seed: int, quick: bool) -> Any:
    trees = HistGradientBoostingClassifier(max_iter=20 if quick else 100, random_state=seed)
    # The binning of scikit-learn 1.9 fails on a column without any number in training.
    return make_pipeline(PanelSummarizer(), VarianceThreshold(), trees)


CLASSIFIERS: dict[str, Method] = {
    "PatternRidge": Method(_pattern_ridge, groups=True),
    "PatternRidge, balanced decision": Method(
        partial(_pattern_ridge, decision="balanced"), groups=True
    ),
    "PatternRidge, no groups": Method(_pattern_ridge),
    "PatternRidge, boosting head": Method(partial(_pattern_ridge, head="boosting"), groups=True),
    "Maestro": Method(_maestro),
    "Maestro, SAX": Method(_maestro_sax),
    "Trace, default": Method(_trace_default),
    "Trace, boosting head": Method(partial(_trace_default, head="boosting")),
    "TRACE, as published": Method(_trace_paper),
    "Trace": Method(_trace),
    "Trace, small imputer": Method(partial(_trace, small=True)),
    "Trace, no imputer": Method(_observed_only),
    "FuseMoE": Method(_fusemoe),
    "Fusion": Method(_fusion),
    "MulT": Method(
        partial(_fusion, strategy="mult", encoder="cnn", strategy_params={"n_layers": 4})
    ),
    "ShaSpec": Method(partial(_fusion, strategy="shaspec", encoder="cnn")),
    "MISTS": Method(partial(_fusion, strategy="mists", encoder="utde"), is_baseline=True),
    "Flex-MoE": Method(partial(_fusion, strategy="flex_moe", encoder="utde"), is_baseline=True),
    "TFN": Method(partial(_fusion, strategy="tensor", encoder="lstm"), is_baseline=True),
    "HAIM": Method(haim, copies=True, is_baseline=True),
    "ExtraTrees on summaries": Method(_extra_trees, copies=True, is_baseline=True),
    "HistGradientBoosting on summaries": Method(_boosting, copies=True, is_baseline=True),
    "MultiRocketHydra, filled": Method(multirocket_hydra, copies=True, is_baseline=True),
    "MultiRocketHydra, filled, complete data": Method(multirocket_hydra, is_baseline=True),
    "GRU-D": Method(gru_d, copies=True, is_baseline=True),
    "Transformer with modality dropout": Method(_plain_transformer, is_baseline=True),
    "Transformer, all channels": Method(transformer_of_all_channels, copies=True, is_baseline=True),
    "iTransformer, all channels": Method(
        partial(transformer_of_all_channels, inverted=True), copies=True, is_baseline=True
    ),
    "InceptionTime, filled": Method(inception_time, copies=True, is_baseline=True),
    "InceptionTime, filled, 100 epochs": Method(
        partial(inception_time, n_epochs=100), copies=True, is_baseline=True
    ),
}


def _pattern_ridge_regressor(*, seed: int, quick: bool) -> Any:
    from ..estimators import PatternRidgeRegressor

    short: dict[str, Any] = {"n_groups": 8} if quick else {}
    return PatternRidgeRegressor(random_state=seed, **short)


def _network_regressor(name: str, *, seed: int, quick: bool) -> Any:
    from .. import estimators

    short: dict[str, Any] = {"max_epochs": 2} if quick else {}
    return getattr(estimators, name)(random_state=seed, **short)


def _extra_trees_regressor(*, seed: int, quick: bool) -> Any:
    trees = ExtraTreesRegressor(50 if quick else 200, random_state=seed, n_jobs=-1)
    return make_pipeline(PanelSummarizer(), trees)


def _boosting_regressor(*, seed: int, quick: bool) -> Any:
    trees = HistGradientBoostingRegressor(max_iter=20 if quick else 100, random_state=seed)
    return make_pipeline(PanelSummarizer(), VarianceThreshold(), trees)


REGRESSORS: dict[str, Method] = {
    "PatternRidge": Method(_pattern_ridge_regressor, groups=True),
    "Maestro": Method(partial(_network_regressor, "MaestroRegressor")),
    "Fusion": Method(partial(_network_regressor, "FusionRegressor")),
    "ExtraTrees on summaries": Method(_extra_trees_regressor, copies=True, is_baseline=True),
    "HistGradientBoosting on summaries": Method(_boosting_regressor, copies=True, is_baseline=True),
    "MultiRocketHydra, filled": Method(multirocket_hydra_regressor, copies=True, is_baseline=True),
}


def choose(methods: dict[str, M], names: list[str] | None, default: list[str]) -> dict[str, M]:
    """The methods asked for.

    Parameters
    ----------
    methods : dict
        All there are, by name.
    names : list of str or None
        What ``--methods`` said; None for the default.
    default : list of str
        The rows of a table.

    Returns
    -------
    dict
        In the order of the names.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    names = default if names is None else names
    unknown = [name for name in names if name not in methods]
    if unknown:
        raise ValueError(f"--methods has {unknown}; the methods are {list(methods)}.")
    return {name: methods[name] for name in names}
