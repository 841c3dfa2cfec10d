"""Trace: silence, padding, clocks, imputed values, tokens, gradients, export."""

import pytest
import torch
import torch.nn.functional as F

from mts_fusion.nn.features import SchemaFeatures
from mts_fusion.nn.networks import Trace, WithFeatures
from mts_fusion.panel import Modality, Schema, Vocabulary

SCHEMA = Schema(
    (
        Modality("vitals", 3, 12, rate=2.0),
        Modality("labs", 2, 7),  # irregular: comes with times
        Modality("age", 1, 1),
        Modality("words", 2, 5, vocabulary=Vocabulary(4)),
    )
)
ROUTERS = ["joint", "per_modality", "disjoint"]


def _net(schema=SCHEMA, seed=0, **options):
    torch.manual_seed(seed)
    small = {"d_model": 16, "d_time": 16, "n_reference": 6, "n_heads": 4, "d_hidden": 8}
    return Trace(schema, 3, **{**small, **options}).eval()


def _net_with_statistics(**options):
    features = SchemaFeatures(SCHEMA, ("statistics",))
    return WithFeatures(features, _net(feature_widths=features.widths, **options))


def _batch(n=4, seed=0, rate=0.7):
    draw = torch.Generator().manual_seed(seed)
    values, observed = [], []
    for m in SCHEMA:
        shape = (n, m.n_timepoints, m.n_channels)
        o = torch.rand(shape, generator=draw) < rate
        o[:, 0] = True
        if m.vocabulary is None:
            values.append(torch.randn(shape, generator=draw) * o)
        else:
            values.append(torch.randint(1, 5, shape, generator=draw) * o)
        observed.append(o)
    labs = torch.rand(n, 7, generator=draw).sort(1)[0] * 6
    return values, observed, [None, labs, None, None]


def _hide(observed, m, samples=slice(None)):
    observed = [o.clone() for o in observed]
    observed[m][samples] = False
    return observed


def _noise_behind(values, observed):
    return [
        torch.where(o, x, 77.0 if x.is_floating_point() else 3)
        for x, o in zip(values, observed, strict=True)
    ]


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("m", range(4))
def test_values_behind_unobserved_entries_do_not_matter(m, router):
    net = _net(router=router)
    values, observed, times = _batch()
    observed = _hide(observed, m, slice(0, 2))

    out = net(values, observed, times, record=True)
    other = net(_noise_behind(values, observed), observed, times, record=True)

    assert torch.equal(out.prediction, other.prediction)
    assert all(torch.equal(out.record[key], other.record[key]) for key in out.record)


def test_times_of_unobserved_entries_do_not_matter():
    net = _net()
    values, observed, times = _batch()
    observed[1][:, 3] = False
    moved = times[1].clone()
    moved[:, 3] = 1e5

    out = net(values, observed, times).prediction

    assert torch.equal(out, net(values, observed, [None, moved, None, None]).prediction)


def test_imputed_values_are_read_and_known_as_such():
    net = _net()
    values, observed, times = _batch()
    filled, imputed = _noise_behind(values, observed), [~o for o in observed]
    everything = [torch.ones_like(o) for o in observed]
    plain = net(values, observed, times).prediction

    out = net(filled, observed, times, imputed=imputed).prediction

    assert torch.equal(net(filled, observed, times).prediction, plain)
    assert not torch.allclose(out, plain)
    assert not torch.allclose(out, net(filled, everything, times).prediction)


def test_an_imputed_value_of_exactly_0_is_read():
    net = _net()
    values, observed, times = _batch()
    values[0], observed[0] = torch.zeros_like(values[0]), torch.zeros_like(observed[0])
    imputed = [torch.zeros_like(o) for o in observed]
    absent = net(values, observed, times, imputed=imputed, record=True)
    imputed[0] = ~observed[0]

    zeros = net(values, observed, times, imputed=imputed, record=True)

    assert not absent.record["available"][:, 0].any()
    assert zeros.record["available"][:, 0].all()
    assert not torch.allclose(zeros.prediction, absent.prediction)


def test_a_modality_that_the_imputer_generated_is_available():
    values, observed, times = _batch()
    observed = _hide(observed, 0)

    nothing = [torch.zeros_like(o) for o in observed]
    imputed = [~o for o in observed]
    filled = _noise_behind(values, observed)

    absent = _net()(filled, observed, times, imputed=nothing, record=True)
    generated = _net()(filled, observed, times, imputed=imputed, record=True)

    assert not absent.record["available"][:, 0].any()
    assert generated.record["available"].all()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("router", ROUTERS)
def test_a_sample_without_anything_has_a_finite_output_and_gradient(router, masked):
    net = _net(router=router).train()
    values, observed, times = _batch()
    values = [torch.zeros_like(x) for x in values]
    observed = [torch.zeros_like(o) for o in observed]

    out = net(values, observed, times, imputed=observed if masked else None, record=True)
    (out.prediction.sum() + out.loss).backward()

    assert torch.isfinite(out.prediction).all()
    assert all(torch.isfinite(x).all() for x in out.record.values())
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in net.parameters())


