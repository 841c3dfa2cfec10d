from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from mts_fusion.benchmarks._costs import count_macs, count_parameters, peak_memory


class Fitted:
    """What a fitted estimator looks like from outside."""

    def __init__(self, module, run):
        self.nets_ = [SimpleNamespace(module_=module)]
        self.run = run

    @torch.no_grad()
    def predict_proba(self, n):
        return self.run(self.nets_[0].module_, len(n))


def test_matrix_products_are_counted_per_sample():
    fitted = Fitted(nn.Linear(3, 5), lambda net, n: net(torch.zeros(n, 7, 3)))
    assert count_macs(fitted, range(4)) == 7 * 3 * 5
    assert count_parameters(fitted) == 3 * 5 + 5


@pytest.mark.parametrize("keywords", [False, True])
def test_attention_is_counted_once(keywords):
    q, k, v = torch.zeros(4, 2, 10, 8), torch.zeros(4, 2, 6, 8), torch.zeros(4, 2, 6, 16)

    def run(net, n):
        if keywords:
            return functional.scaled_dot_product_attention(query=q, key=k, value=v)
        return functional.scaled_dot_product_attention(q, k, v)

    assert count_macs(Fitted(nn.Identity(), run), range(4)) == 2 * 10 * 6 * (8 + 16)


@pytest.mark.parametrize(("layer", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_layers_are_counted_once(layer, gates):
    net = layer(3, 5, batch_first=True, bidirectional=True)
    fitted = Fitted(net, lambda net, n: net(torch.zeros(n, 7, 3)))
    assert count_macs(fitted, range(2)) == 2 * 7 * gates * 5 * (3 + 5)


def test_packed_sequences_count_their_own_lengths():
    lengths = torch.tensor([7, 2])
    net = nn.LSTM(3, 5, batch_first=True)

    def run(net, n):
        x = torch.zeros(2, 7, 3)
        return net(nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True))

    assert count_macs(Fitted(net, run), range(2)) == (7 + 2) / 2 * 4 * 5 * (3 + 5)


def test_zero_is_never_believed():
    fitted = Fitted(nn.Identity(), lambda net, n: torch.zeros(n))
    with pytest.raises(RuntimeError, match="No multiply-accumulate of Fitted was counted"):
        count_macs(fitted, range(4))


def test_networks_are_found_in_a_pipeline():
    fitted = Fitted(nn.Linear(3, 5), None)
    pipeline = SimpleNamespace(steps=[("front", object()), ("clf", fitted)])
    assert count_parameters(pipeline) == 20
    assert count_parameters(object()) is None
    assert count_macs(object(), range(3)) is None


def test_peak_memory_sees_what_was_freed_again():
    with peak_memory() as memory:
        bytearray(80_000_000)
    assert 70 < memory.peak_mb < 200
