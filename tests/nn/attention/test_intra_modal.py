"""Layers inside modalities compute them together as if they were alone."""

from __future__ import annotations

import torch

from mts_fusion.nn.attention import Distilling, IntraModalLayer, distilled_times


def alone(layer: IntraModalLayer, m: int) -> IntraModalLayer:
    """The layer of modality m only."""
    single = IntraModalLayer(1, 8, 2)
    state = {name: tensor[m : m + 1] for name, tensor in layer.state_dict().items()}
    single.load_state_dict(state)
    return single.eval()


def test_modalities_together_equal_one_by_one():
    layer = IntraModalLayer(3, 8, 2).eval()
    x, available = torch.randn(3, 4, 11, 8), torch.rand(3, 4, 11) < 0.7
    budget = torch.rand(3, 4) * 5
    together, left = layer(x, available, budget)
    for m in range(3):
        one, observed = alone(layer, m)(x[m : m + 1], available[m : m + 1], budget[m : m + 1])
        torch.testing.assert_close(together[m], one[0], rtol=1e-4, atol=1e-5)
        assert torch.equal(left[m], observed[0])


def test_a_run_of_modalities_takes_its_own_weights():
    layer = IntraModalLayer(3, 8, 2).eval()
    x, available = torch.randn(3, 4, 11, 8), torch.ones(3, 4, 11, dtype=torch.bool)
    whole = layer(x, available, None)[0]
    part = layer(x[1:], available[1:], None, slice(1, 3))[0]
    torch.testing.assert_close(whole[1:], part, rtol=1e-4, atol=1e-5)


def test_distilling_takes_the_maximum_of_what_is_available():
    distil = Distilling(1, 2)
    torch.nn.init.zeros_(distil.conv.weight)
    x = torch.tensor([[-1.0, 2.0], [-3.0, 4.0], [-5.0, 6.0], [-7.0, 8.0], [-9.0, 1.0]])
    available = torch.tensor([True, True, False, True, False])
    out, left = distil(x.view(1, 1, 5, 2), available.view(1, 1, 5))
    assert out[0, 0].tolist() == [[-1.0, 4.0], [-7.0, 8.0], [0.0, 0.0]]
    assert left[0, 0].tolist() == [True, True, False]


def test_distilled_times_are_those_of_the_token_that_is_available():
    encoded = torch.tensor([1.0, 2.0, 0.0, 4.0, 5.0]).view(1, 1, 5, 1)
    available = torch.tensor([[[True, True, False, True, True]]])
    assert distilled_times(encoded, available).flatten().tolist() == [1.0, 4.0, 5.0]
