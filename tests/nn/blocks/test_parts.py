"""Training in parts gives the numbers of training at once."""

from __future__ import annotations

import pytest
import torch

from mts_fusion.nn.blocks import (
    CrossModalLayer,
    IntraModalLayer,
    SparseMoE,
    _parts,
    set_generator,
)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(_parts, "_N_TOKENS", 24)


def _both(make, call, *, training):
    """What a layer gives in parts and at once, with gradients of input and weights."""
    found = []
    for in_parts in (True, False):
        torch.manual_seed(0)
        layer = make(in_parts).double().train(training)
        set_generator(layer, torch.Generator().manual_seed(1))
        out, inputs = call(layer)
        out.square().sum().backward()
        found.append([out, *(x.grad for x in inputs), *(p.grad for p in layer.parameters())])
    return found


def _tokens(*shape):
    x = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return x.requires_grad_()


def _available(*shape):
    seen = torch.rand(shape, generator=torch.Generator().manual_seed(3)) > 0.2
    seen[0, 1] = False  # a sensor that is silent
    seen[1, 2] = True
    return seen


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("budget", [None, 0.0, 2.3, 5.0])
@pytest.mark.parametrize(
    ("n_tokens", "distil"), [(2, True), (3, False), (5, True), (16, True), (30, False)]
)
def test_intra_modal_layer(training, budget, n_tokens, distil):
    available = _available(3, 4, n_tokens)

    def call(layer):
        x, budgets = _tokens(3, 4, n_tokens, 8), None
        inputs = [x]
        if budget is not None:
            budgets = torch.full((3, 4), budget, dtype=torch.float64)
            budgets = (budgets * available.any(-1)).requires_grad_()
            inputs.append(budgets)
        out, left = layer(x, available, budgets)
        return out * left.unsqueeze(-1), inputs

    def make(in_parts):
        return IntraModalLayer(3, 8, 2, distil=distil, in_parts=in_parts)

    for ours, plain in zip(*_both(make, call, training=training), strict=True):
        torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize("n_active_experts", [1, 2])
@pytest.mark.parametrize("budget", [None, 2.0, 5.0])
@pytest.mark.parametrize("n_tokens", [4, 20])
def test_cross_modal_layer(budget, n_active_experts, n_tokens):
    available = _available(4, 6, n_tokens)[0]
    available[2, 1:] = False

    def make(in_parts):
        return CrossModalLayer(
            8, 2, budget=budget, n_active_experts=n_active_experts, in_parts=in_parts
        )

    def call(layer):
        x = _tokens(6, n_tokens, 8)
        return layer(x, available).tokens * available.unsqueeze(-1), [x]

    for ours, plain in zip(*_both(make, call, training=True), strict=True):
        torch.testing.assert_close(ours, plain)


def test_experts_that_no_token_chose():
    def call(layer):
        layer.router.weight.data[1:3] = -100 * layer.router.weight.data[0]
        x = _tokens(2, 5, 8)
        return layer(x, torch.ones(2, 5, dtype=torch.bool))[0], [x]

    def make(in_parts):
        return SparseMoE(8, 4, in_parts=in_parts)

    for ours, plain in zip(*_both(make, call, training=True), strict=True):
        torch.testing.assert_close(ours, plain)


def test_autocast_and_prediction_go_without_parts():
    x = torch.zeros(2, requires_grad=True)
    assert _parts.worth(x)
    assert not _parts.worth(x.detach())
    with torch.no_grad():
        assert not _parts.worth(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not _parts.worth(x)
