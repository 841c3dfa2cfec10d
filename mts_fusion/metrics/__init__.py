"""Scores of probabilities and of imputations: numpy and scikit-learn only."""

from mts_fusion.metrics._calibration import (
    ReliabilityCurve,
    expected_calibration_error,
    maximum_calibration_error,
    reliability_curve,
)
from mts_fusion.metrics._chance import chance_calibration_error
from mts_fusion.metrics._gaps import (
    band_coverage,
    band_width,
    energy_score,
    gap_means,
    lag_correlation,
    variogram_score,
)
from mts_fusion.metrics._imputation import (
    crps_from_quantiles,
    crps_from_samples,
    mae_at_missing,
    oracle_cosine_similarity,
    quantiles_from_samples,
)
from mts_fusion.metrics._proper_scores import brier_score, negative_log_likelihood
from mts_fusion.metrics._scorers import (
    make_probability_scorer,
    neg_brier_score_scorer,
    neg_expected_calibration_error_scorer,
    neg_log_likelihood_scorer,
    neg_maximum_calibration_error_scorer,
)

__all__ = [
    "ReliabilityCurve",
    "band_coverage",
    "band_width",
    "brier_score",
    "chance_calibration_error",
    "crps_from_quantiles",
    "crps_from_samples",
    "energy_score",
    "expected_calibration_error",
    "gap_means",
    "lag_correlation",
    "mae_at_missing",
    "make_probability_scorer",
    "maximum_calibration_error",
    "neg_brier_score_scorer",
    "neg_expected_calibration_error_scorer",
    "neg_log_likelihood_scorer",
    "neg_maximum_calibration_error_scorer",
    "negative_log_likelihood",
    "oracle_cosine_similarity",
    "quantiles_from_samples",
    "reliability_curve",
    "variogram_score",
]
