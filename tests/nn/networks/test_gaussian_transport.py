"""The network that moves draws of a Gaussian process."""

import pytest
import torch

from mts_fusion.nn import GaussianTransport
from mts_fusion.nn.networks import _gaussian_transport
from mts_fusion.panel import Modality, Schema

SHAPES = [(12, 3), (5, 1)]


@pytest.fixture
def net():
    torch.manual_seed(0)
    schema = Schema((Modality("acc", 3, 12), Modality("temp", 1, 5)))
    return GaussianTransport(schema, d_model=16, n_heads=2, n_layers=1, n_encoder_layers=1).eval()


def planes(*, n=4, n_copies=1, n_draws=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for length, channels in SHAPES:
        x = torch.randn(n, n_copies, 5 + n_draws, length, channels, generator=generator)
        x[:, :, 1] = (x[:, :, 1] > 0).float()
        x[:, :, 2] = (1 - x[:, :, 1]) * (x[:, :, 2] > -0.5)
        parts.append(x)
    return parts


def run(net, method, features, **options):
    values = [x[:, 0, 0] for x in features]
    return getattr(net, method)(values, [x > 9 for x in values], None, features=features, **options)


def trained_a_little(net):
    net.train()
    net.generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        run(net, "forward", planes(n_copies=2)).loss.backward()
        optimizer.step()
    net.generator = None
    return net.eval()


@pytest.mark.parametrize("sampler", ["flow2m", "dpm++2m", "ddim"])
def test_without_training_draws_stay_as_they_are(net, sampler):
    features = planes()
    drawn = run(net, "sample", features, n_samples=3, n_steps=20, sampler=sampler)
    for x, part in zip(drawn, features, strict=True):
        missing = (part[:, :, 1] == 0).expand(-1, 3, -1, -1)
        error = (x - part[:, 0, 5:])[missing].abs().max()
        assert error < (1e-5 if sampler == "flow2m" else 1.0)


def test_a_gradient_reaches_every_parameter(net):
    trained_a_little(net).train()
    run(net, "forward", planes(n_copies=2)).loss.backward()
    assert [k for k, p in net.named_parameters() if p.grad is None] == []


def test_a_draw_depends_neither_on_the_truth_nor_on_other_draws_and_samples(net):
    trained_a_little(net)
    features = planes()
    drawn = run(net, "sample", features, n_samples=3)
    changed = [x.clone() for x in features]
    for x in changed:
        x[:, :, 0] = torch.where(x[:, :, 1] > 0, x[:, :, 0], 9.0)  # errors of what is not shown
        x[:, :, 6] = 7.0  # the second draw
        x[1:] += 0.5 * (torch.arange(x.shape[2]) == 3)[None, :, None, None]
    again = run(net, "sample", changed, n_samples=3)
    for x, y in zip(drawn, again, strict=True):
        torch.testing.assert_close(x[0, [0, 2]], y[0, [0, 2]], atol=1e-5, rtol=1e-5)
        assert not torch.allclose(x[1, 0], y[1, 0])


def test_a_small_batch_size_changes_nothing(net):
    trained_a_little(net)
    features = planes()
    for x, y in zip(
        run(net, "sample", features, n_samples=3),
        run(net, "sample", features, n_samples=3, batch_size=4),
        strict=True,
    ):
        torch.testing.assert_close(x, y, atol=1e-5, rtol=1e-5)


def test_training_reads_all_copies_and_evaluation_the_first(net):
    features = planes(n_copies=2)
    swapped = [x.flip(1) for x in features]
    same = [torch.stack([x[:, 0], 0 * x[:, 1]], dim=1) for x in features]
    assert run(net, "forward", features).loss == run(net, "forward", same).loss
    assert run(net, "forward", features).loss != run(net, "forward", swapped).loss
    first = [x[:, :1].expand(-1, 2, -1, -1, -1) for x in features]
    net.train()
    reads_the_first = set()
    for seed in range(8):
        losses = []
        for parts in (features, first):
            net.generator = torch.Generator().manual_seed(seed)
            losses.append(float(run(net, "forward", parts).loss.detach()))
        reads_the_first.add(losses[0] == losses[1])
    assert reads_the_first == {True, False}


def test_noise_of_training_is_a_sum_of_draws_that_is_a_draw_again(net, monkeypatch):
    seen = []

    def watched(denoiser, schedule, condition, entries, **options):
        seen.append(entries.noise)
        return exact(denoiser, schedule, condition, entries, **options)

    exact = _gaussian_transport.denoising_loss
    monkeypatch.setattr(_gaussian_transport, "denoising_loss", watched)
    features = planes()
    for x in features:
        x[:, :, 5:] = torch.eye(3, x.shape[3])[:, :, None]  # draw k is 1 at timepoint k, else 0
    net.train()
    net.generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        run(net, "forward", features)
    run(net.eval(), "forward", features)
    noise = [x.split([36, 5], dim=1) for x in seen]
    first, second, evaluated = [a.reshape(-1, 12, 3)[:, :3, 0] for a, _ in noise]
    torch.testing.assert_close((first**2).sum(1), torch.ones(4))
    assert (first != second).all()
    assert len(set(first[:, 0].tolist())) == 4
    assert (first < 0).any()
    for (_, other), weight in zip(noise, (first, second, evaluated), strict=True):
        torch.testing.assert_close(other[:, :3], weight)  # the same in all modalities
    torch.testing.assert_close(evaluated, torch.eye(3)[:1].expand(4, -1))


def test_features_are_needed(net):
    values = [torch.zeros(2, *shape) for shape in SHAPES]
    with pytest.raises(ValueError, match="no features were given"):
        net(values, values)
