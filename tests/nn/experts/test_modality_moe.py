"""Routing of modalities to experts: against loops, and eq. 8 against a computation by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from mts_fusion.nn.experts import ModalityMoE, routing_entropy_loss

B, M, L, D, E, K, HIDDEN = 4, 3, 5, 8, 6, 2, 7


def _moe(router="joint", gate="laplace", seed=0, **options):
    torch.manual_seed(seed)
    return ModalityMoE(M, D, n_experts=E, k=K, d_hidden=HIDDEN, router=router, gate=gate, **options)


def _x(seed=1):
    return torch.randn(B, M, L, D, generator=torch.Generator().manual_seed(seed))


ALL = torch.ones(B, M, dtype=torch.bool)


def _naive(moe, u, router, first):
    """The layer for one token, expert by expert; the router's experts start at ``first``."""
    logits = []
    for key in moe.keys[router]:
        distance = (u - key).norm()
        logits.append(
            {"softmax": u @ key, "laplace": -distance, "gaussian": -(distance**2)}[moe.gate]
        )
    logits = torch.stack(logits)
    chosen = logits.topk(moe.k).indices
    gate = logits[chosen].softmax(0)
    y = torch.zeros_like(u)
    for weight, e in zip(gate, (first + chosen).tolist(), strict=True):
        hidden = F.relu(u @ moe.experts.weight_in[e] + moe.experts.bias_in[e, 0])
        y = y + weight * (hidden @ moe.experts.weight_out[e] + moe.experts.bias_out[e, 0])
    return y


@pytest.mark.parametrize("gate", ["softmax", "laplace", "gaussian"])
@pytest.mark.parametrize("router", ["joint", "per_modality", "disjoint"])
def test_it_equals_a_loop_over_tokens_and_experts(router, gate):
    moe, x = _moe(router, gate).eval(), _x()

    y, _, _ = moe(x, ALL)

    expected = torch.empty_like(x)
    for b in range(B):
        for t in range(L):
            if router == "joint":
                expected[b, :, t] = _naive(moe, x[b, :, t].flatten(), 0, 0).reshape(M, D)
                continue
            for m in range(M):
                first = m * E // M if router == "disjoint" else 0
                expected[b, m, t] = _naive(moe, x[b, m, t], m, first)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)


def test_many_tokens_of_one_expert_fill_several_blocks():
    moe = _moe("per_modality").eval()
    with torch.no_grad():
        moe.keys[:, :2] *= 0.01  # nearest to the origin, where all tokens are
    x = 0.01 * torch.randn(200, M, L, D)
    available = torch.ones(200, M, dtype=torch.bool)

    y, _, record = moe(x, available)

    assert (record["gate"][..., :2] > 0).all()
    torch.testing.assert_close(y[150, 1, 3], _naive(moe, x[150, 1, 3], 1, 0))


@pytest.mark.parametrize("router", ["joint", "per_modality", "disjoint"])
def test_k_experts_share_a_gate_of_one_and_routing_is_a_distribution(router):
    _, _, record = _moe(router)(_x(), ALL)

    assert record["gate"].shape == record["routing"].shape == (B, M, L, E)
    assert (record["gate"].count_nonzero(-1) == K).all()
    torch.testing.assert_close(record["gate"].sum(-1), torch.ones(B, M, L))
    torch.testing.assert_close(record["routing"].sum(-1), torch.ones(B, M, L))


