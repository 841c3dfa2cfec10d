"""The network of MAESTRO keeps what it promises about sensors that are missing."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mts_fusion.nn.features import SchemaFeatures
from mts_fusion.nn.layers import set_generator
from mts_fusion.nn.networks import Maestro, WithFeatures
from mts_fusion.panel._schema import Modality, Schema, Vocabulary

MIXED = Schema(
    (
        Modality("wrist", 1, 7, rate=1.0),
        Modality("acc", 3, 40, rate=8.0),
        Modality("gyro", 3, 40, rate=8.0),
        Modality("words", 2, 20, rate=4.0, vocabulary=Vocabulary(6)),
        Modality("labs", 1, 12),
    )
)


def make_batch(
    schema: Schema = MIXED, n: int = 6, *, seed: int = 0, observed_fraction: float = 0.8
) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    values, observed = [], []
    for modality in schema:
        shape = (n, modality.n_timepoints, modality.n_channels)
        o = torch.rand(shape, generator=generator) < observed_fraction
        if modality.vocabulary is None:
            x = torch.randn(shape, generator=generator).where(o, torch.zeros(()))
        else:
            x = torch.randint(1, modality.vocabulary.n_tokens, shape, generator=generator) * o
        values.append(x)
        observed.append(o)
    return values, observed


def make_net(schema: Schema = MIXED, *, kinds=("statistics",), **parameters) -> WithFeatures:
    torch.manual_seed(0)
    settings = {"d_model": 16, "n_heads": 2, "max_tokens": 10, **parameters}
    features = SchemaFeatures(schema, kinds, n_groups=4)
    return WithFeatures(features, Maestro(schema, 3, feature_widths=features.widths, **settings))


def silence(observed: list[Tensor], m: int, rows: slice = slice(None)) -> list[Tensor]:
    hidden = [o.clone() for o in observed]
    hidden[m][rows] = False
    return hidden


@pytest.mark.parametrize("missing", ["mask", "token"])
@pytest.mark.parametrize("m", range(len(MIXED)))
def test_values_behind_a_silent_sensor_change_no_bit(m, missing):
    net = make_net(missing=missing).eval()
    values, observed = make_batch()
    observed = silence(observed, m)
    before = net(values, observed, record=True)
    other = list(values)
    other[m] = (
        torch.randint_like(values[m], 1, 6)
        if values[m].dtype == torch.int64
        else (torch.full_like(values[m], 1e6))
    )
    after = net(other, observed, record=True)
    assert torch.equal(before.prediction, after.prediction)
    for key in before.record:
        assert torch.equal(before.record[key], after.record[key])


@pytest.mark.parametrize("missing", ["mask", "token"])
def test_values_behind_an_unobserved_point_change_no_bit(missing):
    net = make_net(missing=missing).eval()
    values, observed = make_batch()
    other = [
        torch.where(o, x, 5 if x.dtype == torch.int64 else math.nan)
        for x, o in zip(values, observed, strict=True)
    ]
    assert torch.equal(net(values, observed).prediction, net(other, observed).prediction)


@pytest.mark.parametrize("missing", ["mask", "token"])
def test_times_behind_an_unobserved_point_change_no_bit(missing):
    net = make_net(missing=missing).eval()
    values, observed = make_batch()
    times = [torch.rand(x.shape[:2]).cumsum(1) for x in values]
    other = [torch.where(o.any(-1), t, 1e3) for t, o in zip(times, observed, strict=True)]
    assert torch.equal(
        net(values, observed, times).prediction, net(values, observed, other).prediction
    )


@pytest.mark.parametrize("missing", ["mask", "token"])
def test_all_sensors_missing_gives_finite_numbers_and_gradients(missing):
    net = make_net(missing=missing).train()
    values, observed = make_batch()
    observed = [torch.zeros_like(o) for o in observed]
    output = net(values, observed, record=True)
    output.prediction.sum().backward()
    assert output.prediction.isfinite().all()
    assert all(tensor.isfinite().all() for tensor in output.record.values())
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_some_samples_without_any_sensor_leave_gradients_finite():
    net = make_net().train()
    values, observed = make_batch()
    for m in range(len(MIXED)):
        observed = silence(observed, m, slice(0, 3))
    F.cross_entropy(net(values, observed).prediction, torch.arange(6) % 3).backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    "settings",
    [{}, {"attention_budget": 1.5}, {"attention_budget": math.inf}, {"missing": "token"}],
    ids=str,
)
def test_a_batch_gives_what_its_samples_give_one_by_one(settings):
    net = make_net(**settings).eval()
    values, observed = make_batch()
    observed = silence(observed, 1, slice(0, 2))
    together = net(values, observed).prediction
    alone = [
        net([x[i : i + 1] for x in values], [s[i : i + 1] for s in observed]).prediction
        for i in range(6)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("with_times", [False, True])
@pytest.mark.parametrize("longer", [1, 5, 64])
@pytest.mark.parametrize("missing", ["mask", "token"])
def test_longer_padding_changes_nothing(missing, longer, with_times):
    net = make_net(missing=missing).eval()
    values, observed = make_batch()
    times = None
    if with_times:
        times = [torch.rand(x.shape[:2]).cumsum(1) for x in values]
    padded = [F.pad(x, (0, 0, 0, longer)) for x in values]
    unobserved = [F.pad(o, (0, 0, 0, longer)) for o in observed]
    later = None if times is None else [F.pad(t, (0, longer)) for t in times]
    torch.testing.assert_close(
        net(values, observed, times).prediction,
        net(padded, unobserved, later).prediction,
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("missing", ["mask", "token"])
def test_padding_of_one_modality_alone_changes_nothing(missing):
    net = make_net(missing=missing).eval()
    values, observed = make_batch()
    before = net(values, observed).prediction
    values[2] = F.pad(values[2], (0, 0, 0, 200))
    observed[2] = F.pad(observed[2], (0, 0, 0, 200))
    torch.testing.assert_close(before, net(values, observed).prediction, rtol=1e-4, atol=1e-5)


def test_order_of_modalities_of_one_shape_keeps_their_own_weights():
    net = make_net().eval()
    values, observed = make_batch(observed_fraction=1.1)
    swapped = [values[0], values[2], values[1], *values[3:]]
    assert not torch.allclose(net(values, observed).prediction, net(swapped, observed).prediction)


def test_given_times_of_the_rate_equal_no_times():
    schema = Schema((Modality("acc", 2, 40, rate=8.0),))
    net = make_net(schema).eval()
    values, observed = make_batch(schema, observed_fraction=1.1)
    times = [(torch.arange(40) / 8.0).expand(6, -1)]
    torch.testing.assert_close(
        net(values, observed).prediction,
        net(values, observed, times).prediction,
        rtol=1e-4,
        atol=1e-5,
    )


def test_order_of_time_matters():
    net = make_net(attention_budget=0.0).eval()
    values, observed = make_batch(observed_fraction=1.1)
    turned = [x.flip(1) for x in values]
    assert not torch.allclose(net(values, observed).prediction, net(turned, observed).prediction)


@pytest.mark.parametrize("missing", ["mask", "token"])
def test_a_gradient_reaches_every_parameter(missing):
    net = make_net(balance_weight=0.01, missing=missing).train()
    values, observed = make_batch(n=64)
    output = net(values, observed)
    (F.cross_entropy(output.prediction, torch.arange(64) % 3) + output.loss).backward()
    silent = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_one_sample_trains():
    net = make_net().train()
    values, observed = make_batch(n=1)
    net(values, observed).prediction.sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


def test_record_has_the_promised_shapes_and_sums():
    net = make_net(n_active_experts=2).eval()
    values, observed = make_batch()
    observed = silence(observed, 1)
    record = net(values, observed, record=True).record
    n_tokens = record["available"].shape[1]
    assert record["budget"].shape == (6, 5)
    assert record["attention"].shape == (6, 5, 5)
    assert record["expert"].shape == (6, n_tokens, 2)
    assert record["gate"].shape == (6, n_tokens, 4)
    assert record["modality"].shape == (6, n_tokens)
    tokens = record["token_attention"]
    assert tokens.shape == (6, record["modality"].shape[1], record["modality"].shape[1])
    torch.testing.assert_close(tokens.sum(-1), record["available"].float())
    assert not tokens.transpose(1, 2)[~record["available"]].any()
    rows = record["attention"].sum(-1)
    torch.testing.assert_close(rows[:, [0, 2, 3, 4]], torch.ones(6, 4))
    assert not record["attention"][:, :, 1].any()
    assert not record["attention"][:, 1].any()
    gone = record["modality"] == 1
    assert not record["available"][gone].any()
    assert (record["expert"][gone] == -1).all()
    assert not record["gate"][gone].any()


def test_record_is_empty_unless_asked_for():
    assert make_net().eval()(*make_batch()).record == {}


def test_an_absent_modality_takes_no_budget():
    net = make_net().eval()
    values, observed = make_batch()
    budget = net(values, silence(observed, 2, slice(0, 3)), record=True).record["budget"]
    assert (budget[:3, 2] == 0).all()
    assert (budget[3:, 2] > 0).all()
    assert ((budget >= 0) & (budget <= 5)).all()


def test_the_budget_depends_on_which_sensors_are_there():
    net = make_net().eval()
    values, observed = make_batch()
    budget = net(values, silence(observed, 2, slice(0, 3)), record=True).record["budget"]
    assert not torch.allclose(budget[0, 0], budget[5, 0], atol=1e-6)


def test_a_fixed_budget_is_kept():
    values, observed = make_batch()
    budget = make_net(attention_budget=2.0).eval()(values, observed, record=True).record["budget"]
    assert (budget == 2.0).all()
    some = make_net(attention_budget={"gyro": 3.0}).eval()
    budget = some(values, observed, record=True).record["budget"]
    assert (budget[:, 2] == 3.0).all()
    assert (budget[:, 0] != 3.0).all()


def test_an_infinite_budget_is_full_attention():
    net = make_net(attention_budget=math.inf).eval()
    values, observed = make_batch()
    assert net.network.attends_in_full
    large = make_net(attention_budget=1e3).eval()
    torch.testing.assert_close(net(values, observed).prediction, large(values, observed).prediction)


def test_the_cross_budget_decides_how_many_tokens_attend_across_modalities():
    values, observed = make_batch(observed_fraction=1.1)
    shown = {}
    for budget in (0.0, 1.0, None, math.inf):
        net = make_net(kinds=(), cross_budget=budget, n_cross_layers=1).eval()
        shown[budget] = net(values, observed, record=True).record["token_attention"]
    n_tokens = shown[None].shape[1]
    torch.testing.assert_close(shown[0.0], torch.full_like(shown[0.0], 1 / n_tokens))
    n_attending = ((shown[1.0] - 1 / n_tokens).abs().amax(-1) > 1e-6).sum(1)
    assert (n_attending < n_tokens).all()
    assert (n_attending > 0).all()
    assert torch.equal(shown[None], shown[math.inf])
    assert ((shown[None] - 1 / n_tokens).abs().amax(-1) > 1e-6).all()


def test_wrong_budgets_name_the_modality():
    with pytest.raises(ValueError, match=r"attention_budget names \['chest'\], but the modalities"):
        make_net(attention_budget={"chest": 1.0})
    with pytest.raises(ValueError, match="attention_budget of modality 'acc' is a number of at le"):
        make_net(attention_budget={"acc": -1.0})
    with pytest.raises(ValueError, match="attention_budget is 'learnt', None, a number or a dict"):
        make_net(attention_budget="much")
    with pytest.raises(ValueError, match=r"budget across modalities is at least 0, got -1\.0"):
        make_net(cross_budget=-1.0)


def test_wrong_channels_name_the_modality():
    net = make_net().network
    values, observed = make_batch()
    values[1] = values[1][..., :2]
    with pytest.raises(ValueError, match=r"Modality 'acc' has values of shape \(B, L, 3\), got"):
        net(values, observed)


def matching_batch(n: int, generator: torch.Generator) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Whether the two pulses in modality 'pulses' have one sign; modality 'noise' is noise."""
    x = 0.1 * torch.randn(n, 16, 1, generator=generator)
    first = torch.randint(0, 8, (n,), generator=generator)
    second = torch.randint(8, 16, (n,), generator=generator)
    sign = torch.randint(0, 2, (n, 2), generator=generator) * 2 - 1
    rows = torch.arange(n)
    x[rows, first, 0] += 3.0 * sign[:, 0]
    x[rows, second, 0] += 3.0 * sign[:, 1]
    noise = torch.randn(n, 16, 1, generator=generator)
    observed = torch.ones(n, 16, 1, dtype=torch.bool)
    return [noise, x], [observed, observed], (sign[:, 0] == sign[:, 1]).long()


