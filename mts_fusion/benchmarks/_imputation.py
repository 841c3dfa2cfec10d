"""What tables of imputers share: hidden entries whose truth is known, errors, and time."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metrics import (
    band_coverage,
    crps_from_quantiles,
    energy_score,
    mae_at_missing,
    quantiles_from_samples,
)
from ..panel import Panel
from ..transforms import PanelImputer
from ._costs import count_parameters, peak_memory
from ._pypots import PyPOTSImputer

__all__ = [
    "IMPUTERS",
    "LEVELS",
    "SSSD",
    "Hidden",
    "Imputer",
    "add_budget",
    "budget_notice",
    "budget_of",
    "evaluate_imputer",
]

# Levels of the quantiles behind CSDI's CRPS.
LEVELS = np.arange(1, 20) / 20
# Draws of each sample, where an imputer has no number of its own.
_N_DRAWS = 20


@dataclass(frozen=True)
class Imputer:
    """A row of a table.

    Parameters
    ----------
    make : callable
        ``make(seed=..., max_epochs=...)`` gives an unfitted imputer; ``max_epochs`` is None for its
        own default.
    target_only : bool, default=False
        Whether it is given the modality to fill and no other.
    settings : dict of str to dict, default={"": {}}
        Parameters to set on the fitted imputer, by name: one training, several lines.
    """

    make: Callable[..., Any]
    target_only: bool = False
    settings: Mapping[str, dict[str, Any]] = field(default_factory=lambda: {"": {}})


@dataclass(frozen=True)
class Hidden:
    """Test samples of which something is hidden.

    Parameters
    ----------
    data : Panel
        What the imputer sees.
    truth : ndarray of shape (n, C, L)
        Values of one modality, with what is hidden.
    masked : bool ndarray of shape (n, C, L)
        What is hidden.
    """

    data: Panel
    truth: NDArray[Any]
    masked: NDArray[np.bool_]


def evaluate_imputer(
    imputer: Imputer,
    train: Panel,
    hidden: Mapping[float, Hidden],
    target: str,
    *,
    seed: int,
    max_epochs: int | None = None,
    precision: str | None = None,
    quick: bool = False,
) -> list[dict[str, Any]]:
    """Errors of one imputer where the truth is known.

    Parameters
    ----------
    imputer : Imputer
        What is fitted, once.
    train : Panel
        What it is fitted to, incomplete.
    hidden : dict of float to Hidden
        Test samples by the share hidden.
    target : str
        The modality that is scored.
    seed : int
        Of the imputer.
    max_epochs : int or None, default=None
        A shorter training.
    precision : str or None, default=None
        Of the network, where there is one; None for its own default.
    quick : bool, default=False
        Three draws instead of the imputer's own number, and its last setting only.

    Returns
    -------
    list of dict
        One per setting and share: ``setting``, ``fraction``; ``mae``, mean over samples, and
        ``mae_entries``, mean over entries; ``crps`` and ``coverage``, of the band from the 5 % to
        the 95 % quantile, None without quantiles; ``energy``, the energy score of draws, fair to
        any number of them, None without draws; ``improved``, the share of samples with a lower
        error than nearest filling; ``impute_ms``, milliseconds a sample; ``fit_seconds``,
        ``peak_mb``, ``parameters``.
    """

    def seen(panel: Panel) -> Panel:
        return panel.select([target]) if imputer.target_only else panel

    model = imputer.make(seed=seed, max_epochs=max_epochs)
    if precision is not None and "precision" in model.get_params():
        model.set_params(precision=precision)
    settings = dict(imputer.settings)
    if quick:
        settings = dict([settings.popitem()])
        if "n_samples" in model.get_params():
            model.set_params(n_samples=3)
    nearest = PanelImputer().fit(train.select([target]))
    rows = []
    with peak_memory() as memory:
        start = time.perf_counter()
        model.fit(seen(train))
        fit_seconds = time.perf_counter() - start
        for setting, parameters in settings.items():
            if parameters:
                model.set_params(**parameters)
            for fraction, test in hidden.items():
                start = time.perf_counter()
                filled, quantiles, draws = _fill(model, seen(test.data), target)
                seconds = time.perf_counter() - start
                if draws is None and hasattr(model, "sample"):
                    draws = _draws(model, seen(test.data), target, _N_DRAWS)
                simple = nearest.transform(test.data.select([target])).values[target]
                error = np.asarray(mae_at_missing(test.truth, filled, test.masked, average=None))
                of_nearest = np.asarray(
                    mae_at_missing(test.truth, simple, test.masked, average=None)
                )
                scored = ~np.isnan(error)
                rows.append(
                    {
                        "setting": setting,
                        "fraction": fraction,
                        "mae": float(np.nanmean(error)),
                        "mae_entries": float(
                            mae_at_missing(test.truth, filled, test.masked, average="entries")
                        ),
                        **_quantile_scores(test, quantiles),
                        "energy": _energy(test, draws),
                        "improved": float((error < of_nearest)[scored].mean()),
                        "impute_ms": 1e3 * seconds / len(test.data),
                    }
                )
    costs = {
        "fit_seconds": fit_seconds,
        "peak_mb": memory.peak_mb,
        "parameters": getattr(model, "n_weights", None) or count_parameters(model),
        "n_train": len(train),
    }
    return [{**row, **costs} for row in rows]


def _fill(
    model: Any, panel: Panel, target: str
) -> tuple[NDArray[Any], NDArray[Any] | None, NDArray[Any] | None]:
    """Filled values (n, C, L), quantiles (19, n, C, L) where the model can tell them, and draws.

    The median is one of the quantiles. Draws (S, n, C, L) are made once where quantiles are those
    of draws, as of networks; otherwise, as of a process, they are None.
    """
    if hasattr(model, "draws"):
        draws = model.draws(panel, _N_DRAWS)
    elif hasattr(model, "nets_"):
        draws = _draws(model, panel, target, model.n_samples)
    elif hasattr(model, "quantiles"):
        quantiles = np.stack([p.values[target] for p in model.quantiles(panel, q=LEVELS)])
        return quantiles[len(LEVELS) // 2], quantiles, None
    else:
        return model.transform(panel).values[target], None, None
    quantiles = quantiles_from_samples(draws, LEVELS)
    return quantiles[len(LEVELS) // 2], quantiles, draws


def _draws(model: Any, panel: Panel, target: str, n: int) -> NDArray[Any]:
    return np.stack([drawn.values[target] for drawn in model.sample(panel, n=n)])


def _quantile_scores(test: Hidden, quantiles: NDArray[Any] | None) -> dict[str, float | None]:
    """CRPS and coverage by the quantiles."""
    if quantiles is None:
        return {"crps": None, "coverage": None}
    low, high = quantiles[0][test.masked], quantiles[-1][test.masked]
    return {
        "crps": crps_from_quantiles(test.truth, quantiles, test.masked, levels=LEVELS),
        "coverage": band_coverage(test.truth[test.masked], low, high),
    }


def _energy(test: Hidden, draws: NDArray[Any] | None) -> float | None:
    """Energy score of draws."""
    if draws is None:
        return None
    return energy_score(test.truth, draws, test.masked, fair=len(draws) > 1)


def _simple(strategy: str) -> Callable[..., Any]:
    return lambda **_: PanelImputer(strategy=strategy)


def _diffusion(**parameters: Any) -> Callable[..., Any]:
    def make(*, seed: int, max_epochs: int | None) -> Any:
        from ..estimators import ConditionalDiffusionImputer

        epochs = {} if max_epochs is None else {"max_epochs": max_epochs}
        return ConditionalDiffusionImputer(random_state=seed, **{**parameters, **epochs})

    return make


def _gaussian_process(*, seed: int, max_epochs: int | None) -> Any:
    from ..estimators import GaussianProcessImputer

    n_steps = 300 if max_epochs is None else 10 * max_epochs
    return GaussianProcessImputer(max_iter=n_steps, random_state=seed)


def _csdi(**parameters: Any) -> Callable[..., Any]:
    """CSDI: stage 1 of TRACE as published, on one modality, trained as CSDI's authors do.

    200 epochs of batches of 16: hours on a GPU. With fewer it gives no usable values, since it
    starts from pure noise; a shortened run says so of all its rows.
    """

    def make(*, seed: int, max_epochs: int | None) -> Any:
        from ..estimators import ConditionalDiffusionImputer

        imputer = ConditionalDiffusionImputer.from_paper("mimic4", random_state=seed)
        imputer.set_params(
            conditioning="target", hidden_fraction=None, lr=1e-3, fill_absent=True, **parameters
        )
        return imputer if max_epochs is None else imputer.set_params(max_epochs=max_epochs)

    return make


# What makes it SSSD: the series alone, state spaces along time, a token of each timepoint.
SSSD = {"conditioning": "target", "denoiser": "state_space", "patch_length": 1}
_STEPS = {
    "50 steps": {"sampler": "ddpm", "n_steps": 50},
    "10 steps": {"sampler": "dpm++2m", "n_steps": 10},
}


def _pypots(network: str) -> Callable[..., Any]:
    """A network of PyPOTS: ``max_epochs``, or 45 minutes of processor time."""

    def make(*, seed: int, max_epochs: int | None) -> Any:
        seconds = 2700.0 if max_epochs is None else None
        return PyPOTSImputer(network, seconds=seconds, epochs=max_epochs or 1, random_state=seed)

    return make


IMPUTERS: dict[str, Imputer] = {
    "nearest": Imputer(_simple("nearest"), target_only=True),
    "mean": Imputer(_simple("mean"), target_only=True),
    "linear": Imputer(_simple("linear"), target_only=True),
    "Gaussian process": Imputer(_gaussian_process),
    # 30 epochs, the default, are too few for joint draws (docs/decisions/0033); as many draws as
    # CSDI has.
    "Gaussian process and flow": Imputer(
        _diffusion(prior="gaussian_process", mask_strategy="random", max_epochs=130, n_samples=100)
    ),
    "CSDI": Imputer(_csdi(), target_only=True, settings=_STEPS),
    "CSDI, joint tokens": Imputer(
        _csdi(channels_per_token=None), target_only=True, settings=_STEPS
    ),
    "SSSD": Imputer(
        _csdi(channels_per_token=None, denoiser="state_space"), target_only=True, settings=_STEPS
    ),
    "SAITS of PyPOTS": Imputer(_pypots("SAITS"), target_only=True),
    "CSDI of PyPOTS": Imputer(_pypots("CSDI"), target_only=True),
    "Diffusion, target only": Imputer(
        _diffusion(conditioning="target", patch_length=2), target_only=True
    ),
    "Diffusion by steps": Imputer(
        _diffusion(conditioning="target"),
        target_only=True,
        settings={f"{n} steps": {"sampler": "flow2m", "n_steps": n} for n in (50, 10, 5, 1)},
    ),
    "TRACE": Imputer(_diffusion(patch_length=2)),
    "TRACE, eq. 1 and 2": Imputer(_diffusion(patch_length=2, gating="inner_product")),
    "TRACE, blocks hidden in training": Imputer(_diffusion(mask_strategy="block", patch_length=2)),
}


def add_budget(parser: argparse.ArgumentParser) -> None:
    """Arguments that shorten a run so that it fits in minutes.

    Parameters
    ----------
    parser : ArgumentParser
        Of the table.
    """
    parser.add_argument("--n-train", type=int, help="samples to train on; default: all")
    parser.add_argument("--n-test", type=int, help="samples to test on; default: all")
    parser.add_argument("--epochs", type=int, help="epochs; default: those of each method")
    parser.add_argument("--precision", help="of the networks: float32 (default) or bf16")


def budget_notice(options: Mapping[str, Any], *, quick: bool) -> Sequence[str]:
    """Notice above the numbers of a shortened run.

    Parameters
    ----------
    options : dict
        What :func:`add_budget` asked.
    quick : bool
        Whether ``--quick`` was given.

    Returns
    -------
    list of str
        One paragraph, or none for a run in full.
    """
    cut = [f"--{key.replace('_', '-')} {options[key]}" for key in options if options[key]]
    cut = [one for one in cut if not one.startswith("--precision")]
    if not cut and not quick:
        return []
    what = ", ".join((["--quick"] if quick else []) + cut)
    return [f"SHORTENED ({what}): shows that it runs and in what order, not what it gives in full."]


def budget_of(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Seed and training of a cell, as :func:`evaluate_imputer` takes them.

    Parameters
    ----------
    cell : dict
        With ``seed``, ``epochs``, ``precision`` and ``quick``.

    Returns
    -------
    dict of str to object
        Arguments by name.
    """
    names = {"seed": "seed", "max_epochs": "epochs", "precision": "precision", "quick": "quick"}
    return {name: cell[key] for name, key in names.items()}
