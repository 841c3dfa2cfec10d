"""Both forms of the ridge regression against refitting in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mts_fusion.nn.ridge import INTERCEPT, DualSystem, KernelMap, PrimalSystem, RidgeRows

N, FOLDS = 24, 4


def _data(bandwidth: float | None = None, seed: int = 0):
    """Features of two modalities, the second silent in some rows, and what goes with them."""
    generator = torch.Generator().manual_seed(seed)
    features = [torch.randn(N, 5, generator=generator), torch.randn(N, 4, generator=generator)]
    features[1][::5] = torch.nan
    available = torch.stack([torch.ones(N, dtype=torch.bool), ~features[1].isnan().any(1)], 1)
    targets = torch.randn(N, 3, generator=generator, dtype=torch.float64)
    weight = torch.rand(N, generator=generator, dtype=torch.float64) + 0.5
    return features, available, targets, weight, torch.arange(N) % FOLDS


def _systems(bandwidth: float | None = None):
    features, available, targets, weight, fold = _data()
    dual_maps = [KernelMap(x, bandwidth=bandwidth) for x in features]
    primal_maps = [KernelMap(x, bandwidth=bandwidth, n_coordinates=N) for x in features]
    rest = (targets, weight, fold, available)
    dual_rows = RidgeRows([one.gram() for one in dual_maps], *rest)
    primal_rows = RidgeRows([one(x) for one, x in zip(primal_maps, features, strict=True)], *rest)
    primal = PrimalSystem([x.shape[1] for x in primal_rows.coordinates], 3, FOLDS)
    primal.add(primal_rows)
    return DualSystem(dual_rows, FOLDS), primal, dual_rows, primal_rows


def _refit(kernel: np.ndarray, rows: RidgeRows, use: np.ndarray, penalty: float) -> np.ndarray:
    """Answers on all rows of a kernel ridge regression on some of them."""
    weight, targets = rows.weight.numpy()[use], rows.targets.numpy()[use]
    alpha = np.linalg.solve(kernel[np.ix_(use, use)] + np.diag(penalty / weight), targets)
    return kernel[:, use] @ alpha


@pytest.mark.parametrize("bandwidth", [None, 0.7])
@pytest.mark.parametrize("members", [[0], [1], [0, 1]])
def test_both_forms_leave_a_fold_out_as_if_fitted_without_it(bandwidth, members) -> None:
    dual, primal, rows, primal_rows = _systems(bandwidth)
    kernel = sum(rows.coordinates[m].numpy() for m in members) / len(members) + INTERCEPT**2
    present = rows.available[:, members].any(1).numpy()
    expected = np.full((N, 3), np.nan)
    for b in range(FOLDS):
        left_out = (rows.fold.numpy() == b) & present
        use = np.flatnonzero(present & ~left_out)
        expected[left_out] = _refit(kernel, rows, use, 0.5)[left_out]
    whole = _refit(kernel, rows, np.flatnonzero(present), 0.5)

    for system, given in ((dual, ()), (primal, (primal_rows,))):
        solution = system.solve(members, [0.5], *given)[0]
        np.testing.assert_allclose(solution.held_out.numpy(), expected, atol=1e-6)
        source = rows if system is dual else primal_rows
        design = system.design([source.coordinates[m] for m in members])
        np.testing.assert_allclose((design @ solution.coef).numpy(), whole, atol=1e-6)
        # The coefficients without a fold give the held-out answers too.
        for b in range(FOLDS):
            of_fold = (rows.fold.numpy() == b) & present
            answer = (design @ solution.fold_coef[b]).numpy()[of_fold]
            np.testing.assert_allclose(answer, expected[of_fold], atol=1e-6)


@pytest.mark.parametrize("form", ["dual", "primal"])
def test_what_the_modalities_and_the_constant_add_is_the_answer(form) -> None:
    dual, primal, rows, primal_rows = _systems()
    system, source = (dual, rows) if form == "dual" else (primal, primal_rows)
    given = () if form == "dual" else (primal_rows,)
    coef = system.solve([0, 1], [1.0], *given)[0].coef
    whole = system.design(source.coordinates) @ coef
    parts, constant = system.split(coef, [0, 1])
    direct = sum(z.double() @ w for z, w in zip(source.coordinates, parts, strict=True))
    assert torch.allclose(direct + constant, whole)


def test_rows_come_and_go_exactly() -> None:
    _, primal, _, rows = _systems()
    first, last = torch.arange(N // 2), torch.arange(N // 2, N)
    widths = [x.shape[1] for x in rows.coordinates]
    parts = [PrimalSystem(widths, 3, FOLDS) for _ in range(2)]
    parts[0].add(rows.take(first))
    parts[1].add(rows.take(last))
    parts[0].merge(parts[1])
    both = parts[0].solve([0, 1], [1.0], rows)[0].coef
    assert torch.allclose(both, primal.solve([0, 1], [1.0], rows)[0].coef)

    primal.add(rows.take(last), -1.0)
    left = PrimalSystem(widths, 3, FOLDS)
    left.add(rows.take(first))
    few = rows.take(first)
    assert torch.allclose(
        primal.solve([1], [1.0], few)[0].coef, left.solve([1], [1.0], few)[0].coef
    )


@pytest.mark.parametrize("bandwidth", [None, 1.0])
def test_a_map_is_exact_on_its_landmarks_and_zero_for_the_unknown(bandwidth) -> None:
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    kernel = KernelMap(x, bandwidth=bandwidth)
    coordinates = KernelMap(x, bandwidth=bandwidth, n_coordinates=8)(x)
    assert torch.allclose(coordinates @ coordinates.T, kernel(x), atol=1e-5)
    unknown = torch.full((1, 3), torch.nan)
    assert not kernel(unknown).any()
    scaled = x.double() / x.double().square().sum(1).mean().sqrt()
    expected = scaled @ scaled.T
    if bandwidth is not None:
        expected = torch.exp(-torch.cdist(scaled, scaled).square() / 2)
    assert torch.allclose(kernel(x), expected, atol=1e-6)


def test_landmarks_of_the_dual_form_come_and_go() -> None:
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    kernel = KernelMap(x[:5])
    kernel.append(x[5:])
    kernel.keep(torch.tensor([0, 6]))
    assert torch.allclose(kernel.landmark_features(), x[[0, 6]])
    assert kernel.gram().shape == (2, 2)


def test_a_modality_without_any_spread_has_finite_coordinates() -> None:
    kernel = KernelMap(torch.zeros(6, 3), n_coordinates=4)
    assert bool(kernel(torch.zeros(2, 3)).isfinite().all())
