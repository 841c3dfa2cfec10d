"""A Gaussian process as the distribution from which a network's draws start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone

from mts_fusion.nn import GaussianTransport
from mts_fusion.panel import Panel
from mts_fusion.training import PanelDataset, PanelNet, gaussian_planes

from ._context import FitContext
from ._gaps import make_samplers, rows_at_once, shortest_interval
from ._gaussian_process import GaussianProcessImputer

__all__ = ["check_transport", "draw_from_base", "fit_base", "make_transport"]


def check_transport(estimator: Any) -> None:
    """Raise unless the parameters of a diffusion go with a Gaussian process.

    Parameters
    ----------
    estimator : ConditionalDiffusionImputer
        With ``prior="gaussian_process"``.

    Raises
    ------
    ValueError
        If the sampler draws numbers of its own, the network predicts noise, there is no encoder, or
        the gaps are filled from nothing.
    """
    for name, wrong, instead in (
        ("sampler", "ddpm", "'flow2m': the draws of the process are its only random numbers"),
        ("parameterization", "noise", "'velocity', which is 0 where the process is right"),
        ("n_encoder_layers", 0, "at least 1: an encoder reads the errors of the process"),
        ("conditioning", "none", "'cross' or 'target': the process reads what is observed"),
        ("gating", "inner_product", "'moe' or 'fixed': errors are no values to be summed"),
    ):
        if getattr(estimator, name) == wrong:
            raise ValueError(
                f"prior='gaussian_process' does not go with {name}={wrong!r}. Use {instead}."
            )


def fit_base(base: GaussianProcessImputer | None, panel: Panel, seed: int) -> Any:
    """A fitted process.

    Parameters
    ----------
    base : GaussianProcessImputer or None
        Its parameters; None for the defaults.
    panel : Panel
        Training samples.
    seed : int
        Where it has no random state of its own.

    Returns
    -------
    GaussianProcessImputer
        Fitted, another object than ``base``.
    """
    process = GaussianProcessImputer() if base is None else clone(base)
    if process.random_state is None:
        process.set_params(random_state=seed)
    return process.fit(panel)


def make_transport(estimator: Any, context: FitContext) -> GaussianTransport:
    """The network that moves draws of the process.

    Parameters
    ----------
    estimator : ConditionalDiffusionImputer
        Its parameters.
    context : FitContext
        What is known before.

    Returns
    -------
    GaussianTransport
        Not trained.
    """
    return GaussianTransport(
        context.schema,
        d_model=estimator.d_model,
        n_heads=estimator.n_heads,
        n_layers=estimator.n_layers,
        denoiser=estimator.denoiser,
        n_encoder_layers=estimator.n_encoder_layers,
        patch_length=estimator.patch_length,
        channels_per_token=estimator.channels_per_token,
        n_experts=estimator.n_experts,
        conditioning=estimator.conditioning,
        gating=estimator.gating,
        schedule=estimator.schedule,
        n_train_steps=estimator.n_train_steps,
        time_unit=shortest_interval(context.panel),
    )


def draw_from_base(
    base: GaussianProcessImputer,
    nets: Sequence[PanelNet],
    panel: Panel,
    gaps: Mapping[str, np.ndarray],
    n: int,
    *,
    n_steps: int,
    sampler: str,
) -> Iterator[np.ndarray]:
    """Draws of the process that networks have moved, a few samples at a time.

    Parameters
    ----------
    base : GaussianProcessImputer
        Fitted.
    nets : sequence of PanelNet
        Trained networks, each of which moves an equal part of the draws.
    panel : Panel
        n samples, scaled as for the process.
    gaps : dict of str to bool array of shape (n, C, L)
        Entries to fill.
    n : int
        Number of draws S.
    n_steps, sampler
        As in :class:`ConditionalDiffusionImputer`.

    Yields
    ------
    array of shape (2 + S, B, Q)
        Mean and width of the process, and draws in units of the width.
    """
    size = rows_at_once(nets, n)
    samplers = make_samplers(nets, n, n_steps=n_steps, sampler=sampler, seed=base.seed_)
    for start in range(0, len(panel), size):
        rows = slice(start, start + size)
        part = panel[rows]
        own = {name: gap[rows] for name, gap in gaps.items()}
        chunks = list(gaussian_planes(base.model_, part, part, own, n, base.seed_))
        planes = [np.concatenate(chunk)[:, None] for chunk in zip(*chunks, strict=True)]
        dataset, drawn, first = PanelDataset(part, schema=base.schema_), [], 5
        for net in samplers:
            last = first + net.module.n_samples
            given = [np.concatenate([x[:, :, :5], x[:, :, first:last]], axis=2) for x in planes]
            raw = net.predict_raw([dataset.with_features(given)])
            drawn.append(raw.reshape(len(part), last - first, -1))
            first = last
        moments = np.concatenate([x[:, 0, 3:5].reshape(len(part), 2, -1) for x in planes], axis=2)
        moments[:, 1] = np.exp(moments[:, 1])
        yield np.moveaxis(np.concatenate([moments, *drawn], axis=1), 1, 0)
