"""A Gaussian process as the distribution from which a network's draws start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone

from mts_fusion.metrics import energy_score
from mts_fusion.nn import GaussianTransport
from mts_fusion.panel import Panel
from mts_fusion.training import PanelDataset, PanelNet, gaussian_planes

from ._context import FitContext
from ._gaps import make_samplers, rows_at_once, shortest_interval
from ._gaussian_process import GaussianProcessImputer

__all__ = ["check_transport", "correction_weight", "draw_from_base", "fit_base", "make_transport"]

# Planes of an example before its draws: error, shown, hidden, mean, logarithm of the width.
_FIRST_DRAW = 5
# Held-out samples that are scored at most, and the weights that are tried.
_N_SCORED = 500
_WEIGHTS = np.arange(10, -1, -1) / 10


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


def correction_weight(
    nets: Sequence[PanelNet], held_out: PanelDataset | None, panel: Panel, **solver: Any
) -> float:
    """Weight of the corrections that networks make to draws: what is best on held-out samples.

    With weight w a draw moves by the part w of the way from the process to the networks. The w of
    0, .1, ..., 1 with the lowest energy score, in the unit of the process, is taken.

    Parameters
    ----------
    nets : sequence of PanelNet
        Trained networks.
    held_out : PanelDataset or None
        Samples that were not trained on, with features; None or none of them: 1.
    panel : Panel
        Those samples and others, scaled as for the process.
    **solver
        ``n_steps`` and ``sampler``, as in :class:`ConditionalDiffusionImputer`.

    Returns
    -------
    float
        In [0, 1].
    """
    if held_out is None or not len(held_out):
        return 1.0
    rows = np.asarray(held_out.rows[:_N_SCORED])
    planes = [np.asarray(part[rows, :1]) for part in held_out.features or []]
    dataset = PanelDataset(panel[rows], schema=nets[0].module_.schema)
    samplers = make_samplers(nets, planes[0].shape[2] - _FIRST_DRAW, **solver, seed=0)
    moved = np.moveaxis(_move(samplers, dataset, planes), 1, 0)
    flat = np.concatenate([part.reshape(*part.shape[:3], -1) for part in planes], axis=3)[:, 0]
    error, hidden, width = flat[:, 0], flat[:, 2] > 0, np.exp(flat[:, 4])
    if not hidden.any():
        return 1.0
    if not np.isfinite(moved).all():  # training diverged
        return 0.0
    drawn = np.moveaxis(flat[:, _FIRST_DRAW:], 1, 0)
    scores = [
        energy_score(width * error, width * (drawn + w * (moved - drawn)), hidden, fair=True)
        for w in _WEIGHTS
    ]
    return float(_WEIGHTS[np.argmin(scores)])


def draw_from_base(
    base: GaussianProcessImputer,
    nets: Sequence[PanelNet],
    panel: Panel,
    gaps: Mapping[str, np.ndarray],
    n: int,
    *,
    weight: float,
    **solver: Any,
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
    weight : float
        Of the corrections of the networks, in [0, 1].
    **solver
        ``n_steps`` and ``sampler``, as in :class:`ConditionalDiffusionImputer`.

    Yields
    ------
    array of shape (2 + S, B, Q)
        Mean and width of the process, and draws in units of the width.
    """
    size = rows_at_once(nets, n)
    samplers = make_samplers(nets, n, **solver, seed=base.seed_)
    for start in range(0, len(panel), size):
        rows = slice(start, start + size)
        part = panel[rows]
        own = {name: gap[rows] for name, gap in gaps.items()}
        chunks = list(gaussian_planes(base.model_, part, part, own, n, base.seed_))
        planes = [np.concatenate(chunk)[:, None] for chunk in zip(*chunks, strict=True)]
        flat = np.concatenate([x[:, 0, 3:].reshape(len(part), n + 2, -1) for x in planes], axis=2)
        moments, drawn = flat[:, :2], flat[:, 2:]
        moments[:, 1] = np.exp(moments[:, 1])
        if weight > 0:
            moved = _move(samplers, PanelDataset(part, schema=base.schema_), planes)
            drawn = drawn + weight * (moved - drawn)
        yield np.moveaxis(np.concatenate([moments, drawn], axis=1), 1, 0)


def _move(
    samplers: Sequence[PanelNet], dataset: PanelDataset, planes: Sequence[np.ndarray]
) -> np.ndarray:
    """Draws ``(B, S, Q)`` that networks make of those in planes ``(B, 1, 5 + S, L, C)``."""
    moved, first = [], _FIRST_DRAW
    for net in samplers:
        last = first + net.module.n_samples
        given = [
            np.concatenate([x[:, :, :_FIRST_DRAW], x[:, :, first:last]], axis=2) for x in planes
        ]
        raw = net.predict_raw([dataset.with_features(given)])
        moved.append(raw.reshape(len(dataset), last - first, -1))
        first = last
    return np.concatenate(moved, axis=1)
