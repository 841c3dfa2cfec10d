"""What every strategy promises about modalities that are missing, and what each of them adds."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from mts_fusion.nn.layers import construct
from mts_fusion.nn.strategies import (
    STRATEGIES,
    Fusion,
    FusionOutput,
    HybridFusion,
    LateFusion,
    LowRankFusion,
    MAGFusion,
    TensorFusion,
    Tokens,
    UncertaintyFusion,
    get_strategy,
    register_strategy,
)

M, D, N_OUTPUTS = 4, 8, 5

every = pytest.mark.parametrize("name", sorted(STRATEGIES))


def make_fusion(name: str, *sizes: int, **parameters) -> Fusion:
    torch.manual_seed(0)
    options = {"n_heads": 2, "dropout": 0.0}
    sizes = sizes or (M, D, N_OUTPUTS)
    return construct(STRATEGIES[name], *sizes, options=options, **parameters).eval()


def make_batch(n: int = 6) -> tuple[Tensor, Tensor, Tokens]:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(n, M, 3, D, generator=generator)
    observed = torch.rand(n, M, 3, generator=generator) < 0.7
    observed[:, :, 0] = True
    available = torch.rand(n, M, generator=generator) < 0.6
    available[0] = True
    available[1] = torch.arange(M) == 2
    return values.mean(2), available, Tokens(values, observed & available.unsqueeze(-1))


@every
def test_embeddings_of_absent_modalities_change_no_bit(name):
    fusion = make_fusion(name)
    x, available, tokens = make_batch()
    before = fusion(x, available, tokens)
    hidden = ~available
    other = x.masked_fill(hidden.unsqueeze(-1), 1e4)
    others = tokens.values.masked_fill(~tokens.observed.unsqueeze(-1), -1e4)
    after = fusion(other, available, Tokens(others, tokens.observed))
    assert torch.equal(before.logits, after.logits)
    for key, value in before.record.items():
        assert torch.equal(value, after.record[key])


@every
def test_nothing_available_is_finite_with_finite_gradients(name):
    fusion = make_fusion(name).train()
    x, available, tokens = make_batch()
    x.requires_grad_()
    available[3:] = False
    output = fusion(x, available, Tokens(tokens.values, tokens.observed & available.unsqueeze(-1)))
    output.logits.square().sum().backward()
    assert output.logits.isfinite().all()
    assert all(value.isfinite().all() for value in output.record.values())
    assert all(p.grad.isfinite().all() for p in fusion.parameters() if p.grad is not None)
    assert x.grad is None or x.grad.isfinite().all()


@every
def test_a_batch_gives_what_its_samples_give_one_by_one(name):
    fusion = make_fusion(name)
    x, available, tokens = make_batch()
    alone = [
        fusion(
            x[i : i + 1],
            available[i : i + 1],
            Tokens(tokens.values[i : i + 1], tokens.observed[i : i + 1]),
        ).logits
        for i in range(len(x))
    ]
    torch.testing.assert_close(fusion(x, available, tokens).logits, torch.cat(alone))


@every
def test_a_gradient_reaches_every_parameter(name):
    fusion = make_fusion(name).train()
    x, available, tokens = make_batch()
    output = fusion(x, available, tokens)
    (output.logits.square().sum() + (0 if output.loss is None else output.loss)).backward()
    left = [key for key, p in fusion.named_parameters() if p.grad is None or not p.grad.any()]
    # A softmax does not change with a bias that all its scores share; one target of attention with
    # the same key shift neither: keys of one modality do.
    assert [key for key in left if not key.endswith(("gate.bias", "main.bias", "score.bias"))] == []


@every
def test_weights_sum_to_one_over_what_is_available(name):
    x, available, tokens = make_batch()
    available[4] = False
    record = make_fusion(name)(x, available, tokens).record
    if "weight" not in record:
        pytest.skip("no weights")
    weight = record["weight"]
    assert not weight[~available].any()
    torch.testing.assert_close(weight.sum(1), available.any(1).float())


@every
def test_every_subset_of_modalities_gives_another_answer(name):
    fusion = make_fusion(name)
    x = make_batch()[0][:1]
    subsets = list(itertools.product([True, False], repeat=M))[:-1]
    logits = [fusion(x, torch.tensor([subset])).logits for subset in subsets]
    distinct = {tuple(row.flatten().mul(1e4).round().tolist()) for row in logits}
    assert len(distinct) == len(subsets)


@every
def test_the_graph_has_no_break(name):
    fusion = make_fusion(name)
    x, available, tokens = make_batch()
    compiled = torch.compile(fusion, fullgraph=True, backend="eager")
    torch.testing.assert_close(
        compiled(x, available, tokens).logits, fusion(x, available, tokens).logits
    )


@every
def test_one_modality_alone_works(name):
    fusion = make_fusion(name, 1, D, 1)
    logits = fusion(torch.randn(1, 1, D), torch.tensor([[True]])).logits
    assert logits.shape == (1, 1)
    assert logits.isfinite().all()


def test_late_logits_are_the_weighted_mean_of_the_modalities():
    x, available, _ = make_batch()
    output = make_fusion("late")(x, available)
    weight, logits = output.record["weight"], output.record["modality_logits"]
    torch.testing.assert_close(output.logits, torch.einsum("bm,bmk->bk", weight, logits))
    assert isinstance(make_fusion("late"), LateFusion)


def test_uncertainty_weights_are_inverse_entropies():
    x, available, _ = make_batch()
    record = make_fusion("uncertainty")(x, available).record
    p = record["modality_logits"].softmax(-1)
    entropy = -(p * p.log()).sum(-1) / math.log(N_OUTPUTS)
    inverse = available / (0.05 + 0.95 * entropy)
    torch.testing.assert_close(record["weight"], inverse / inverse.sum(1, keepdim=True))


def test_a_sure_modality_outweighs_one_that_guesses():
    fusion = make_fusion("uncertainty")
    with torch.no_grad():
        fusion.classify.weight[0] *= 50
        fusion.classify.weight[1] *= 0
    weight = fusion(torch.randn(3, M, D), torch.ones(3, M, dtype=torch.bool)).record["weight"]
    assert (weight[:, 0] > 3 * weight[:, 1]).all()


def test_learnt_uncertainty_serves_numbers():
    fusion = UncertaintyFusion(M, D, 2, learnt=True)
    output = fusion(torch.randn(3, M, D), torch.ones(3, M, dtype=torch.bool))
    assert fusion.uncertainty is not None
    assert output.record["weight"].std() > 0


def test_hybrid_attention_takes_from_the_others_that_are_there():
    x, available, _ = make_batch()
    attention = make_fusion("hybrid")(x, available).record["attention"]
    assert not attention.diagonal(dim1=1, dim2=2).any()
    rows = attention.sum(-1)
    several = available & (available.sum(1, keepdim=True) > 1)
    torch.testing.assert_close(rows, several.float())
    assert not (attention.sum(1)[~available]).any()


def test_hybrid_loses_no_more_than_late_when_a_sensor_fails():
    """In the report hybrid fell to chance, because the zeroed modality still took part."""
    scores = {}
    for name in ("late", "hybrid"):
        fusion = make_fusion(name, 3, 16, 4).train()
        y = torch.arange(400) % 4
        x = nn.functional.one_hot(y, 16).float().unsqueeze(1).repeat(1, 3, 1)
        x = x + 0.7 * torch.randn(x.shape)
        optimizer = torch.optim.AdamW(fusion.parameters(), lr=1e-2)
        for _ in range(60):
            available = torch.rand(200, 3) > 0.2
            loss = nn.functional.cross_entropy(fusion(x[:200], available).logits, y[:200])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        fusion.eval()
        failed = torch.ones(200, 3, dtype=torch.bool)
        complete = (fusion(x[200:], failed).logits.argmax(1) == y[200:]).float().mean()
        failed[:, 0] = False
        left = (fusion(x[200:], failed).logits.argmax(1) == y[200:]).float().mean()
        scores[name] = (complete.item(), left.item())
    assert scores["hybrid"][1] > 0.5
    lost = {name: complete - left for name, (complete, left) in scores.items()}
    assert lost["hybrid"] <= lost["late"] + 0.05


def test_hybrid_needs_heads_that_divide_the_width():
    with pytest.raises(ValueError, match="got d_model=8 and n_heads=3"):
        HybridFusion(2, 8, 3, n_heads=3)


def test_low_rank_product_of_absent_modalities_is_one():
    fusion = LowRankFusion(2, D, 3, dropout=0.0, rank=2).eval()
    nothing = torch.zeros(1, 2, dtype=torch.bool)
    heads = []
    fusion.head.register_forward_pre_hook(lambda _, inputs: heads.append(inputs[0]))
    fusion(torch.randn(1, 2, D), nothing)
    torch.testing.assert_close(heads[0], torch.ones(1, D))


def test_tensor_stays_bounded_and_says_what_to_do_beyond():
    for n_modalities in (2, 5, 12):
        sizes = [p.numel() for p in TensorFusion(n_modalities, 16, 3).parameters()]
        assert max(sizes) <= 4096 * 16
    with pytest.raises(ValueError, match="Use strategy='low_rank'"):
        TensorFusion(4096, 1, 3)


@pytest.mark.parametrize(("n_modalities", "order", "width"), [(3, 3, 15), (6, 3, 5), (10, 2, 9)])
def test_the_tensor_has_each_product_of_different_modalities_once(n_modalities, order, width):
    fusion = TensorFusion(n_modalities, D, N_OUTPUTS).eval()
    assert (fusion.order, fusion.width) == (order, width)
    x = torch.randn(2, n_modalities, D)
    available = torch.ones(2, n_modalities, dtype=torch.bool)
    available[1, 0] = False
    read: list[Tensor] = []
    fusion.head.register_forward_pre_hook(lambda module, args: read.append(args[0]))
    fusion(x, available)
    h = fusion.project(x.transpose(0, 1))
    for i in range(2):
        factors = [h[m, i] * available[i, m] for m in range(n_modalities)]
        products = [torch.ones(1)]
        for k in range(1, order + 1):
            for chosen in itertools.combinations(range(n_modalities), k):
                product = torch.ones(1)
                for m in chosen:
                    product = torch.outer(product, factors[m]).flatten()
                products.append(product)
        expected = torch.cat(products)
        expected = expected / expected.square().mean().sqrt()
        torch.testing.assert_close(read[0][i], expected)


def test_flex_moe_completes_from_the_bank_and_has_an_expert_for_each_combination():
    fusion = make_fusion("flex_moe")
    x = torch.randn(2, M, D)
    available = torch.tensor([[True, False, True, True], [True, True, True, True]])
    before = fusion(x, available).logits
    fusion(x, available).logits.square().sum().backward()
    touched = fusion.bank.grad.abs().sum(-1).nonzero().tolist()
    assert touched == [[0b1101, 1]]
    with torch.no_grad():
        fusion.weight_in[0b1101] += 1.0
    changed = (fusion(x, available).logits != before).any(1).tolist()
    assert changed[0]
    fusion.router.weight.data.zero_()
    u = torch.randn(1, M, D)
    own = fusion._experts(u, torch.tensor([7]))
    hidden = torch.nn.functional.gelu(u @ fusion.weight_in[7]) @ fusion.weight_out[7]
    best = torch.nn.functional.gelu(u @ fusion.weight_in[0]) @ fusion.weight_out[0]
    torch.testing.assert_close(own, (hidden + best) / 2)  # a router of zeros chooses the first
    with pytest.raises(ValueError, match="at most 12, but there are 13"):
        make_fusion("flex_moe", 13, D, N_OUTPUTS)


def test_mists_attends_within_and_across_modalities():
    fusion = make_fusion("mists")
    x, _, tokens = make_batch(2)
    available = torch.ones(2, M, dtype=torch.bool)
    tokens = Tokens(tokens.values.requires_grad_(), torch.ones(2, M, 3, dtype=torch.bool))
    layer = fusion.layers[0]
    out = layer(tokens.values.transpose(0, 1), tokens.observed.transpose(0, 1))
    out[0, 0, 0].sum().backward()
    reached = tokens.values.grad[0].abs().sum(-1) > 0
    assert reached.all()
    assert not tokens.values.grad[1].any()
    alone = torch.zeros_like(available)
    alone[:, 2] = True  # no other modality to attend to
    assert fusion(x, alone, Tokens(tokens.values, tokens.observed)).logits.isfinite().all()


def test_mag_without_shift_is_the_main_embedding():
    x, available, _ = make_batch()
    fusion = MAGFusion(M, D, N_OUTPUTS, dropout=0.0, beta=0.0).eval()
    weight = fusion(x, available).record["weight"]
    main = torch.einsum("bm,mbd->bd", weight, fusion.embed(x.transpose(0, 1)))
    alone = available.any(1)
    torch.testing.assert_close(fusion(x, available).logits[alone], fusion.head(main)[alone])


def test_mult_reads_the_order_of_nothing_but_its_tokens():
    x, available, tokens = make_batch()
    fusion = make_fusion("mult")
    assert fusion.needs_tokens
    turned = Tokens(tokens.values.flip(2), tokens.observed.flip(2))
    torch.testing.assert_close(
        fusion(x, available, tokens).logits, fusion(x, available, turned).logits
    )


class _Mean(Fusion):
    def __init__(self, n_modalities, d_model, n_outputs):
        super().__init__()
        self.head = nn.Linear(d_model, n_outputs)

    def forward(self, embeddings, available, tokens=None):
        weight = available / available.sum(1, keepdim=True).clamp(min=1)
        return FusionOutput(self.head((weight.unsqueeze(-1) * embeddings).sum(1)), {})


class _WrongWidth(_Mean):
    def forward(self, embeddings, available, tokens=None):
        return FusionOutput(embeddings.mean(1) * 0, {})


class _Leaky(_Mean):
    def forward(self, embeddings, available, tokens=None):
        return FusionOutput(self.head(embeddings.mean(1)), {})


class _NotFinite(_Mean):
    def forward(self, embeddings, available, tokens=None):
        weight = (available / available.sum(1, keepdim=True)).unsqueeze(-1)
        return FusionOutput(self.head((weight * embeddings).sum(1)), {})


class _Bare(_Mean):
    def forward(self, embeddings, available, tokens=None):
        return super().forward(embeddings, available).logits


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(
        "mts_fusion.nn.strategies._registry.STRATEGIES", strategies := dict(STRATEGIES)
    )
    return strategies


def test_a_strategy_of_ones_own_is_found_by_name(registry):
    register_strategy("mean", _Mean)
    assert get_strategy("mean") is _Mean
    register_strategy("mean", _Mean)


def test_unknown_strategy_lists_the_known_ones():
    names = sorted(STRATEGIES)
    with pytest.raises(ValueError, match="there are") as caught:
        get_strategy("magic")
    assert str(caught.value) == (
        f"No strategy 'magic'; there are {names}. Add your own with register_strategy(name, cls)."
    )


@pytest.mark.parametrize(
    ("cls", "error", "message"),
    [
        (_WrongWidth, ValueError, r"gave logits of shape \(4, 8\) for 4 samples and n_outputs=5"),
        (_Leaky, ValueError, "change with the embeddings of modalities that are missing"),
        (_NotFinite, ValueError, "not finite for samples in which modalities are missing"),
        (_Bare, TypeError, r"has to return a FusionOutput\(logits, record\), got Tensor"),
        (nn.Linear, TypeError, "has to be a subclass of Fusion"),
    ],
)
def test_a_strategy_that_breaks_a_rule_is_refused(registry, cls, error, message):
    with pytest.raises(error, match=message):
        register_strategy("mine", cls)
    assert "mine" not in registry


def test_a_name_is_not_taken_twice(registry):
    with pytest.raises(ValueError, match="Strategy 'late' is LateFusion already"):
        register_strategy("late", _Mean)
