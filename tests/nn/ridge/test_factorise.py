"""Systems that are singular up to rounding."""

from __future__ import annotations

import warnings

import pytest
import torch

from mts_fusion.nn.ridge import DualSystem, KernelMap, PrimalSystem, RidgeRows
from mts_fusion.nn.ridge._solution import factorise


def _repeated(n: int = 12):
    """Six samples twice and a channel that is constant, in two folds."""
    x = torch.randn(n // 2, 3, generator=torch.Generator().manual_seed(0)).repeat(2, 1)
    x[:, 2] = 1.0
    targets = x[:, :1].double()
    available = torch.ones(n, 1, dtype=torch.bool)
    return x, (targets, torch.ones(n, dtype=torch.float64), torch.arange(n) % 2, available)


def test_a_regular_system_has_its_factor_and_no_warning() -> None:
    x = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    system = x @ x.T + torch.eye(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        factor = factorise(system, 1.0)
    assert torch.equal(factor, torch.linalg.cholesky(system))


@pytest.mark.parametrize("form", ["dual", "primal"])
def test_repeated_rows_and_a_tiny_penalty_give_a_prediction_and_a_warning(form: str) -> None:
    x, rest = _repeated()
    if form == "dual":
        rows = RidgeRows([KernelMap(x).gram()], *rest)
        system = DualSystem(rows, 2)
    else:
        rows = RidgeRows([x.repeat(1, 4).double()], *rest)
        system = PrimalSystem([12], 1, 2)
        system.add(rows)
    with pytest.warns(UserWarning, match="not positive definite with penalty=1e-18.*was added"):
        solution = system.solve([0], [1e-18])[0]
    predicted = system.design(rows.coordinates) @ solution.coef
    assert torch.allclose(predicted, rest[0], atol=5e-2)


def test_what_is_not_positive_definite_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="not positive definite with penalty=1"):
        factorise(torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64)), 1.0)