def test_the_budget_moves_to_the_modality_that_tells():
    schema = Schema((Modality("noise", 1, 16), Modality("pulses", 1, 16)))
    torch.manual_seed(0)
    net = Maestro(
        schema,
        2,
        d_model=16,
        n_heads=2,
        n_intra_layers=1,
        n_cross_layers=0,
        modality_dropout=0.0,
        dropout=0.0,
        distil=False,
    )
    generator = torch.Generator().manual_seed(0)
    set_generator(net, generator)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    start = net.eval()(*matching_batch(2, generator)[:2], record=True).record["budget"][0]
    net.train()
    for _ in range(300):
        values, observed, y = matching_batch(128, generator)
        optimizer.zero_grad()
        F.cross_entropy(net(values, observed).prediction, y).backward()
        optimizer.step()
    values, observed, y = matching_batch(256, generator)
    output = net.eval()(values, observed, record=True)
    end = output.record["budget"][0]
    assert (output.prediction.argmax(1) == y).float().mean() > 0.9
    assert end[1] - start[1] > 0.5
    assert end[1] - end[0] > (start[1] - start[0]) + 0.5


def test_own_generators_give_the_same_bits_whatever_the_global_seed():
    values, observed = make_batch()
    results = []
    for seed in (1, 2):
        net = make_net().train()
        set_generator(net, torch.Generator().manual_seed(7))
        torch.manual_seed(seed)
        results.append(net(values, observed).prediction)
    assert torch.equal(*results)


