"""PatternRidgeClassifier and PatternRidgeRegressor: an exact model for every set of sensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import StrOptions

from ._pattern_mixins import PatternClassifierMixin, PatternRegressorMixin
from ._pattern_ridge_base import PatternRidge

__all__ = ["PatternRidgeClassifier", "PatternRidgeRegressor"]

_PARAMETERS = """kinds : sequence of str, default=("multirocket", "statistics", "timing")
        Kinds of fixed features: ``"multirocket"``, ``"hydra"`` (random convolutions, of modalities
        with a regular clock), ``"statistics"``, ``"timing"`` (when and how often channels were
        observed, of modalities with irregular times). Each kind of convolutions has a linear
        ridge regression; statistics and timing have one together, with a Gaussian kernel for each
        modality. Their scores are added up, with weights learnt from held-out samples.
    n_groups : int, default=32
        Groups of random convolutions, even. Time and memory grow linearly.
    head : {"ridge", "boosting"}, default="ridge"
        Model on the features. ``"boosting"`` adds boosted trees on statistics and timing, and
        on how long before the last observation of the sample each channel of irregular times was
        observed. They are trained on all samples and without each fold, with a weight for each set
        of sensors learnt from held-out samples. It is better where variables interact, as in
        records of intensive care, and takes minutes longer. The constant of explanations then
        includes the trees, samples cannot be added or removed, and at most 20,000 distinct ones are
        accepted.
    penalty : float or None, default=None
        Ridge penalty of all regressions. None chooses, for each set of sensors, the one of the
        lowest held-out squared error.
    form : {"auto", "dual", "primal"}, default="auto"
        One unknown for each training sample (exact, for few samples), or one for each coordinate of
        the kernels: at most 512 for each modality and about 1,024 in all, so that time and memory
        of a solve do not grow with the samples. ``"auto"`` is dual up to 800 distinct samples in
        the first fit, and primal above.
    max_patterns : int, default=512
        Models kept, one for each set of working sensors; others are made again when needed.
    n_threads : int or None, default=None
        Threads of the algebra; None for those that torch has. The last bits depend on it: 1 gives
        the same bits everywhere."""

_DEVICE_AND_SEED = """device : str, default="cpu"
        Device of torch for features and algebra; ``"auto"`` is the GPU if torch finds one.
    random_state : int, RandomState or None, default=None
        Seed of the random convolutions. The same int gives the same model.
    verbose : int, default=0
        Whether to show progress bars: features, kernels, trees; predictions that take seconds."""

_ATTRIBUTES = """schema_ : Schema
        The modalities seen in ``fit``.
    scaler_ : PanelScaler
        Applied to X first.
    features_ : FixedFeatures
        Features that the regressions are fitted to.
    models_ : PatternModels
        Kernels, sums over the training samples, and the models of the sets of sensors so far.
    n_features_in_ : int
        Columns of a 2-D X, channels of a 3-D X, otherwise the number of modalities."""

_NOTES = """For a set S of sensors the kernel is the mean of one kernel for each modality. A missing
    sensor therefore adds nothing, and the model is that of a ridge regression on exactly the
    sensors that work: a pattern submodel [1]_. There are ``2 ** M`` of them; each costs one
    Cholesky factorisation, when its set first occurs. The regression without a fold of groups (or
    of runs of neighbouring samples) has a closed form, so penalty, temperature, the quality of each
    set (:meth:`explain`, :meth:`sensor_values`) and conformal sets are all learnt on samples that
    the models were not fitted to.
    With three classes or more the scores are also multiplied by a matrix that couples the classes,
    a multinomial logistic regression on the held-out scores.
    The model of a set is fitted to the samples that have any of its sensors. A sample without any
    sensor, or only with those that no training sample had, gets the prior. Gaps inside a modality
    are not filled: features are those of the observed timepoints.

    Fixed features and kernels are learnt from at most 20,000 samples in ``fit`` or the first
    ``partial_fit``; after that, samples are added and removed exactly (``partial_fit``, ``forget``,
    ``merge``)."""

_REFERENCES = """References
    ----------
    .. [1] Fletcher Mercaldo and Blume, "Missing data and prediction: the pattern submodel",
       Biostatistics, 2020.
    .. [2] Barber, Candes, Ramdas and Tibshirani, "Predictive inference with the jackknife+", Annals
       of Statistics, 2021. https://arxiv.org/abs/1905.02928"""


