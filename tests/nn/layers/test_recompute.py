import copy

import torch
from torch import nn

from mts_fusion.nn.diffusion import CrossModalContext, _context
from mts_fusion.nn.layers import Dropout, recompute, set_generator
from mts_fusion.nn.strategies import MulTFusion, Tokens, _mult


def _gradients(module, call):
    saved = []

    def pack(tensor):
        saved.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = call(module)
    module.zero_grad()
    loss.backward()
    return sum(saved), [p.grad.clone() for p in module.parameters() if p.grad is not None]


def _mult_call(n_modalities):
    torch.manual_seed(0)
    values = torch.randn(2, n_modalities, 5, 8)
    observed = torch.rand(2, n_modalities, 5) < 0.7
    tokens = Tokens(values, observed)
    available = torch.rand(2, n_modalities) < 0.8

    def call(module):
        set_generator(module, torch.Generator().manual_seed(0))
        return module(values.mean(2), available, tokens).logits.square().sum()

    return MulTFusion(n_modalities, 8, 3, n_heads=2).eval(), call  # dropout has another order


def _context_call(n_modalities):
    torch.manual_seed(0)
    query = [torch.randn(2, 6, 4) for _ in range(n_modalities)]
    encoded = [torch.randn(2, 6, 8) for _ in range(n_modalities)]
    observed = [torch.rand(2, 6) < 0.7 for _ in range(n_modalities)]
    clock = [torch.arange(6.0)[None] for _ in range(n_modalities)]

    def call(module):
        return module(query, encoded, observed, clock)[0].square().sum()

    return CrossModalContext(4, 8, n_heads=2), call


def _check(monkeypatch, module, make):
    network, call = make(10)
    kept, gradients = _gradients(copy.deepcopy(network), call)
    monkeypatch.setattr(module, "MANY_MODALITIES", 99)
    kept_of_pairs, wanted = _gradients(copy.deepcopy(network), call)

    torch.testing.assert_close(gradients, wanted, rtol=1e-5, atol=1e-6)
    assert kept < kept_of_pairs / 3


def test_the_context_of_an_imputer_keeps_no_pair_of_modalities(monkeypatch):
    _check(monkeypatch, _context, _context_call)


def test_the_crossmodal_transformers_keep_what_they_give_alone(monkeypatch):
    _check(monkeypatch, _mult, _mult_call)


def test_what_is_computed_again_drops_the_same_numbers():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 64), Dropout(0.5), nn.Linear(64, 1)).train()
    x, gradients = torch.randn(8, 4), []
    for again in (False, True):
        generator = torch.Generator().manual_seed(1)
        set_generator(network, generator)
        network.zero_grad()
        y = recompute(network, lambda: network(x)) if again else network(x)
        y.sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
        state = generator.get_state()
        gradients[-1].append(state)
    torch.testing.assert_close(gradients[0], gradients[1])
