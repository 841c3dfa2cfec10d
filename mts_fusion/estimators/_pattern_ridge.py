"""PatternRidgeClassifier and PatternRidgeRegressor: an exact model for every set of sensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from scipy.special import entr, logit
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from mts_fusion.training import (
    IdentityLink,
    SigmoidLink,
    SoftmaxLink,
    conformal_intervals,
    conformal_sets,
)

from ._checks import check_numbers
from ._pattern_ridge_base import PatternRidge

__all__ = ["PatternRidgeClassifier", "PatternRidgeRegressor"]

_PARAMETERS = """kinds : sequence of str, default=("multirocket", "statistics", "timing")
        Kinds of fixed features: ``"multirocket"``, ``"hydra"`` (random convolutions, of modalities
        with a regular clock), ``"statistics"``, ``"timing"`` (when and how often channels were
        observed, of modalities with irregular times). Each kind of convolutions has a linear
        ridge regression; statistics and timing have one together, with a Gaussian kernel a
        modality. Their scores are added up, with weights from held-out samples.
    n_groups : int, default=32
        Groups of random convolutions, even. Time and memory grow linearly.
    head : {"ridge", "boosting"}, default="ridge"
        What stands on the features. ``"boosting"`` adds boosted trees on statistics and timing,
        trained on all samples and without each fold, with a weight for each set of sensors from
        held-out samples: better where variables interact, as in records of intensive care, and
        minutes slower. Explanations then leave the trees in the constant, samples cannot come and
        go, and at most 20,000 distinct ones are taken.
    penalty : float or None, default=None
        Ridge penalty of all regressions. None takes, for each set of sensors, the one of the
        least held-out squared error.
    form : {"auto", "dual", "primal"}, default="auto"
        One unknown a training sample (exact, small), or one a coordinate of the kernels: at most
        512 a modality and about 1,024 in all, so that time and memory do not grow with the samples.
        ``"auto"``: dual up to 800 distinct samples in the first fit, primal above.
    max_patterns : int, default=512
        Models kept, one for each set of working sensors that was met; the others are made again.
    n_threads : int or None, default=None
        Threads of the algebra; None for those that torch has. The last bits depend on it: 1 gives
        the same bits everywhere."""

_ATTRIBUTES = """schema_ : Schema
        The modalities seen in ``fit``.
    scaler_ : PanelScaler
        What X passes first.
    features_ : FixedFeatures
        What the regressions are on.
    models_ : PatternModels
        Kernels, sums over the training samples, and the models of the sets met so far.
    n_features_in_ : int
        Columns of a 2-D X, channels of a 3-D one, else modalities."""

_NOTES = """For a set S of sensors the kernel is the mean of one kernel a modality, so that a silent
    sensor adds nothing, and the model is that of a ridge regression on exactly the sensors that
    work: a pattern submodel [1]_. There are ``2 ** M`` of them; each costs one Cholesky
    factorisation, when it is met. Leaving out a fold of groups (or of runs of neighbouring
    samples) has a closed form, so penalty, temperature, the quality of each set (:meth:`explain`,
    :meth:`sensor_values`) and conformal sets are all learnt on people the models have not seen.
    With three classes or more the scores are also multiplied by a matrix that couples the classes,
    a multinomial logistic regression on the held-out scores.
    Samples that have nothing of a set are left out of its model; a sample that has nothing at
    all, or only what no training sample had, gets the prior. Gaps inside a modality need nothing:
    features are of what was observed.

    Fixed features and kernels are learnt from at most 20,000 samples in ``fit`` or the first
    ``partial_fit``; other samples then come and go exactly (``partial_fit``, ``forget``,
    ``merge``)."""


class PatternRidgeClassifier(ClassifierMixin, PatternRidge):
    __doc__ = f"""Classifier with one exact closed-form model for every set of working sensors.

    Fitted in seconds, calibrated on groups of samples that it has not seen, and exact when samples
    are added or taken away.

    Parameters
    ----------
    {_PARAMETERS}
    class_weight : dict, "balanced" or None, default=None
        Weight of each class in the regressions. ``"balanced"`` weighs by the samples of the first
        call, in ``partial_fit`` too.
    decision : {{"probability", "balanced"}}, default="probability"
        What ``predict`` answers: the class of the largest probability, or of the largest
        probability relative to how frequent the class was in training, which favours rare classes.
        Probabilities are the same.
    device : str, default="cpu"
        Device of torch for features and algebra; ``"auto"`` takes an accelerator if there is one.
    random_state : int, RandomState or None, default=None
        Seed of the random convolutions. The same int gives the same model.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        The classes, sorted; for labels their positions.
    {_ATTRIBUTES}

    Notes
    -----
    {_NOTES}

    References
    ----------
    .. [1] Fletcher Mercaldo and Blume, "Missing data and prediction: the pattern submodel",
       Biostatistics, 2020.
    .. [2] Barber, Candes, Ramdas and Tibshirani, "Predictive inference with the jackknife+", Annals
       of Statistics, 2021. https://arxiv.org/abs/1905.02928

    Examples
    --------
    >>> from mts_fusion.datasets import make_panel_classification
    >>> X, y = make_panel_classification(n_samples=60, random_state=0)
    >>> clf = PatternRidgeClassifier(n_groups=2, random_state=0).fit(X, y)
    >>> clf.predict_proba(X[:5]).shape
    (5, 3)
    >>> clf.predict(X[:5].select(["m0"]).align(clf.schema_)).shape  # one sensor is left
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
        class_weight: Any = None,
        decision: str = "probability",
        device: str = "cpu",
        random_state: Any = None,
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

    def _make_link(self, y: np.ndarray, weight: np.ndarray) -> Any:
        check_classification_targets(y)
        if type_of_target(y) == "multilabel-indicator":
            if self.head == "boosting":
                raise ValueError(
                    "head='boosting' is for one class a sample, but y holds labels. Set "
                    "head='ridge', or fit one classifier a label."
                )
            self.classes_ = np.arange(y.shape[1])
            return SigmoidLink()
        if y.ndim > 1:
            raise ValueError(
                f"y has shape {y.shape} with more than two values a column; classes (n,) or "
                "labels (n, n_labels) of 0 and 1 are wanted. Fit one classifier a column."
            )
        given = getattr(self, "_all_classes", None)
        self.classes_ = np.unique(y[weight > 0] if given is None else given)
        unknown = np.setdiff1d(y, self.classes_) if given is not None else np.zeros(0)
        if unknown.size:
            raise ValueError(f"classes lacks {unknown.tolist()}, which y holds.")
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least two classes, but y holds 1 class: "
                f"{self.classes_.tolist()[0]!r}."
            )
        return SoftmaxLink(len(self.classes_))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = False
        return tags

    def _is_multilabel(self) -> bool:
        return isinstance(self._link, SigmoidLink)

    def _encode(self, y: np.ndarray) -> np.ndarray:
        return y if self._is_multilabel() else np.searchsorted(self.classes_, y)

    def _check_known(self, y: np.ndarray) -> None:
        if self._is_multilabel():
            if y.ndim != 2 or y.shape[1] != len(self.classes_):
                raise ValueError(
                    f"y has shape {y.shape}, but the first call had {len(self.classes_)} labels."
                )
            return
        unknown = np.setdiff1d(y, self.classes_)
        if y.ndim > 1 or unknown.size:
            raise ValueError(
                f"The classes of the first call are {self.classes_.tolist()}, but y holds "
                f"{unknown.tolist()}. Name all classes in the first partial_fit(classes=...)."
            )

    def _class_factors(self, weight: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        if self.class_weight is None:
            return None
        if self._is_multilabel():
            raise ValueError("class_weight is for one class a sample; set class_weight=None.")
        if self.class_weight == "balanced":
            code = self._encode(y)
            sums = np.bincount(code, weights=weight, minlength=len(self.classes_))
            present = (sums > 0).sum()
            return np.where(sums > 0, weight.sum() / (present * np.where(sums > 0, sums, 1)), 1.0)
        if not isinstance(self.class_weight, dict):
            raise ValueError(f"class_weight is a dict, 'balanced' or None: {self.class_weight!r}.")
        classes = self.classes_.tolist()
        unknown = [label for label in self.class_weight if label not in classes]
        if unknown:
            raise ValueError(f"class_weight names {unknown}, but the classes are {classes}.")
        factors = np.array([self.class_weight.get(label, 1.0) for label in classes], dtype=float)
        if not np.isfinite(factors).all() or (factors < 0).any():
            raise ValueError(f"class_weight needs to be >= 0, got {self.class_weight}.")
        if not (weight * factors[self._encode(y)] > 0).any():
            raise ValueError(f"class_weight {self.class_weight} leaves no sample any weight.")
        return factors

    def _prior(self) -> np.ndarray:
        """Shares of the classes, or of each label, in training."""
        return np.clip((1 + self.models_.prior()) / 2, 1e-6, 1 - 1e-6)

    def _prior_scores(self) -> np.ndarray:
        return logit(self._prior()) if self._is_multilabel() else np.log(self._prior())

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``; any sensors may be silent.

        Returns
        -------
        array of shape (n, n_classes) or (n, n_labels)
            Rows sum to 1, in the order of ``classes_``; for labels, each is for itself.

        Raises
        ------
        ValueError
            If X has another schema than in ``fit``.
        """
        return self._answers(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """Log odds of each class.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        array of shape (n,), (n, n_classes) or (n, n_labels)
            Log probabilities of the classes; log odds of the second of two classes; log odds of
            each label.

        Raises
        ------
        ValueError
            If X has another schema than in ``fit``.
        """
        scores = self._scores(self._ready(X))
        if self._is_multilabel():
            return scores
        scores = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
        if self.decision == "balanced":
            scores = scores - np.log(self._prior())
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict(self, X: Any) -> np.ndarray:
        """The class of each sample.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        array of shape (n,) or (n, n_labels)
            Classes as in y, by ``decision``; or 0 and 1 for each label.

        Raises
        ------
        ValueError
            If X has another schema than in ``fit``.
        """
        answers = self._answers(X)
        if self._is_multilabel():
            return (answers > 0.5).astype(int)
        if self.decision == "balanced":
            answers = answers / self._prior()
        return self.classes_[answers.argmax(axis=1)]

    def predict_uncertainty(self, X: Any) -> dict[str, np.ndarray]:
        """The entropy of the prediction, split into noise of the data and doubt of the model.

        The doubt is how far the models without each fold of the training samples disagree.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        dict of str to array of shape (n,)
            In nats: ``total``, the entropy of the mean probability; ``aleatoric``, the mean
            entropy; ``epistemic``, their difference, the mutual information.

        Raises
        ------
        ValueError
            If X has another schema than in ``fit``.
        """
        p = self._fold_answers(self._ready(X))
        total, aleatoric = self._entropy(p.mean(0)), self._entropy(p).mean(0)
        return {"total": total, "aleatoric": aleatoric, "epistemic": total - aleatoric}

    def _entropy(self, p: np.ndarray) -> np.ndarray:
        if self._is_multilabel():
            return (entr(p) + entr(1 - p)).mean(-1)
        return entr(p).sum(-1)

    def predict_set(self, X: Any, *, coverage: float = 0.9) -> np.ndarray:
        """Classes that a sample may have: sets that hold the true one in a stated share of cases.

        Cross-validation+ [2]_ on the held-out scores of the model of a sample's sensors, so that
        sets grow where sensors fail.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.
        coverage : float, default=0.9
            Share of the samples whose set shall hold their class.

        Returns
        -------
        bool array of shape (n, n_classes)
            Whether each of ``classes_`` is in the set; at least one is.

        Raises
        ------
        ValueError
            If ``coverage`` is not above 0 and below 1, or y holds labels.

        Notes
        -----
        Theorem 4 of [2]_ guarantees ``1 - 2 * (1 - coverage)``, less a term of the order of
        ``1 / n``, for samples exchangeable with those in training; what is met is near
        ``coverage``. With enough groups, ``coverage / (1 - coverage)`` or more (9 for .9), each
        group counts alike, and the coverage is that of samples of a new group; with fewer it is
        that of new samples, each held out with its group.
        """
        self._check_coverage(coverage)
        if self._is_multilabel():
            raise ValueError("predict_set is for one class a sample, but y held labels.")
        pieces = self._pieces(self._ready(X))
        return np.concatenate([conformal_sets(self.models_, f, a, coverage) for f, a in pieces])


class PatternRidgeRegressor(RegressorMixin, PatternRidge):
    __doc__ = f"""Regressor with one exact closed-form model for every set of working sensors.

    As :class:`PatternRidgeClassifier`, for one or several numbers a sample.

    Parameters
    ----------
    {_PARAMETERS}
    device : str, default="cpu"
        Device of torch for features and algebra; ``"auto"`` takes an accelerator if there is one.
    random_state : int, RandomState or None, default=None
        Seed of the random convolutions. The same int gives the same model.

    Attributes
    ----------
    {_ATTRIBUTES}

    Notes
    -----
    {_NOTES}

    References
    ----------
    .. [1] Fletcher Mercaldo and Blume, "Missing data and prediction: the pattern submodel",
       Biostatistics, 2020.
    .. [2] Barber, Candes, Ramdas and Tibshirani, "Predictive inference with the jackknife+", Annals
       of Statistics, 2021. https://arxiv.org/abs/1905.02928

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
        random_state: Any = None,
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

    def _make_link(self, y: np.ndarray, weight: np.ndarray) -> Any:
        numbers = check_numbers(y)
        self._is_flat = y.ndim == 1
        numbers = numbers.reshape(len(y), -1)
        self._n_targets = numbers.shape[1]
        mean = np.average(numbers, axis=0, weights=weight)
        spread = np.sqrt(np.average((numbers - mean) ** 2, axis=0, weights=weight))
        return IdentityLink(mean, np.where(spread > 0, spread, 1.0))

    def _encode(self, y: np.ndarray) -> np.ndarray:
        return check_numbers(y)

    def _check_known(self, y: np.ndarray) -> None:
        n_targets = y.reshape(len(y), -1).shape[1]
        if n_targets != self._n_targets:
            raise ValueError(
                f"y has shape {y.shape}, but the first call had {self._n_targets} targets."
            )

    def _prior_scores(self) -> np.ndarray:
        return self.models_.prior()

    def _shape(self, answers: np.ndarray) -> np.ndarray:
        return answers[:, 0] if self._is_flat else answers

    def predict(self, X: Any) -> np.ndarray:
        """The number, or numbers, of each sample.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``; any sensors may be silent.

        Returns
        -------
        array of shape (n,) or (n, n_outputs)
            In the unit of y.

        Raises
        ------
        ValueError
            If X has another schema than in ``fit``.
        """
        return self._shape(self._answers(X))

    def predict_uncertainty(self, X: Any) -> dict[str, np.ndarray]:
        """How far the prediction may be off, split into noise of the data and doubt of the model.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        dict of str to array of shape (n,) or (n, n_outputs)
            Standard deviations in the unit of y: ``aleatoric``, of the held-out residuals of the
            model of a sample's sensors; ``epistemic``, of the models without each fold of the
            training samples; ``total``, of both.

        Raises
        ------
        ValueError
            If X has another schema than in ``fit``.
        """
        panel = self._ready(X)
        epistemic = self._fold_answers(panel).std(0)
        residual = np.empty_like(epistemic)
        spread = np.array(self._link.scale)
        residual[:] = spread
        for rows, model in self.models_.models_of(panel.available):
            residual[rows] = spread * np.sqrt(model.loss)
        total = np.sqrt(residual**2 + epistemic**2)
        parts = {"total": total, "aleatoric": residual, "epistemic": epistemic}
        return {key: self._shape(part) for key, part in parts.items()}

    def predict_interval(self, X: Any, *, coverage: float = 0.9) -> np.ndarray:
        """Intervals that hold the true number in a stated share of cases.

        Cross-validation+ [2]_ on the held-out scores of the model of a sample's sensors, so that
        intervals grow where sensors fail.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.
        coverage : float, default=0.9
            Share of the samples whose interval shall hold their number.

        Returns
        -------
        array of shape (n, 2) or (n, n_outputs, 2)
            Lower and upper ends, in the unit of y; infinite where training samples are too few.

        Raises
        ------
        ValueError
            If ``coverage`` is not above 0 and below 1.

        Notes
        -----
        Theorem 4 of [2]_ guarantees ``1 - 2 * (1 - coverage)``, less a term of the order of
        ``1 / n``, for samples exchangeable with those in training; what is met is near
        ``coverage``. With enough groups, ``coverage / (1 - coverage)`` or more (9 for .9), each
        group counts alike, and the coverage is that of samples of a new group.
        """
        self._check_coverage(coverage)
        pieces = self._pieces(self._ready(X))
        ends = np.concatenate(
            [conformal_intervals(self.models_, f, a, coverage) for f, a in pieces]
        )
        return ends[:, 0] if self._is_flat else ends