class PatternRidgeClassifier(PatternClassifierMixin, PatternRidge):
    __doc__ = f"""Classifier with one exact closed-form model for every set of working sensors.

    Fits in seconds, is calibrated on held-out groups of samples, and is exact when samples are
    added or removed.

    Parameters
    ----------
    {_PARAMETERS}
    class_weight : dict, "balanced" or None, default=None
        Weight of each class in the regressions. ``"balanced"`` is inversely proportional to the
        class frequencies of the first call, in ``partial_fit`` too.
    decision : {{"probability", "balanced"}}, default="probability"
        What ``predict`` returns: the class of the largest probability, or of the largest ratio of
        the probability to the frequency of the class in training, which favours rare classes.
        Probabilities are the same.
    {_DEVICE_AND_SEED}

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        The sorted classes; for multilabel targets the column numbers.
    {_ATTRIBUTES}

    Notes
    -----
    {_NOTES}

    {_REFERENCES}

    Examples
    --------
    >>> from mts_fusion.datasets import make_panel_classification
    >>> X, y = make_panel_classification(n_samples=60, random_state=0)
    >>> clf = PatternRidgeClassifier(n_groups=2, random_state=0).fit(X, y)
    >>> clf.predict_proba(X[:5]).shape
    (5, 3)
    >>> clf.predict(X[:5].select(["m0"]).align(clf.schema_)).shape  # with one sensor
    (5,)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PatternRidge._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "decision": [StrOptions({"probability", "balanced"})],
    }

    def __init__(
        self,
        *,
        kinds: Sequence[str] = ("multirocket", "statistics", "timing"),
        n_groups: int = 32,
        head: str = "ridge",
        penalty: float | None = None,
        form: str = "auto",
        max_patterns: int = 512,
        n_threads: int | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        decision: str = "probability",
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.kinds = kinds
        self.n_groups = n_groups
        self.head = head
        self.penalty = penalty
        self.form = form
        self.max_patterns = max_patterns
        self.n_threads = n_threads
        self.class_weight = class_weight
        self.decision = decision
        self.device = device
        self.random_state = random_state
        self.verbose = verbose


class PatternRidgeRegressor(PatternRegressorMixin, PatternRidge):
    __doc__ = f"""Regressor with one exact closed-form model for every set of working sensors.

    As :class:`PatternRidgeClassifier`, for one or several numbers a sample.

    Parameters
    ----------
    {_PARAMETERS}
    {_DEVICE_AND_SEED}

    Attributes
    ----------
    {_ATTRIBUTES}

    Notes
    -----
    {_NOTES}

    {_REFERENCES}

    Examples
    --------
    >>> from mts_fusion.datasets import make_panel_regression
    >>> X, y = make_panel_regression(n_samples=60, random_state=0)
    >>> reg = PatternRidgeRegressor(n_groups=2, random_state=0).fit(X, y)
    >>> reg.predict_interval(X[:5], coverage=0.8).shape
    (5, 2)
    """

    def __init__(
        self,
        *,
        kinds: Sequence[str] = ("multirocket", "statistics", "timing"),
        n_groups: int = 32,
        head: str = "ridge",
        penalty: float | None = None,
        form: str = "auto",
        max_patterns: int = 512,
        n_threads: int | None = None,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.kinds = kinds
        self.n_groups = n_groups
        self.head = head
        self.penalty = penalty
        self.form = form
        self.max_patterns = max_patterns
        self.n_threads = n_threads
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
