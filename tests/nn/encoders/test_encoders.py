"""Each encoder sees what was observed, and nothing else."""

from __future__ import annotations

import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mts_fusion.nn.encoders import (
    ENCODERS,
    ConvolutionEncoder,
    Encoder,
    EncoderOutput,
    UTDEEncoder,
    get_encoder,
    register_encoder,
)
from mts_fusion.nn.encoders._packing import observed_first, pool_to_tokens
from mts_fusion.nn.features import SchemaFeatures
from mts_fusion.nn.layers import construct
from mts_fusion.panel._schema import Modality, Schema, Vocabulary

MODALITIES = [
    Modality("acc", 3, 30),
    Modality("long", 2, 300),
    Modality("lab", 1, 1),
    Modality("words", 2, 20, vocabulary=Vocabulary(5)),
]


def make_batch(modality: Modality, n: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (n, modality.n_timepoints, modality.n_channels)
    observed = torch.rand(shape, generator=generator) < 0.6
    observed[0] = True
    if modality.vocabulary is None:
        return torch.randn(shape, generator=generator), observed
    return torch.randint(1, 6, shape, generator=generator), observed


class Computed(torch.nn.Module):
    """An encoder of fixed features, and what computes them."""

    def __init__(self, kind: str, modality: Modality, **parameters) -> None:
        super().__init__()
        self.features = SchemaFeatures(Schema((modality,)), (kind, "statistics"))
        self.encoder = ENCODERS[kind](modality, 8, widths=self.features.widths[0], **parameters)

    def forward(self, x: Tensor, observed: Tensor, times: Tensor | None = None) -> EncoderOutput:
        features = self.features([x], [observed], [times])[0]
        return self.encoder(x, observed, times, features=features)


def make_encoder(name: str, modality: Modality) -> torch.nn.Module:
    torch.manual_seed(0)
    if name in ("hydra", "multirocket"):
        return Computed(name, modality, feature_dropout=0.0).eval()
    options = {"n_heads": 2, "dropout": 0.0}
    return construct(ENCODERS[name], modality, 8, options=options).eval()


every = pytest.mark.parametrize("name", sorted(ENCODERS))
anything = pytest.mark.parametrize("modality", MODALITIES, ids=lambda m: m.name)


@every
@anything
def test_values_behind_an_unobserved_point_change_no_bit(name, modality):
    encoder = make_encoder(name, modality)
    x, observed = make_batch(modality)
    observed[1] = False
    other = torch.where(observed, x, 5 if x.dtype == torch.int64 else math.nan)
    for one, two in zip(encoder(x, observed), encoder(other, observed), strict=True):
        assert torch.equal(one, two)


@every
@anything
@pytest.mark.parametrize("with_times", [False, True])
def test_longer_padding_changes_nothing(name, modality, with_times):
    encoder = make_encoder(name, modality)
    x, observed = make_batch(modality)
    times = torch.rand(x.shape[:2]).cumsum(1) if with_times else None
    padded, unseen = F.pad(x, (0, 0, 0, 13)), F.pad(observed, (0, 0, 0, 13))
    later = None if times is None else F.pad(times, (0, 13))
    for one, two in zip(encoder(x, observed, times), encoder(padded, unseen, later), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


@every
@anything
def test_a_batch_gives_what_its_samples_give_one_by_one(name, modality):
    encoder = make_encoder(name, modality)
    x, observed = make_batch(modality)
    observed[2] = False
    together = encoder(x, observed).embedding
    alone = torch.cat([encoder(x[i : i + 1], observed[i : i + 1]).embedding for i in range(len(x))])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@every
@anything
def test_nothing_observed_is_finite_with_finite_gradients(name, modality):
    encoder = make_encoder(name, modality).train()
    x, observed = make_batch(modality)
    encoded = encoder(x, torch.zeros_like(observed))
    (encoded.embedding.sum() + encoded.tokens.sum()).backward()
    assert encoded.embedding.isfinite().all()
    assert encoded.tokens.isfinite().all()
    assert not encoded.observed.any()
    assert all(p.grad is None or p.grad.isfinite().all() for p in encoder.parameters())


@every
@anything
def test_a_gradient_reaches_every_parameter(name, modality):
    encoder = make_encoder(name, modality).train()
    x, observed = make_batch(modality)
    encoder(x, observed).embedding.square().sum().backward()
    left = [key for key, p in encoder.named_parameters() if p.grad is None]
    assert left == []


@pytest.mark.parametrize("name", ["lstm", "gru", "transformer"])
def test_the_unit_of_time_does_not_matter_but_gaps_do(name):
    encoder = make_encoder(name, MODALITIES[0])
    x, observed = make_batch(MODALITIES[0])
    times = torch.rand(x.shape[:2]).cumsum(1)
    seconds, hours = encoder(x, observed, times), encoder(x, observed, times / 3600)
    torch.testing.assert_close(seconds.embedding, hours.embedding, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(seconds.embedding, encoder(x, observed).embedding, atol=1e-4)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_states_are_those_of_packed_sequences(kind):
    """The oracle is torch's own network over packed sequences of the observed steps."""
    encoder = make_encoder(kind, MODALITIES[0])
    x, observed = make_batch(MODALITIES[0])
    observed[3, 4:] = False
    steps, n_steps = encoder.packed(x, observed, None)
    oracle = (torch.nn.LSTM if kind == "lstm" else torch.nn.GRU)(
        8, 4, batch_first=True, bidirectional=True
    )
    for ours, suffix in ((encoder.forwards, "_l0"), (encoder.backwards, "_l0_reverse")):
        for mine, theirs in zip(
            ours, ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), strict=True
        ):
            getattr(oracle, theirs + suffix).data.copy_(mine.data)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        steps, n_steps, batch_first=True, enforce_sorted=False
    )
    states, last = oracle(packed)
    last = last[0] if kind == "lstm" else last
    states, _ = torch.nn.utils.rnn.pad_packed_sequence(states, batch_first=True)
    mean = states.sum(1) / n_steps.unsqueeze(1)
    wanted = encoder.project(torch.cat([last[0], last[1], mean], -1))
    torch.testing.assert_close(encoder(x, observed).embedding, wanted, rtol=1e-4, atol=1e-5)


def test_an_encoder_of_fixed_features_reads_nothing_else():
    encoder = make_encoder("hydra", MODALITIES[0])
    x, observed = make_batch(MODALITIES[0])
    features = encoder.features([x], [observed])[0]
    given = encoder.encoder(torch.zeros_like(x), observed, features=features).embedding
    assert torch.equal(encoder(x, observed).embedding, given)


def test_an_encoder_of_fixed_features_needs_statistics_among_them():
    with pytest.raises(ValueError, match=r"'acc' takes fixed features with statistics among them"):
        ConvolutionEncoder(MODALITIES[0], 8, widths={"hydra": [64, 64]})


def test_kinds_may_come_in_any_order():
    generator = torch.Generator().manual_seed(0)
    convolved = torch.randn(3, 64, generator=generator)
    statistics = torch.randn(3, 40, generator=generator)
    both = {"hydra": [32, 32], "statistics": [40]}
    encoded = []
    for order in (["hydra", "statistics"], ["statistics", "hydra"]):
        torch.manual_seed(0)
        encoder = ConvolutionEncoder(MODALITIES[0], 8, widths={kind: both[kind] for kind in order})
        parts = {"hydra": convolved, "statistics": statistics}
        features = torch.cat([parts[kind] for kind in order], 1)
        encoded.append(encoder.eval()(*make_batch(MODALITIES[0], 3), features=features))
    assert torch.equal(encoded[0].embedding, encoded[1].embedding)


@pytest.mark.parametrize("name", ["hydra", "multirocket"])
def test_tokens_of_fixed_features_add_up_to_the_embedding(name):
    encoder = make_encoder(name, MODALITIES[0])
    encoded = encoder(*make_batch(MODALITIES[0]))
    total = encoded.tokens.sum(1) + encoder.encoder.project.bias
    torch.testing.assert_close(encoded.embedding, total)


def test_compact_keeps_the_order_of_time():
    observed = torch.tensor([[False, True, True, False, True], [False] * 5])
    order, n_observed = observed_first(observed)
    assert order[0, :3].tolist() == [1, 2, 4]
    assert n_observed.tolist() == [3, 0]


def test_thinned_steps_are_means_of_equal_parts():
    x = torch.arange(20.0).view(1, 20, 1)
    tokens, observed = pool_to_tokens(x, torch.tensor([3]))
    assert tokens.flatten()[:3].tolist() == [0.0, 1.0, 2.0]
    assert observed.sum() == 3
    tokens, observed = pool_to_tokens(x, torch.tensor([20]))
    assert observed.all()
    torch.testing.assert_close(tokens.mean(), torch.tensor(9.5), atol=0.3, rtol=0)


def test_one_kind_of_features_is_hidden_in_training_and_never_both():
    torch.manual_seed(0)
    widths = {"hydra": [64, 64], "statistics": [40]}
    encoder = ConvolutionEncoder(
        Modality("acc", 3, 50), 8, widths=widths, feature_dropout=0.0
    ).train()
    x, observed = torch.randn(400, 50, 3), torch.ones(400, 50, 3, dtype=torch.bool)
    features = torch.randn(400, 168)
    tokens = encoder(x, observed, features=features).tokens
    convolved, statistics = tokens[:, :-1].any(-1).any(-1), tokens[:, -1].any(-1)
    assert (convolved | statistics).all()
    assert 0.65 < (~convolved).float().mean() < 0.79  # 0.8 * 0.9
    assert 0.04 < (~statistics).float().mean() < 0.13  # 0.8 * 0.1
    encoder.eval()
    tokens = encoder(x[:2], observed[:2], features=features[:2]).tokens
    assert tokens.any(-1).all()


class _Mean(Encoder):
    def __init__(self, modality, d_model):
        super().__init__()
        self.project = torch.nn.Linear(modality.n_channels, d_model)

    def forward(self, values, observed, times=None, *, features=None):
        return self._encoded(values.masked_fill(~observed, 0.0), observed)

    def _encoded(self, values, observed):
        embedding = self.project(values.mean(1))
        return EncoderOutput(embedding, embedding.unsqueeze(1), observed.flatten(1).any(1, True))


class _Leaky(_Mean):
    def forward(self, values, observed, times=None, *, features=None):
        return self._encoded(values, observed)


class _NotFinite(_Mean):
    def forward(self, values, observed, times=None, *, features=None):
        mean = values.masked_fill(~observed, 0.0).sum(1) / observed.sum(1)
        return self._encoded(mean.unsqueeze(1), observed)


class _NoTokens(_Mean):
    def forward(self, values, observed, times=None, *, features=None):
        encoded = super().forward(values, observed)
        return encoded._replace(tokens=encoded.embedding)


class _Bare(_Mean):
    def forward(self, values, observed, times=None, *, features=None):
        return super().forward(values, observed).embedding


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr("mts_fusion.nn.encoders._registry.ENCODERS", encoders := dict(ENCODERS))
    return encoders


def test_an_encoder_of_ones_own_is_found_by_name(registry):
    register_encoder("mean", _Mean)
    assert get_encoder("mean") is _Mean
    register_encoder("mean", _Mean)


@pytest.mark.parametrize(
    ("cls", "error", "message"),
    [
        (_Leaky, ValueError, "changes with values that are missing"),
        (_NotFinite, ValueError, "not finite for samples in which values are missing"),
        (_NoTokens, ValueError, r"of shapes \(\(4, 8\), \(4, 8\), \(4, 1\)\) for 4 samples"),
        (
            _Bare,
            TypeError,
            r"has to return an EncoderOutput\(embedding, tokens, observed\), got Tensor",
        ),
        (torch.nn.Linear, TypeError, "has to be a subclass of Encoder"),
    ],
)
def test_an_encoder_that_breaks_a_rule_is_refused(registry, cls, error, message):
    with pytest.raises(error, match=message):
        register_encoder("mine", cls)
    assert "mine" not in registry


def test_a_name_is_not_taken_twice(registry):
    with pytest.raises(ValueError, match="Encoder 'gru' is GRUEncoder already"):
        register_encoder("gru", _Mean)


def test_unknown_encoder_lists_the_known_ones():
    message = f"No encoder 'magic'; there are {sorted(ENCODERS)}. Add your own with"
    with pytest.raises(ValueError, match=re.escape(message)):
        get_encoder("magic")


def test_utde_carries_the_last_value_on_and_mixes_it_with_attention():
    torch.manual_seed(0)
    encoder = UTDEEncoder(Modality("labs", 2, 5), 8, n_heads=2).eval()
    values = torch.tensor([[[1.0, 0.0], [0.0, 7.0], [3.0, 0.0], [0.0, 0.0], [5.0, 0.0]]])
    observed = values != 0
    times = torch.tensor([[10.0, 12.0, 14.0, 15.0, 20.0]])
    read = []
    encoder.imputed.register_forward_pre_hook(lambda module, args: read.append(args[0]))

    tokens = encoder(values, observed, times).tokens

    seconds = torch.linspace(10, 20, tokens.shape[1]).tolist()
    carried = [1.0 if t < 14 else 3.0 if t < 20 else 5.0 for t in seconds]
    assert read[0][0, :, 0].tolist() == carried
    assert read[0][0, :, 1].tolist() == [7.0] * len(seconds)  # the next one before the first
    with torch.no_grad():
        encoder.gate[2].weight.zero_()
        encoder.gate[2].bias.fill_(50.0)  # only what was imputed
        expected = encoder.norm(encoder.imputed(read[0]))
    torch.testing.assert_close(encoder(values, observed, times).tokens, expected)