def test_disjoint_modalities_use_experts_of_their_own():
    _, _, record = _moe("disjoint")(_x(), ALL)

    own = torch.eye(M, dtype=torch.bool).repeat_interleave(E // M, dim=1)
    assert (record["gate"].amax((0, 2)) > 0)[~own].sum() == 0


def test_the_regulariser_equals_eq_8_by_hand():
    # two samples, two modalities, two timepoints, two experts; sample 1 lacks modality 1
    routing = torch.tensor(
        [
            [[[0.9, 0.1], [0.7, 0.3]], [[0.2, 0.8], [0.4, 0.6]]],
            [[[0.5, 0.5], [0.3, 0.7]], [[0.99, 0.01], [0.99, 0.01]]],
        ]
    )
    available = torch.tensor([[True, True], [True, False]])

    loss = routing_entropy_loss(routing, available)

    def entropy(p):
        return -(p * math.log(p) + (1 - p) * math.log(1 - p))

    p0, p1 = (0.9 + 0.7 + 0.5 + 0.3) / 4, (0.2 + 0.4) / 2
    expected = (entropy(p0) + entropy(p1)) / 2 - entropy((p0 + p1) / 2)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_the_regulariser_ranges_from_sure_and_apart_to_alike():
    apart = torch.eye(M, E).reshape(1, M, 1, E)
    alike = torch.full((1, M, 1, E), 1 / E)
    available = torch.ones(1, M, dtype=torch.bool)

    assert routing_entropy_loss(apart, available).item() == pytest.approx(-math.log(M))
    assert routing_entropy_loss(alike, available).item() == pytest.approx(0, abs=1e-6)
    assert routing_entropy_loss(apart, ~available).item() == 0


def test_only_the_per_modality_router_is_steered_where_nothing_is_absent():
    losses = {router: _moe(router)(_x(), ALL)[1] for router in ("joint", "disjoint")}

    assert losses["joint"].item() == pytest.approx(0, abs=1e-6)
    assert losses["disjoint"].item() == pytest.approx(-math.log(M), abs=1e-6)
    moe = _moe("per_modality")
    moe(_x(), ALL)[1].backward()
    assert moe.keys.grad.abs().sum() > 0


def test_descending_the_regulariser_parts_the_modalities():
    moe = _moe("per_modality").eval()
    optimizer = torch.optim.Adam([moe.keys], lr=0.1)
    for _ in range(100):
        loss = moe(_x(), ALL)[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    used = moe(_x(), ALL)[2]["routing"].mean((0, 2)).argmax(1)

    assert loss.item() < -0.8  # of -log(3) = -1.1
    assert len(used.unique()) == M


def test_noise_only_in_training_and_from_the_generator():
    moe, x = _moe(), _x()
    moe.generator = torch.Generator().manual_seed(3)
    first = moe(x, ALL)[0]
    moe.generator.manual_seed(3)
    torch.rand(7)  # the global state does not matter
    again, another = moe(x, ALL)[0], moe(x, ALL)[0]
    moe.eval()

    assert torch.equal(first, again)
    assert not torch.equal(first, another)
    assert torch.equal(moe(x, ALL)[0], moe(x, ALL)[0])


@pytest.mark.parametrize("gate", ["softmax", "laplace", "gaussian"])
@pytest.mark.parametrize("router", ["joint", "per_modality", "disjoint"])
def test_a_gradient_reaches_every_parameter(router, gate):
    moe = _moe(router, gate)
    y, loss, _ = moe(_x(), ALL)

    ((y**2).sum() + loss).backward()

    for name, parameter in moe.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
        assert torch.isfinite(parameter.grad).all(), name


def test_a_token_at_the_key_itself_has_a_finite_gradient():
    moe = _moe("per_modality").eval()
    x = moe.keys.detach()[:, :1].expand(B, M, L, D).clone().requires_grad_()

    moe(x, ALL)[0].sum().backward()

    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(moe.keys.grad).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"router": "mixed"}, r"router='mixed' is unknown; choose one of \['joint', "),
        ({"gate": "cosine"}, r"gate='cosine' is unknown; choose one of \['softmax', "),
        (
            {"k": 7},
            r"k is in \[1, 6\], the experts a router can choose from with router='per_modality'",
        ),
        ({"k": 3, "router": "disjoint"}, r"k is in \[1, 2\], .* n_experts=6; got k=3"),
        ({"n_experts": 7, "router": "disjoint"}, r"no multiple of 3 modalities. Use n_experts=6"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ModalityMoE(M, D, **{"n_experts": E, "k": K, **options})