def test_modality_dropout_acts_in_training_only():
    net = make_net(dropout=0.0, modality_dropout=0.9)
    values, observed = make_batch(n=32)
    available = net.train()(values, observed, record=True).record["budget"] > 0
    assert (available.any(1)).all()
    assert not available.all()
    assert (net.eval()(values, observed, record=True).record["budget"] > 0).all()


@pytest.mark.parametrize(("spread", "mean", "variance"), [(True, 2.67, 2.2), (False, 2.53, 1.1)])
def test_with_and_without_spread_half_of_the_modalities_are_lost(spread, mean, variance):
    settings = {"modality_dropout": 0.5, "modality_dropout_spread": spread, "n_cross_layers": 0}
    net = make_net(kinds=(), n_intra_layers=1, **settings).train()
    values, observed = make_batch(n=600, observed_fraction=1.1)
    n_left = (net(values, observed, record=True).record["budget"] > 0).sum(1).double()
    assert abs(n_left.mean() - mean) < 0.2  # one always stays
    assert abs(n_left.var() - variance) < 0.4


def test_the_hidden_width_is_that_of_all_feed_forward_layers():
    default, wide = make_net(), make_net(d_hidden=40)
    for net, width in ((default, 32), (wide, 40)):
        assert {layer.outer.weight.shape[-2] for layer in net.network.intra} == {width}
        assert {x.experts.experts.weight_out.shape[-2] for x in net.network.cross} == {width}
    values, observed = make_batch()
    assert wide.eval()(values, observed).prediction.shape == (6, 3)


