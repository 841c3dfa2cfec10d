"""Faults that the tests have to notice: file, what stands there, what is put there, which tests.

``python tests/mutation/run.py`` puts each into a copy of the package and runs its tests there.
"""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """One fault: ``old`` of ``file`` becomes ``new``, and one of ``tests`` has to fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


FAULTS = [
    Fault(
        "scope instance keeps the scale where a sample is flat",
        "transforms/_sax.py",
        "                scale = np.where(no_spread(center, scale), 1.0, scale)\n            yield",
        "            yield",
        "transforms/test_sax.py",
    ),
    Fault(
        "sharpening costs nothing",
        "training/_task.py",
        "sharpening = np.minimum(log_ends, 0.0)",
        "sharpening = 0.0 * log_ends",
        "training/test_task.py",
    ),
    Fault(
        "times are not counted from the start",
        "training/_batch.py",
        "_tensor((c - start).astype(np.float32))",
        "_tensor(c.astype(np.float32))",
        "training/test_batch.py",
    ),
    Fault(
        "the clock of a silent sensor sets the start",
        "training/_batch.py",
        "np.where(mask, clock, np.inf)",
        "np.where(np.isnan(clock), np.inf, clock)",
        "training/test_batch.py",
    ),
    Fault(
        "short windows are not filled up",
        "transforms/_summary.py",
        "if n > 0 and not modality.irregular:",
        "if False:",
        "transforms/test_summary.py",
    ),
    Fault(
        "held-out samples never lose sensors",
        "training/_validation.py",
        "return np.concatenate([none, silenced])",
        "return np.concatenate([none, none])",
        "training/test_validation.py",
    ),
    Fault(
        "gradients are not clipped",
        "training/_net.py",
        "if self.gradient_clip is not None:",
        "if False:",
        "training/test_net.py",
    ),
    Fault(
        "the later of two equally near values",
        "transforms/_imputer.py",
        "np.where(since <= until, low, high)",
        "np.where(since < until, low, high)",
        "transforms/test_imputer.py",
    ),
    Fault(
        "modality dropout has one rate for all samples",
        "nn/layers/_modality_dropout.py",
        "if self.spread:",
        "if False:",
        "nn/layers",
    ),
    Fault(
        "a value on a breakpoint gets the lower symbol",
        "transforms/_symbols.py",
        'symbols = np.searchsorted(bounds, means, side="right")',
        'symbols = np.searchsorted(bounds, means, side="left")',
        "transforms/test_sax.py",
    ),
    Fault(
        "one observed timepoint too few makes a segment",
        "transforms/_segments.py",
        "int(np.ceil(min_observed * length - 1e-9))",
        "int(np.floor(min_observed * length + 1e-9))",
        "transforms/test_sax.py",
    ),
    Fault(
        "features are fitted on held-out rows",
        "estimators/_base.py",
        "self.features_.fit_transform(context.panel, context.training)",
        "self.features_.fit_transform(context.panel, None)",
        "estimators/test_base.py estimators/test_maestro.py",
    ),
    Fault(
        "confidence is the middle of the bin",
        "metrics/_calibration.py",
        "confidence = np.bincount(bin_of, weights=of_all * stated, minlength=n_bins) / mass",
        "confidence = np.where(n_samples, (edges[1:] + edges[:-1]) / 2, np.nan)",
        "metrics/test_calibration.py",
    ),
    Fault(
        "permutation importance shuffles values only",
        "inspection/_importance.py",
        "observed={name: panel.observed[name][order]},",
        "observed={name: panel.observed[name]},",
        "inspection/test_importance.py",
    ),
    Fault(
        "a newer source has the cache of the older",
        "datasets/_cache.py",
        "p.stat().st_mtime_ns) for p",
        "0) for p",
        "datasets/test_cache.py",
    ),
    Fault(
        "the last group of a class is held out",
        "training/_validation.py",
        "alone = (has & (has.sum(0) == 1)).any(1)",
        "alone = np.zeros(len(labels), dtype=bool)",
        "training/test_validation.py",
    ),
    Fault(
        "most of the samples are held out",
        "training/_validation.py",
        "if is_complete and is_bounded and",
        "if is_complete and",
        "training/test_validation.py",
    ),
    Fault(
        "a sample of weight 0 is kept",
        "estimators/_predictor.py",
        "if weight is not None and not weight.all():",
        "if False:",
        "estimators/test_base.py",
    ),
    Fault(
        "weights miss the temperature",
        "training/_task.py",
        "((factor * excess) @ ends)",
        "(excess @ ends)",
        "training/test_task.py",
    ),
    Fault(
        "weights miss the scale of y",
        "training/_targets.py",
        "mean = np.average(y / unit, axis=0, weights=weight)",
        "mean = np.average(y / unit, axis=0)",
        "training/test_task.py",
    ),
    Fault(
        "Ctrl-C is swallowed",
        "estimators/_base.py",
        "raise KeyboardInterrupt  # so that",
        "pass  # so that",
        "estimators/test_base.py",
    ),
    Fault(
        "the average of the weights is lost with held-out samples",
        "training/_callbacks.py",
        "if not net.has_restored_:",
        'if not any("valid_loss" in row for row in net.history):',
        "training/test_net.py",
    ),
    Fault(
        "scaled values have no bound",
        "transforms/_scaler.py",
        "np.clip(scaled, -_MAX_SCALED, _MAX_SCALED)",
        "scaled",
        "estimators/test_reliability.py",
    ),
    Fault(
        "an imputer reads what was hidden",
        "estimators/_impute_then_scale.py",
        "np.where(X.observed[m.name], x, missing)",
        "x",
        "estimators/test_reliability.py",
    ),
    Fault(
        "an imputer fills at the times of a silent sensor",
        "estimators/_impute_then_scale.py",
        "np.where(available[:, None], clock, np.nan)",
        "clock",
        "estimators/test_reliability.py",
    ),
    Fault(
        "padding is imputed as a gap",
        "estimators/_impute_then_scale.py",
        "np.arange(length) < own[:, None, None]",
        "np.arange(length) < length + 0 * own[:, None, None]",
        "estimators/test_reliability.py",
    ),
    Fault(
        "threads of a new thread are those of another's block",
        "training/_runtime.py",
        "before = _shared.n_threads  # a new",
        "pass  # a new",
        "estimators/test_reliability.py",
    ),
    Fault(
        "the default type of torch is that of the user",
        "training/_runtime.py",
        "torch.set_default_dtype(torch.float32)",
        "pass",
        "estimators/test_reliability.py",
    ),
    Fault(
        "bands end with the longest sample of the batch",
        "transforms/_summary.py",
        "enumerate(_bands(away, count, lengths), start=1)",
        "enumerate(_bands(away, count, lengths * 0 + away.shape[2]), start=1)",
        "transforms/test_summary.py",
    ),
    Fault(
        "True is a number",
        "transforms/_base.py",
        "isinstance(value, (bool, np.bool_)) and not takes_bool",
        "False",
        "estimators/test_wrong_parameters.py",
    ),
    Fault(
        "draws of a gap are independent",
        "nn/gaussian_process/_conditional.py",
        "normal @ self.factor.mT",
        "normal * self.variance.sqrt()[:, None]",
        "nn/gaussian_process/test_gaussian_process.py estimators/test_gaussian_process.py",
    ),
    Fault(
        "bands of the Gaussian process leave out the noise",
        "nn/gaussian_process/_conditional.py",
        "prior = kernel.variance()[wanted.channel]",
        "prior = (kernel.variance() - kernel.noise())[wanted.channel]",
        "nn/gaussian_process/test_gaussian_process.py estimators/test_gaussian_process.py",
    ),
    Fault(
        "every time scale is rough",
        "nn/gaussian_process/_kernel.py",
        "if q % 2 == 0:",
        "if True:",
        "nn/gaussian_process/test_gaussian_process.py estimators/test_gaussian_process.py",
    ),
    Fault(
        "classes have no offset",
        "training/_links.py",
        "_CONSTANT * solution[-1]",
        "0 * solution[-1]",
        "training/test_links.py",
    ),
    Fault(
        "samples never go without their series",
        "nn/networks/_maestro_pooling.py",
        "if self.training and self.series_dropout:",
        "if False:",
        "nn/networks/test_maestro_pooling.py estimators/test_maestro.py",
    ),
]