def test_an_absent_modality_is_never_asked():
    values, observed, times = _batch()
    observed = _hide(observed, 1)

    attention = _net()(values, observed, times, record=True).record["attention"]

    assert (attention[..., 1] == 0).all()
    torch.testing.assert_close(attention.sum(-1), torch.ones(4, 2, 4))


@pytest.mark.parametrize("has_imputed", [False, True])
def test_longer_padding_changes_nothing(has_imputed):
    net = _net()
    values, observed, times = _batch()
    imputed = [~o if has_imputed else torch.zeros_like(o) for o in observed]

    out = net(values, observed, times, imputed=imputed).prediction
    longer = net(
        [F.pad(x, (0, 0, 0, 9)) for x in values],
        [F.pad(o, (0, 0, 0, 9)) for o in observed],
        [None if t is None else F.pad(t, (0, 9)) for t in times],
        imputed=[F.pad(filled, (0, 0, 0, 9)) for filled in imputed],
    ).prediction

    torch.testing.assert_close(out, longer)


@pytest.mark.parametrize("router", ROUTERS)
def test_one_batch_equals_its_samples_alone(router):
    net = _net(router=router)
    values, observed, times = _batch()
    observed = _hide(observed, 0, slice(1, 2))

    whole = net(values, observed, times, record=True)
    for i in range(4):
        alone = net(
            [x[i : i + 1] for x in values],
            [o[i : i + 1] for o in observed],
            [None if t is None else t[i : i + 1] for t in times],
            record=True,
        )
        torch.testing.assert_close(alone.prediction, whole.prediction[i : i + 1])
        for key, x in whole.record.items():
            torch.testing.assert_close(alone.record[key], x[i : i + 1])


def test_clocks_shifted_and_stretched_together_change_nothing():
    schema = Schema((Modality("a", 2, 6), Modality("b", 1, 4)))
    net = _net(schema)
    values = [torch.randn(2, 6, 2), torch.randn(2, 4, 1)]
    observed = [torch.ones_like(x, dtype=torch.bool) for x in values]
    times = [torch.rand(2, 6).sort(1)[0].double(), torch.rand(2, 4).sort(1)[0].double()]

    out = net(values, observed, times).prediction
    later = net(values, observed, [1.7e9 + 3600 * t for t in times]).prediction

    torch.testing.assert_close(out, later, rtol=1e-4, atol=1e-4)


def test_a_horizon_makes_the_absolute_time_matter():
    schema = Schema((Modality("a", 2, 6),))
    values, times = [torch.randn(2, 6, 2)], torch.rand(2, 6).sort(1)[0]
    observed = [torch.ones_like(values[0], dtype=torch.bool)]
    free, fixed = _net(schema), _net(schema, horizon_seconds=10.0)

    def same(net):
        first, second = (net(values, observed, [t]).prediction for t in (times, 5 + 2 * times))
        return torch.allclose(first, second, atol=1e-4)

    assert same(free)
    assert not same(fixed)


def test_a_horizon_keeps_its_fraction_beside_tokens():
    schema = Schema((Modality("words", 1, 4, vocabulary=Vocabulary(4)), Modality("a", 2, 6)))
    values = [torch.randint(1, 5, (2, 4, 1)), torch.randn(2, 6, 2)]
    observed = [torch.ones_like(x, dtype=torch.bool) for x in values]
    times = [None, torch.rand(2, 6).sort(1)[0]]

    short, long = (
        _net(schema, horizon_seconds=h)(values, observed, times).prediction for h in (1.2, 1.9)
    )

    assert not torch.allclose(short, long)


def test_a_regular_clock_equals_its_times_written_out():
    schema = Schema((Modality("a", 2, 6, rate=0.5), Modality("b", 1, 3, rate=0.25)))
    net = _net(schema)
    values = [torch.randn(2, 6, 2), torch.randn(2, 3, 1)]
    observed = [torch.ones_like(x, dtype=torch.bool) for x in values]

    times = [(2.0 * torch.arange(6)).expand(2, -1), None]

    torch.testing.assert_close(
        net(values, observed).prediction, net(values, observed, times).prediction
    )


@pytest.mark.parametrize("gate", ["softmax", "laplace", "gaussian"])
@pytest.mark.parametrize("router", ROUTERS)
def test_a_gradient_reaches_every_parameter(router, gate):
    net = _net(router=router, gate=gate).train()
    values, observed, times = _batch(16)
    for m in range(4):
        observed = _hide(observed, m, slice(m, m + 1))

    out = net(values, observed, times)
    ((out.prediction**2).sum() + out.loss).backward()

    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_loss_is_the_weighted_regulariser():
    values, observed, times = _batch()

    light, heavy, none = (
        _net(router="per_modality", entropy_weight=w)(values, observed, times).loss
        for w in (0.01, 0.1, 0.0)
    )

    assert light < 0
    torch.testing.assert_close(heavy, 10 * light)
    assert none == 0