def test_an_unknown_way_to_treat_what_is_missing_is_an_error():
    with pytest.raises(ValueError, match="missing is 'mask' or 'token', got 'zero'"):
        make_net(missing="zero")


def test_a_missing_token_has_a_gradient_where_its_modality_is_absent():
    net = make_net(missing="token").eval()
    values, observed = make_batch(observed_fraction=1.1)
    net(values, silence(observed, 2)).prediction.square().sum().backward()
    moved = net.network.missing.vector.grad.abs().sum(1) > 0
    assert moved.tolist() == [False, False, True, False, False]


def test_a_missing_token_stands_for_a_patch_too():
    net = make_net(missing="token").eval()
    values, observed = make_batch(observed_fraction=1.1)
    observed[1][:, 4:12] = False  # patches of four timepoints
    net(values, observed).prediction.square().sum().backward()
    moved = net.network.missing.vector.grad.abs().sum(1) > 0
    assert moved.tolist() == [False, True, False, False, False]


def test_a_missing_token_changes_samples_that_lack_something_only():
    net = make_net(missing="token").eval()
    values, observed = make_batch(observed_fraction=1.1)
    observed = silence(observed, 2, slice(0, 3))
    before = net(values, observed).prediction
    net.network.missing.vector.data.neg_()
    after = net(values, observed).prediction
    assert ((before[:3] - after[:3]).abs().amax(1) > 1e-4).all()
    assert torch.equal(before[3:], after[3:])


def test_other_tokens_attend_to_a_missing_token():
    values, observed = make_batch(observed_fraction=1.1)
    observed = silence(observed, 2)
    for missing in ("mask", "token"):
        net = make_net(missing=missing).eval()
        record = net(values, observed, record=True).record
        rows = record["attention"][:, [0, 1, 3, 4]]
        assert (rows[:, :, 2] > 0).all() == (missing == "token")
        torch.testing.assert_close(rows.sum(-1), torch.ones(6, 4))
        assert record["available"].all() == (missing == "token")


def test_missing_tokens_of_an_absent_modality_have_a_budget():
    values, observed = make_batch()
    observed = silence(observed, 2)
    for attention_budget in ("learnt", 2.0):
        net = make_net(missing="token", attention_budget=attention_budget).eval()
        assert (net(values, observed, record=True).record["budget"] > 0).all()


