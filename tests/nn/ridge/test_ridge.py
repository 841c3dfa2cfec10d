"""Both forms of the ridge regression against a new fit in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mts_fusion.nn.ridge import INTERCEPT, DualSystem, KernelMap, PrimalSystem, RidgeRows

N, FOLDS = 24, 4


def _data(bandwidth: float | None = None, seed: int = 0):
    """Features of two modalities, of which some rows lack the second, and targets."""
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
    return DualSystem(dual_rows, FOLDS), primal


def _refit(kernel: np.ndarray, rows: RidgeRows, use: np.ndarray, penalty: float) -> np.ndarray:
    """Predictions on all rows by a kernel ridge regression on some of them."""
    weight, targets = rows.weight.numpy()[use], rows.targets.numpy()[use]
    alpha = np.linalg.solve(kernel[np.ix_(use, use)] + np.diag(penalty / weight), targets)
    return kernel[:, use] @ alpha


@pytest.mark.parametrize("bandwidth", [None, 0.7])
@pytest.mark.parametrize("members", [[0], [1], [0, 1]])
def test_both_forms_leave_a_fold_out_as_if_fitted_without_it(bandwidth, members) -> None:
    dual, primal = _systems(bandwidth)
    rows = dual.rows
    kernel = sum(rows.coordinates[m].numpy() for m in members) / len(members) + INTERCEPT**2
    present = rows.available[:, members].any(1).numpy()
    expected = np.full((N, 3), np.nan)
    for b in range(FOLDS):
        left_out = (rows.fold.numpy() == b) & present
        use = np.flatnonzero(present & ~left_out)
        expected[left_out] = _refit(kernel, rows, use, 0.5)[left_out]
    whole = _refit(kernel, rows, np.flatnonzero(present), 0.5)

    for system in (dual, primal):
        solution = system.solve(members, [0.5])[0]
        np.testing.assert_allclose(solution.held_out.numpy(), expected, atol=1e-6)
        design = system.design([system.rows.coordinates[m] for m in members])
        np.testing.assert_allclose((design @ solution.coef).numpy(), whole, atol=1e-6)
        # The coefficients without a fold give the held-out predictions too.
        for b in range(FOLDS):
            of_fold = (rows.fold.numpy() == b) & present
            predicted = (design @ solution.fold_coef[b]).numpy()[of_fold]
            np.testing.assert_allclose(predicted, expected[of_fold], atol=1e-6)


@pytest.mark.parametrize("form", ["dual", "primal"])
def test_terms_of_the_modalities_and_the_intercept_add_up_to_the_prediction(form) -> None:
    system = dict(zip(("dual", "primal"), _systems(), strict=True))[form]
    coordinates = system.rows.coordinates
    coef = system.solve([0, 1], [1.0])[0].coef
    whole = system.design(coordinates) @ coef
    parts, intercept = system.split(coef, [0, 1])
    terms = sum(z.double() @ w for z, w in zip(coordinates, parts, strict=True))
    assert torch.allclose(terms + intercept, whole)


@pytest.mark.parametrize("form", ["dual", "primal"])
def test_a_system_says_which_modalities_its_rows_have(form) -> None:
    system = dict(zip(("dual", "primal"), _systems(), strict=True))[form]
    without_second = torch.arange(0, N, 5)
    rows = system.rows.take(without_second)
    if form == "dual":
        few = DualSystem(rows, FOLDS)
    else:
        few = PrimalSystem(system.widths, 3, FOLDS)
        few.add(rows)
    assert system.has_rows([1])
    assert few.has_rows([0, 1])
    assert not few.has_rows([1])
    if form == "primal":
        few.remove(torch.arange(len(without_second)))
        assert not few.has_rows([0, 1])


def test_rows_are_added_removed_and_merged_exactly() -> None:
    _, primal = _systems()
    rows = primal.rows
    first, last = torch.arange(N // 2), torch.arange(N // 2, N)
    widths = [x.shape[1] for x in rows.coordinates]
    parts = [PrimalSystem(widths, 3, FOLDS) for _ in range(2)]
    parts[0].add(rows.take(first))
    parts[1].add(rows.take(last))
    parts[0].merge(parts[1])
    both, whole = (system.solve([0, 1], [1.0])[0] for system in (parts[0], primal))
    assert torch.allclose(both.coef, whole.coef)
    assert torch.allclose(both.held_out, whole.held_out)

    primal.remove(last)
    left = PrimalSystem(widths, 3, FOLDS)
    left.add(rows.take(first))
    removed, never_added = (system.solve([1], [1.0])[0] for system in (primal, left))
    assert torch.allclose(removed.coef, never_added.coef)
    assert torch.allclose(removed.held_out, never_added.held_out, equal_nan=True)


def test_a_limit_on_kept_rows_changes_no_coefficient() -> None:
    _, primal = _systems()
    whole = primal.solve([0, 1], [1.0])[0]
    kept = torch.arange(0, N, 3)
    primal.limit(kept)
    limited = primal.solve([0, 1], [1.0])[0]
    assert torch.equal(limited.coef, whole.coef)
    assert torch.allclose(limited.held_out, whole.held_out[kept])


@pytest.mark.parametrize("bandwidth", [None, 1.0])
def test_a_map_is_exact_on_its_landmarks_and_zero_without_the_modality(bandwidth) -> None:
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    kernel = KernelMap(x, bandwidth=bandwidth)
    coordinates = KernelMap(x, bandwidth=bandwidth, n_coordinates=8)(x)
    assert torch.allclose(coordinates @ coordinates.T, kernel(x), atol=1e-5)
    missing = torch.full((1, 3), torch.nan)
    assert not kernel(missing).any()
    scaled = x.double() / x.double().square().sum(1).mean().sqrt()
    expected = scaled @ scaled.T
    if bandwidth is not None:
        expected = torch.exp(-torch.cdist(scaled, scaled).square() / 2)
    assert torch.allclose(kernel(x), expected, atol=1e-6)


def test_landmarks_of_the_dual_form_are_added_and_removed() -> None:
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    kernel = KernelMap(x[:5])
    kernel.append(x[5:])
    kernel.keep(torch.tensor([0, 6]))
    assert torch.allclose(kernel.landmark_features(), x[[0, 6]])
    assert kernel.gram().shape == (2, 2)


def test_a_modality_without_any_spread_has_finite_coordinates() -> None:
    kernel = KernelMap(torch.zeros(6, 3), n_coordinates=4)
    assert bool(kernel(torch.zeros(2, 3)).isfinite().all())
