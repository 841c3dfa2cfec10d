"""The fusion network keeps what it promises about sensors that are missing."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mts_fusion.nn.features import SchemaFeatures
from mts_fusion.nn.layers import set_generator
from mts_fusion.nn.networks import FusionNet, WithFeatures, encoder_names
from mts_fusion.nn.strategies import STRATEGIES, Fusion, FusionOutput
from mts_fusion.panel._schema import Modality, Schema, Vocabulary

MIXED = Schema(
    (
        Modality("wrist", 1, 7, rate=1.0),
        Modality("acc", 3, 24, rate=8.0),
        Modality("words", 2, 20, rate=4.0, vocabulary=Vocabulary(6)),
        Modality("labs", 1, 140),
    )
)
ALL = {"wrist": "lstm", "acc": "transformer", "words": "cnn", "labs": "hydra"}


def make_batch(
    n: int = 6, *, seed: int = 0, schema: Schema = MIXED
) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    values, observed = [], []
    for modality in schema:
        shape = (n, modality.n_timepoints, modality.n_channels)
        o = torch.rand(shape, generator=generator) < 0.8
        if modality.vocabulary is None:
            x = torch.randn(shape, generator=generator).where(o, torch.zeros(()))
        else:
            x = torch.randint(1, modality.vocabulary.n_tokens, shape, generator=generator) * o
        values.append(x)
        observed.append(o)
    return values, observed


def make_net(schema: Schema = MIXED, **parameters) -> WithFeatures:
    torch.manual_seed(0)
    settings = {"d_model": 8, "n_heads": 2, "encoder": ALL, **parameters}
    kinds = {
        modality.name: (encoder, "statistics")
        for modality, encoder in zip(
            schema, encoder_names(schema, settings["encoder"]), strict=True
        )
        if encoder in ("hydra", "multirocket")
    }
    features = SchemaFeatures(schema, kinds, n_groups=32)
    return WithFeatures(features, FusionNet(schema, 3, feature_widths=features.widths, **settings))


def silence(observed: list[Tensor], m: int, rows: slice = slice(None)) -> list[Tensor]:
    hidden = [o.clone() for o in observed]
    hidden[m][rows] = False
    return hidden


every = pytest.mark.parametrize("strategy", sorted(STRATEGIES))


@every
def test_values_behind_silent_sensors_and_points_change_no_bit(strategy):
    net = make_net(strategy=strategy).eval()
    values, observed = make_batch()
    for m in range(len(MIXED)):
        hidden = silence(observed, m, slice(0, 3))
        other = [
            torch.where(o, x, 5 if x.dtype == torch.int64 else math.nan)
            for x, o in zip(values, hidden, strict=True)
        ]
        before, after = (net(x, hidden, record=True) for x in (values, other))
        assert torch.equal(before.prediction, after.prediction)
        for key in before.record:
            assert torch.equal(before.record[key], after.record[key])


@every
def test_all_sensors_missing_gives_finite_numbers_and_gradients(strategy):
    net = make_net(strategy=strategy).train()
    values, observed = make_batch()
    for m in range(len(MIXED)):
        observed = silence(observed, m, slice(0, 3))
    output = net(values, observed, record=True)
    output.prediction.square().sum().backward()
    assert output.prediction.isfinite().all()
    assert all(tensor.isfinite().all() for tensor in output.record.values())
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


@every
def test_a_batch_gives_what_its_samples_give_one_by_one(strategy):
    net = make_net(strategy=strategy).eval()
    values, observed = make_batch()
    observed = silence(observed, 1, slice(0, 2))
    alone = [
        net([x[i : i + 1] for x in values], [s[i : i + 1] for s in observed]).prediction
        for i in range(6)
    ]
    torch.testing.assert_close(
        net(values, observed).prediction, torch.cat(alone), rtol=1e-4, atol=1e-5
    )


@every
@pytest.mark.parametrize("with_times", [False, True])
def test_longer_padding_changes_nothing(strategy, with_times):
    net = make_net(strategy=strategy).eval()
    values, observed = make_batch()
    times = [torch.rand(x.shape[:2]).cumsum(1) for x in values] if with_times else None
    padded = [F.pad(x, (0, 0, 0, 11)) for x in values]
    unseen = [F.pad(o, (0, 0, 0, 11)) for o in observed]
    later = None if times is None else [F.pad(t, (0, 11)) for t in times]
    torch.testing.assert_close(
        net(values, observed, times).prediction,
        net(padded, unseen, later).prediction,
        rtol=1e-4,
        atol=1e-5,
    )


@every
@pytest.mark.parametrize("encoder", ["hydra", "gru"])
def test_a_gradient_reaches_every_parameter(strategy, encoder):
    nothing_hidden = {"modality_dropout": 0.0, "token_type_dropout": 0.0}
    net = make_net(strategy=strategy, encoder=encoder, **nothing_hidden).train()
    values, observed = make_batch()
    output = net(values, observed)
    (output.prediction.square().sum() + output.loss).backward()
    left = [key for key, p in net.network.named_parameters() if p.grad is None or not p.grad.any()]
    # The scores of a softmax share a bias, which therefore does nothing; a bank is for what is
    # missing, and nothing is.
    idle = ("gate.bias", "main.bias", "score.bias", "fusion.bank")
    assert [key for key in left if not key.endswith(idle)] == []


def test_features_of_a_modality_that_is_hidden_now_change_no_bit():
    net = make_net(encoder="hydra").eval()
    values, observed = make_batch()
    features = net.features(values, observed)
    hidden = silence(observed, 1)
    other = [part if m != 1 else part + 7 for m, part in enumerate(features)]
    before = net.network(values, hidden, features=features).prediction
    assert torch.equal(before, net.network(values, hidden, features=other).prediction)
    torch.testing.assert_close(before, net(values, hidden).prediction)


def test_values_are_not_read_where_features_are():
    net = make_net(encoder="hydra").eval()
    values, observed = make_batch()
    features = net.features(values, observed)
    zeros = [torch.zeros_like(x) for x in values]
    given = net.network(zeros, observed, features=features).prediction
    assert torch.equal(given, net(values, observed).prediction)


def test_trained_encoders_take_no_features():
    net = make_net(encoder="gru").eval()
    values, observed = make_batch()
    assert net.features.n_features == [0] * 4
    net.network(values, observed)


def test_features_that_are_not_declared_or_not_given_name_the_modality():
    with pytest.raises(ValueError, match="encoder of modality 'wrist' takes fixed features"):
        FusionNet(MIXED, 3, d_model=8)
    with pytest.raises(ValueError, match="encoder of modality 'wrist' takes features"):
        make_net(encoder="hydra").network(*make_batch())


def test_encoders_by_name_and_the_default_for_the_rest():
    net = make_net(encoder={"acc": "gru"})
    kinds = [type(encoder).__name__ for encoder in net.network.encoders]
    fixed = "ConvolutionEncoder"
    assert kinds == [fixed, "GRUEncoder", fixed, fixed]


def test_unknown_encoder_lists_the_known_ones():
    with pytest.raises(ValueError, match="there are") as caught:
        make_net(encoder={"acc": "resnet"})
    assert str(caught.value) == (
        "No encoder 'resnet' for modality 'acc'; there are "
        "['cnn', 'gru', 'hydra', 'lstm', 'multirocket', 'transformer', 'utde']."
    )
    with pytest.raises(ValueError, match=r"encoder names \['gyro'\], but the modalities are"):
        make_net(encoder={"gyro": "gru"})


def test_wrong_channels_name_the_modality():
    values, observed = make_batch()
    values[1] = values[1][..., :2]
    with pytest.raises(ValueError, match=r"'acc' has values of shape \(B, L, 3\), got"):
        make_net()(values, observed)


def test_a_strategy_of_wrong_width_says_so(monkeypatch):
    class Wide(Fusion):
        def __init__(self, n_modalities, d_model, n_outputs, *, n_heads, dropout):
            super().__init__()

        def forward(self, embeddings, available, tokens=None):
            return FusionOutput(embeddings.sum(1), {})

    monkeypatch.setitem(STRATEGIES, "wide", Wide)
    with pytest.raises(ValueError, match=r"'wide' gave logits of shape \(6, 8\); \(B, 3\)"):
        make_net(strategy="wide")(*make_batch())


def test_a_loss_of_the_strategy_is_that_of_the_network():
    values, observed = make_batch()
    output = make_net(strategy="shaspec").eval()(values, observed)
    assert output.loss > 0
    assert make_net(strategy="late").eval()(values, observed).loss == 0


def test_one_generator_draws_everything():
    net = make_net(dropout=0.3, modality_dropout=0.5).train()
    values, observed = make_batch()
    predictions = []
    for _ in range(2):
        set_generator(net, torch.Generator().manual_seed(3))
        predictions.append(net(values, observed).prediction)
    before = torch.get_rng_state()
    net(values, observed)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(*predictions)


def test_deepcopy_and_state_dict_give_the_same_prediction():
    net = make_net().eval()
    values, observed = make_batch()
    net.features.fit(net.features.compute(values, observed))
    other = make_net()
    torch.nn.init.ones_(other.network.encoders[0].project.weight)
    other.load_state_dict(net.state_dict())
    for twin in (copy.deepcopy(net), other.eval()):
        assert torch.equal(net(values, observed).prediction, twin(values, observed).prediction)


@pytest.mark.parametrize("strategy", ["hybrid", pytest.param("mult", marks=pytest.mark.slow)])
def test_export_with_a_free_batch_size(strategy):
    schema = Schema((*MIXED.modalities[:3], Modality("labs", 1, 20)))  # fewer dilations to record
    net = make_net(schema, strategy=strategy).eval()
    values, observed = make_batch(n=4, schema=schema)
    batch = torch.export.Dim("batch", min=2, max=1024)
    shapes = [{0: batch} for _ in values]
    program = torch.export.export(net, (values, observed), dynamic_shapes=(shapes, shapes))
    values, observed = make_batch(n=9, seed=1, schema=schema)
    torch.testing.assert_close(
        program.module()(values, observed).prediction,
        net(values, observed).prediction,
        rtol=1e-4,
        atol=1e-5,
    )


def test_the_graph_has_no_break():
    net = make_net(strategy="mult").eval()
    values, observed = make_batch()
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(
            compiled(values, observed).prediction, net(values, observed).prediction
        )


@pytest.mark.slow
def test_compile_gives_the_same_prediction():
    net = make_net().eval()
    values, observed = make_batch()
    compiled = torch.compile(net, fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(
            compiled(values, observed).prediction,
            net(values, observed).prediction,
            rtol=1e-4,
            atol=1e-4,
        )