def test_a_shorter_batch_misses_its_end():
    net = make_net(missing="token").eval()
    values, observed = make_batch(observed_fraction=1.1)
    observed[1][:, 20:] = False
    times = [torch.rand(x.shape[:2]).cumsum(1) for x in values]
    for clock in (None, times):
        short = [x if m != 1 else x[:, :20] for m, x in enumerate(values)]
        cut_observed = [x if m != 1 else x[:, :20] for m, x in enumerate(observed)]
        cut = None if clock is None else [t if m != 1 else t[:, :20] for m, t in enumerate(clock)]
        torch.testing.assert_close(
            net.network(values, observed, clock, features=net.features(values, observed)),
            net.network(short, cut_observed, cut, features=net.features(values, observed)),
        )


def test_balance_loss_is_zero_without_weight():
    values, observed = make_batch()
    assert make_net().eval()(values, observed).loss == 0
    assert make_net(balance_weight=0.1).eval()(values, observed).loss > 0


def test_deepcopy_and_state_dict_give_the_same_prediction():
    net = make_net().eval()
    values, observed = make_batch()
    other = make_net(modality_dropout=0.1)
    other.load_state_dict(net.state_dict())
    for twin in (copy.deepcopy(net), other.eval()):
        assert torch.equal(net(values, observed).prediction, twin(values, observed).prediction)


@pytest.mark.parametrize("missing", ["mask", pytest.param("token", marks=pytest.mark.slow)])
def test_export_with_a_free_batch_size(missing):
    kinds = {"words": ("statistics",)}  # tests of the other networks export those of numbers
    net = make_net(missing=missing, kinds=kinds, n_intra_layers=1, n_cross_layers=1).eval()
    values, observed = make_batch(n=4)
    times = [torch.rand(x.shape[:2]).cumsum(1) for x in values]
    batch = torch.export.Dim("batch", min=2, max=1024)
    shapes = [{0: batch} for _ in values]
    program = torch.export.export(
        net, (values, observed, times), dynamic_shapes=(shapes, shapes, shapes)
    )
    values, observed = make_batch(n=9, seed=1)
    times = [torch.rand(x.shape[:2]).cumsum(1) for x in values]
    torch.testing.assert_close(
        program.module()(values, observed, times).prediction,
        net(values, observed, times).prediction,
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.slow
def test_the_graph_has_no_break():
    net = make_net(n_intra_layers=1, n_cross_layers=1, n_experts=2).eval()
    values, observed = make_batch()
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    torch.testing.assert_close(
        compiled(values, observed).prediction, net(values, observed).prediction
    )


@pytest.mark.slow
def test_compile_gives_the_same_prediction():
    net = make_net().eval()
    values, observed = make_batch()
    compiled = torch.compile(net, fullgraph=True)
    torch.testing.assert_close(
        compiled(values, observed).prediction,
        net(values, observed).prediction,
        rtol=1e-4,
        atol=1e-4,
    )


def test_convolutions_are_tokens_that_silent_sensors_do_not_reach():
    net = make_net(kinds=("statistics", "multirocket")).eval()
    values, observed = make_batch()
    hidden = silence(observed, 1)
    out = net(values, hidden).prediction
    other = [x if m != 1 else x + 7 for m, x in enumerate(values)]
    assert torch.equal(out, net(other, hidden).prediction)
    features = net.features(values, observed)
    given = net.network(values, hidden, features=features).prediction
    torch.testing.assert_close(given, out)
    without = make_net(kinds=("statistics",)).eval()
    n_tokens = net(values, observed, record=True).record["modality"].shape[1]
    assert n_tokens == without(values, observed, record=True).record["modality"].shape[1] + 5


def test_the_order_of_the_kinds_does_not_matter():
    values, observed = make_batch()
    nets = [
        make_net(kinds=kinds, linear_head=True).eval()
        for kinds in (("statistics", "multirocket"), ("multirocket", "statistics"))
    ]
    torch.nn.init.ones_(nets[0].network.linear_head.maps[0].weight)
    torch.nn.init.ones_(nets[1].network.linear_head.maps[0].weight)
    first, second = (net(values, observed).prediction for net in nets)
    assert torch.equal(first, second)


def test_modalities_of_which_no_features_are_declared_have_no_token_of_them():
    some = {"acc": ("statistics", "multirocket"), "labs": ("statistics",)}
    net = make_net(kinds=some, linear_head=True).eval()
    values, observed = make_batch()
    n_tokens = net(values, observed, record=True).record["modality"].shape[1]
    without = make_net(kinds=()).eval()
    assert n_tokens == without(values, observed, record=True).record["modality"].shape[1] + 3


def test_features_that_are_declared_have_to_be_given():
    with pytest.raises(ValueError, match="has feature_widths, but no features were given"):
        make_net().network(*make_batch())