def test_modality_dropout_hides_imputed_values_too():
    net = _net(modality_dropout=0.99, dropout=0.0).train()
    values, observed, times = _batch()
    net.modality_dropout.generator = torch.Generator().manual_seed(0)

    out = net(values, observed, times, imputed=[~o for o in observed], record=True)

    assert (out.record["available"].sum(1) == 1).all()


def test_without_layers_the_head_reads_the_interpolated_modalities():
    values, observed, times = _batch()

    out = _net(n_layers=0)(values, observed, times, record=True)

    assert out.prediction.shape == (4, 3)
    assert set(out.record) >= {"representation", "fused"}
    assert out.loss == 0


def test_the_record_has_its_shapes_and_only_when_asked():
    values, observed, times = _batch()

    record = _net()(values, observed, times, record=True).record

    assert {key: tuple(x.shape) for key, x in record.items()} == {
        "available": (4, 4),
        "representation": (4, 4, 6, 16),
        "fused": (4, 64),
        "attention": (4, 2, 4, 4),
        "routing": (4, 2, 4, 8),
        "gate": (4, 2, 4, 8),
        "time_attention_vitals": (4, 4, 6, 12),
        "time_attention_labs": (4, 4, 6, 7),
        "time_attention_words": (4, 4, 6, 5),
    }
    assert _net()(values, observed, times).record == {}


def test_statistics_read_what_was_observed():
    net = _net_with_statistics()
    values, observed, times = _batch()
    observed = _hide(observed, 1, slice(0, 2))
    net.features.fit(net.features.compute(values, observed, times))
    torch.nn.init.normal_(net.network.linear_head.maps[0].weight)

    features = net.features(values, observed, times)
    noisy = net.features(_noise_behind(values, observed), observed, times)

    imputed = [~o for o in observed]
    assert net(values, observed, times, imputed=imputed).prediction.isfinite().all()
    assert all(
        torch.equal(a.nan_to_num(9), b.nan_to_num(9)) for a, b in zip(features, noisy, strict=True)
    )


def test_statistics_of_a_silent_modality_are_not_read():
    net = _net_with_statistics()
    torch.nn.init.normal_(net.network.linear_head.maps[1].weight)
    values, observed, times = _batch()
    features = net.features(values, observed, times)
    observed = _hide(observed, 1)

    out = net(values, observed, times).prediction

    assert torch.equal(net(_noise_behind(values, observed), observed, times).prediction, out)
    given = net.network(values, observed, times, features=features).prediction
    torch.testing.assert_close(given, out)


def test_features_that_are_declared_have_to_be_given():
    with pytest.raises(ValueError, match="has feature_widths, but no features were given"):
        _net_with_statistics().network(*_batch())
    with pytest.raises(ValueError, match="features of each of the 4 modalities, or is None"):
        _net(feature_widths=[{"statistics": [3]}, {}, {}, {}])


@pytest.mark.parametrize(
    ("router", "has_imputed"),
    [
        ("joint", False),
        pytest.param("per_modality", True, marks=pytest.mark.slow),
        pytest.param("disjoint", False, marks=pytest.mark.slow),
    ],
)
def test_it_exports_for_any_batch_size(router, has_imputed):
    make = _net if router == "joint" else _net_with_statistics
    net = make(router=router, n_layers=1)
    values, observed, times = _batch(4)
    n = torch.export.Dim("n", min=1)
    shapes = {
        "values": [{0: n}] * 4,
        "observed": [{0: n}] * 4,
        "times": [None, {0: n}, None, None],
    }
    masks = {}
    if has_imputed:
        masks, shapes["imputed"] = {"imputed": [~o for o in observed]}, [{0: n}] * 4

    program = torch.export.export(net, (values, observed, times), masks, dynamic_shapes=shapes)

    other = _batch(7, seed=1)
    more = {"imputed": [~o for o in other[1]]} if has_imputed else {}
    torch.testing.assert_close(
        program.module()(*other, **more).prediction, net(*other, **more).prediction
    )


@pytest.mark.slow
def test_it_compiles_without_a_break():
    net = _net()
    values, observed, times = _batch(4)

    with torch.no_grad():
        out = torch.compile(net, fullgraph=True)(values, observed, times).prediction

    torch.testing.assert_close(out, net(values, observed, times).prediction, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_it_traces_without_a_break():
    net = _net_with_statistics(n_layers=1)
    values, observed, times = _batch(4)

    out = torch.compile(net, fullgraph=True, backend="eager")(values, observed, times).prediction

    torch.testing.assert_close(out, net(values, observed, times).prediction)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d_model": 10}, "d_model is a multiple of n_heads, got d_model=10 and n_heads=4"),
        ({"d_time": 10}, "d_time is a multiple of n_heads, got d_time=10 and n_heads=4"),
        ({"n_reference": 0}, "n_reference is at least 1, got 0"),
        ({"horizon_seconds": -1.0}, "horizon_seconds is a positive number of seconds or None, got"),
        ({"router": "all"}, "router='all' is unknown"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        _net(**options)
