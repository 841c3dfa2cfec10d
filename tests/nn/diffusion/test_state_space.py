import numpy as np
import torch

from mts_fusion.nn.diffusion import Grid, GridStateSpace
from mts_fusion.nn.networks import ConditionalDiffusion
from mts_fusion.panel._schema import Modality, Schema


def _layer():
    torch.manual_seed(0)
    return GridStateSpace(3)


def test_it_is_the_recurrence_of_its_states_in_both_directions():
    layer = _layer()
    u = np.random.default_rng(0).normal(size=(3, 9))

    y = layer._convolve(torch.tensor(u)[None]).detach().numpy()[0]

    read = torch.view_as_complex(layer.read).detach().numpy()
    for d in range(3):
        a = -np.exp(layer.log_decay[d].detach().numpy()) + 1j * layer.frequency[d].detach().numpy()
        step = np.exp(layer.log_step[d].item())
        expected = layer.direct[d].item() * u[d]
        for direction, order in enumerate((slice(None), slice(None, None, -1))):
            state, out = np.zeros(32, complex), []
            for value in u[d][order]:
                state = np.exp(step * a) * state + (np.exp(step * a) - 1) / a * value
                out.append(2 * (read[direction, d] * state).sum().real)
            expected = expected + np.array(out)[order]
        np.testing.assert_allclose(y[d], expected, rtol=1e-4, atol=1e-5)


def test_modalities_and_groups_of_channels_do_not_mix():
    layer, grids = _layer(), [Grid(4, 2), Grid(3, 1)]
    x = torch.randn(2, 11, 3)
    other = x.clone()
    other[:, 1] = torch.randn(
        2, 3
    )  # first timepoint, second group of channels of the first modality

    changed = (layer(x, grids) != layer(other, grids)).any(2).any(0)

    assert changed.tolist() == [False, True] * 4 + [False] * 3


def test_a_diffusion_with_state_spaces_learns_a_sine():
    torch.manual_seed(0)
    schema = Schema((Modality("wave", 1, 12, rate=1.0),))
    net = ConditionalDiffusion(
        schema,
        d_model=8,
        n_heads=2,
        n_layers=1,
        denoiser="state_space",
        n_encoder_layers=0,
        patch_length=1,
        prior="standard",
        parameterization="noise",
        mask_strategy="random",
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        phase = torch.rand(16, 1, 1) * 6.28
        x = 1.4 * torch.sin(torch.arange(12.0)[None, :, None] / 3 + phase)
        loss = net([x], [torch.ones_like(x, dtype=torch.bool)]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.denoiser.parameters())
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])
