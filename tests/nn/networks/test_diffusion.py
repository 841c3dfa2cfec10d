"""The conditional diffusion network."""

from statistics import median

import pytest
import torch
import torch.nn.functional as F

from mts_fusion.nn.layers import set_generator
from mts_fusion.nn.networks._diffusion import ConditionalDiffusion
from mts_fusion.panel import Modality, Schema, Vocabulary

SCHEMA = Schema(
    (Modality("acc", 3, 10, rate=4.0), Modality("temp", 1, 3, rate=1.0), Modality("note", 70, 1))
)
SMALL = {"d_model": 8, "n_heads": 2, "n_layers": 1, "n_encoder_layers": 1}
CSDI = {
    "n_encoder_layers": 0,
    "patch_length": 1,
    "channels_per_token": 1,
    "prior": "standard",
    "parameterization": "noise",
}


def make_net(schema=SCHEMA, seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = ConditionalDiffusion(schema, **{**SMALL, **options})
        for layer in net.denoiser.out:  # not zero, as after training
            torch.nn.init.normal_(layer.weight, std=0.1)
    return net.eval()


def make_batch(n=4, schema=SCHEMA, missing=0.4):
    generator = torch.Generator().manual_seed(1)
    shapes = [(n, m.n_timepoints, m.n_channels) for m in schema]
    observed = [torch.rand(shape, generator=generator) > missing for shape in shapes]
    values = [torch.randn(shape, generator=generator) for shape in shapes]
    return [torch.where(o, x, 0.0) for x, o in zip(values, observed, strict=True)], observed


@pytest.mark.parametrize(
    "options",
    [
        {},
        CSDI,
        {"patch_length": 4, "channels_per_token": 2},
        {"conditioning": "target"},
        {"gating": "fixed"},
        {"schedule": "cosine"},
    ],
)
def test_a_gradient_reaches_every_parameter(options):
    net = make_net(**options).train()
    set_generator(net, torch.Generator().manual_seed(0))
    output = net(*make_batch(32))
    output.loss.backward()
    assert output.prediction.shape == (32, 0)
    assert torch.isfinite(output.loss)
    silent = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


def test_training_lowers_the_loss():
    schema = Schema((Modality("a", 2, 8), Modality("b", 1, 4)))
    level = torch.randn(64, 1, 1, generator=torch.Generator().manual_seed(0))
    values = [level.expand(-1, 8, 2).contiguous(), level.expand(-1, 4, 1).contiguous()]
    observed = [torch.ones_like(x, dtype=torch.bool) for x in values]
    net = make_net(schema)
    set_generator(net, torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    net.train()

    def typical_loss():
        with torch.no_grad():  # of several draws of what is hidden: a few are far larger
            return median(net(values, observed).loss.item() for _ in range(30))

    before = typical_loss()
    for _ in range(200):
        optimizer.zero_grad()
        net(values, observed).loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    assert typical_loss() < before - 0.3
    net.eval()
    # A wholly absent modality is generated from the other.
    observed[0][:] = False
    drawn = net.sample(values, observed, n_samples=5)[0].median(1).values.mean((1, 2))
    assert torch.corrcoef(torch.stack([drawn, level[:, 0, 0]]))[0, 1] > 0.9


@pytest.mark.parametrize("sampler", ["flow2m", "dpm++2m", "ddim", "ddpm"])
@pytest.mark.parametrize("options", [{}, CSDI])
def test_samples_do_not_depend_on_batch_order_or_chunks(sampler, options):
    net, (values, observed) = make_net(**options), make_batch()
    arguments = {"n_samples": 5, "n_steps": 3, "sampler": sampler}
    with torch.inference_mode():
        drawn = net.sample(values, observed, **arguments, batch_size=8)
        order = torch.tensor([3, 1])
        part = net.sample([x[order] for x in values], [o[order] for o in observed], **arguments)
    for a, b in zip(drawn, part, strict=True):
        torch.testing.assert_close(a[order], b, atol=1e-4, rtol=1e-4)


def test_more_samples_keep_the_first_and_another_seed_changes_them():
    net, (values, observed) = make_net(), make_batch()
    with torch.inference_mode():
        few = net.sample(values, observed, n_samples=2)[0]
        many = net.sample(values, observed, n_samples=4)[0]
        other = net.sample(values, observed, n_samples=2, seed=1)[0]
    torch.testing.assert_close(few, many[:, :2], atol=1e-5, rtol=1e-5)
    gap = ~observed[0][:, None].expand_as(few)
    assert (few[gap] != other[gap]).all()
    assert (few[:, 0][gap[:, 0]] != few[:, 1][gap[:, 0]]).all()


def test_observed_entries_come_back_bit_by_bit():
    values, observed = make_batch()
    for x, o, drawn in zip(
        values, observed, make_net().sample(values, observed, n_samples=2), strict=True
    ):
        kept = o[:, None].expand_as(drawn)
        assert torch.equal(drawn[kept], x[:, None].expand_as(drawn)[kept])


@pytest.mark.parametrize("options", [{}, CSDI, {"conditioning": "none"}])
def test_values_behind_missing_entries_do_not_matter(options):
    net, (values, observed) = make_net(**options), make_batch()
    other = [torch.where(o, x, 9.0) for x, o in zip(values, observed, strict=True)]
    for a, b in zip(net.sample(values, observed), net.sample(other, observed), strict=True):
        gap = torch.isfinite(a)
        assert torch.equal(a[gap], b[gap])
    assert torch.equal(net(values, observed).loss, net(other, observed).loss)


def test_a_complete_modality_is_left_out_and_changes_no_other():
    net, (values, observed) = make_net(), make_batch()
    observed[1][:] = True
    drawn = net.sample(values, observed, n_samples=2)
    assert torch.equal(drawn[1][:, 0], values[1])
    both = [torch.cat([x, x]) for x in values], [torch.cat([o, o]) for o in observed]
    both[1][1][4:] = False  # now the batch has gaps in this modality too
    again = net.sample(*both, n_samples=2)
    torch.testing.assert_close(again[0][:4], drawn[0])
    complete = net.sample(values, [torch.ones_like(o) for o in observed], n_samples=2)
    assert torch.equal(complete[0][:, 1], values[0])


def test_nothing_observed_gives_finite_samples_and_loss():
    net, (values, observed) = make_net(), make_batch()
    observed = [torch.zeros_like(o) for o in observed]
    assert all(torch.isfinite(x).all() for x in net.sample(values, observed, n_samples=2))
    assert torch.isfinite(net(values, observed).loss)


def test_the_gate_weighs_the_available_auxiliaries_alone():
    net, (values, observed) = make_net(), make_batch()
    observed[1][0], observed[1][1:] = False, True
    gate = net.condition(values, observed, None, [0]).gate
    torch.testing.assert_close(gate.sum(2), torch.ones(4, 3))
    assert not gate.diagonal(dim1=1, dim2=2).any()
    assert not gate[0, :, 1].any()
    assert gate[1, 0, 1] > 0
    fixed = make_net(gating="fixed").condition(values, observed, None, [0]).gate
    torch.testing.assert_close(fixed[1, 0], torch.tensor([0.0, 0.5, 0.5]))


def test_conditioning_decides_what_a_sample_depends_on():
    values, observed = make_batch()
    own, other = [x.clone() for x in values], [x.clone() for x in values]
    own[0] += 1.0
    other[1] += 1.0
    for conditioning, sees_own, sees_other in (
        ("cross", True, True),
        ("target", True, False),
        ("none", False, False),
    ):
        net = make_net(conditioning=conditioning)
        # The noise follows the content, so the part before the noise is compared.
        base, with_own, with_other = (
            net.condition(x, observed, None, [0]).location for x in (values, own, other)
        )
        if conditioning == "none":
            assert torch.equal(base, with_own)
        torch.nn.init.normal_(net.condition.prior_out[0].weight)
        base, with_own, with_other = (
            net.condition(x, observed, None, [0]).location for x in (values, own, other)
        )
        assert torch.equal(base, with_own) != sees_own
        assert torch.equal(base, with_other) != sees_other


def test_the_record_has_a_row_for_each_sample():
    record = make_net()(*make_batch(), record=True).record
    assert {key: tuple(x.shape) for key, x in record.items()} == {
        "gate": (4, 3, 3),
        "error": (4, 3),
    }


def test_other_lengths_and_given_times_pass():
    net = make_net()
    values = [torch.zeros(2, 13, 3), torch.zeros(2, 2, 1), torch.zeros(2, 1, 70)]
    observed = [torch.rand_like(x) > 0.5 for x in values]
    observed[0][:, -1] = True  # a sample without times ends where the last was observed
    times = [torch.arange(13).expand(2, -1) / 4.0, None, None]
    implicit = net.sample(values, observed, None, n_samples=2)
    explicit = net.sample(values, observed, times, n_samples=2)
    torch.testing.assert_close(implicit[0], explicit[0])
    later = net.sample(values, observed, [times[0] * 2, None, None], n_samples=2)
    assert not torch.equal(later[0], explicit[0])


def test_loss_in_evaluation_is_the_same_twice_and_free_of_the_order():
    net, (values, observed) = make_net(), make_batch()
    loss = net(values, observed).loss
    assert torch.equal(loss, net(values, observed).loss)
    back = net([x.flip(0) for x in values], [o.flip(0) for o in observed]).loss
    torch.testing.assert_close(loss, back)


def test_the_same_generator_gives_the_same_training_loss():
    net, batch = make_net().train(), make_batch()
    losses = []
    for _ in range(2):
        set_generator(net, torch.Generator().manual_seed(3))
        losses.append(net(*batch).loss.item())
    assert losses[0] == losses[1]


def test_it_exports_with_a_free_batch_size():
    schema = Schema((Modality("a", 2, 6), Modality("b", 1, 1)))
    net, batch = make_net(schema, n_experts=2), make_batch(3, schema)
    shapes = [{0: torch.export.Dim("batch")}] * 2
    program = torch.export.export(net, batch, dynamic_shapes=(shapes, shapes))
    larger = make_batch(5, schema)
    torch.testing.assert_close(program.module()(*larger).loss, net(*larger).loss)


def test_it_compiles_as_one_graph():
    schema = Schema((Modality("a", 2, 6), Modality("note", 70, 1)))
    net, batch = make_net(schema, n_experts=2), make_batch(schema=schema)
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*batch).loss, net(*batch).loss)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conditioning": "all"}, r"conditioning must be one of \['cross', 'target', 'none'\]"),
        ({"parameterization": "x"}, r"parameterization must be one of \['velocity', 'noise'\]"),
        ({"prior": "x"}, r"prior must be one of \['learned', 'standard'\], got 'x'"),
        (
            {"gating": "hard"},
            r"gating must be one of \['moe', 'inner_product', 'fixed'\], got 'hard'",
        ),
        ({"patch_length": 0}, "patch_length must be at least 1, got 0"),
        ({"n_heads": 3}, "d_model is a multiple of n_heads, got d_model=8 and n_heads=3"),
        ({"n_experts": 0}, "n_experts must be at least 1, got 0"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make_net(**options)


def test_wrong_options_of_sampling_are_named():
    net, batch = make_net(), make_batch()
    with pytest.raises(ValueError, match=r"sampler must be one of .* got 'euler'"):
        net.sample(*batch, sampler="euler")
    with pytest.raises(ValueError, match="n_steps=60, but a diffusion trained with 50 steps"):
        net.sample(*batch, n_steps=60)


def test_tokens_are_refused():
    schema = Schema((Modality("words", 1, 5, vocabulary=Vocabulary(4)),))
    with pytest.raises(ValueError, match="'words' has tokens, but a diffusion fills numbers"):
        make_net(schema)


RAGGED = Schema((Modality("acc", 3, 10, rate=4.0), Modality("hr", 2, 6, irregular=True)))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"patch_length": 4, "channels_per_token": 2},
        {"patch_length": 4, "gating": "inner_product"},
        {"patch_length": 4, "denoiser": "state_space"},
        {"denoiser": "state_space", "n_encoder_layers": 0, "prior": "standard"},
        CSDI,
    ],
)
def test_a_longer_sample_changes_no_draw_of_the_others(options):
    net = make_net(RAGGED, **options)
    values, observed = make_batch(schema=RAGGED)
    observed[0][:, -1] = False  # a gap at the end, in a sample as long as those of training
    observed[0][0], observed[1][1] = False, False  # silent sensors
    times = [None, 1.5 * torch.arange(6.0).expand(4, -1)]
    alone = net.sample(values, observed, times, n_samples=2)

    longer = [F.pad(x, (0, 0, 0, 7, 0, 1)) for x in values]
    known = [F.pad(o, (0, 0, 0, 7, 0, 1)) for o in observed]
    for o in known:
        o[-1] = True
    clock = F.pad(times[1], (0, 7, 0, 1))  # zeros after the last time
    clock[-1] = torch.arange(13.0)
    beside = net.sample(longer, known, [None, clock], n_samples=2)
    for a, b, x in zip(alone, beside, values, strict=True):
        torch.testing.assert_close(b[:4, :, : x.shape[1]], a, rtol=1e-6, atol=2e-6)


def test_a_sample_that_is_longer_itself_is_filled_alike_beside_a_still_longer_one():
    net = make_net(RAGGED, patch_length=4)
    values = [torch.randn(2, 14, 3), torch.randn(2, 6, 2)]
    observed = [torch.rand_like(x) > 0.4 for x in values]
    observed[0][:, -1] = True
    times = [None, torch.arange(6.0).expand(2, -1)]
    alone = net.sample([x[:1] for x in values], [o[:1] for o in observed], [None, times[1][:1]])
    more = [F.pad(values[0], (0, 0, 0, 5)), values[1]]
    known = [F.pad(observed[0], (0, 0, 0, 5)), observed[1]]
    known[0][1] = True
    beside = net.sample(more, known, times)
    torch.testing.assert_close(beside[0][:1, :, :14], alone[0], rtol=0, atol=2e-6)
    torch.testing.assert_close(beside[1][:1], alone[1], rtol=0, atol=2e-6)
