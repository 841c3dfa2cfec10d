"""Pre-training: what is hidden, what is asked for, and what the network sees of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mts_fusion.nn.networks import MaskedReconstruction, ModuleOutput
from mts_fusion.panel._schema import Modality, Schema, Vocabulary

SCHEMA = Schema((Modality("acc", 2, 40), Modality("temp", 1, 8)))
N_PARTS = 16


class Spy(nn.Module):
    """Predicts zeros, and keeps what it is shown."""

    def forward(self, values: list[Tensor], observed: list[Tensor], times=None) -> ModuleOutput:
        self.observed = observed
        n = MaskedReconstruction.n_targets(SCHEMA)
        zeros = values[0].new_zeros(len(values[0]), n)
        return ModuleOutput(zeros, zeros.new_zeros(()), {})


def batch(n: int = 40) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(n, m.n_timepoints, m.n_channels) for m in SCHEMA]
    values = [torch.randn(shape, generator=generator) for shape in shapes]
    observed = [torch.rand(shape, generator=generator) < 0.8 for shape in shapes]
    observed[1][0] = False
    return values, observed


def test_the_loss_is_the_error_of_what_was_hidden_and_known() -> None:
    learner = MaskedReconstruction(Spy(), SCHEMA, modality_rate=0.4, hidden_fraction=0.5)
    learner.generator = learner.whole.generator = torch.Generator().manual_seed(0)
    values, observed = batch()
    loss = learner.train()(values, observed).loss
    errors = []
    for x, known, left in zip(values, observed, learner.network.observed, strict=True):
        hidden = known & ~left
        for b in range(len(x)):
            for k in range(N_PARTS):  # the timepoints from k to k + 1 sixteenths of the window
                share = np.arange(x.shape[1]) / x.shape[1] * N_PARTS
                part = np.flatnonzero((share >= k) & (share < k + 1))
                for c in range(x.shape[2]):
                    if hidden[b, part, c].any():
                        errors.append(float(x[b, part, c][known[b, part, c]].mean()) ** 2)
    assert loss.item() == pytest.approx(np.mean(errors), rel=1e-4)


def test_a_stretch_and_whole_modalities_are_hidden_and_something_stays() -> None:
    learner = MaskedReconstruction(Spy(), SCHEMA, modality_rate=0.4, hidden_fraction=0.5).train()
    learner.generator = learner.whole.generator = torch.Generator().manual_seed(0)
    values, _ = batch(400)
    learner(values, [torch.ones_like(x, dtype=torch.bool) for x in values])
    kept = learner.network.observed
    shares = torch.stack([k.float().mean((1, 2)) for k in kept], 1)
    assert set(shares.unique().tolist()) == {0.0, 0.5}
    assert (shares > 0).any(1).all()
    assert 0.2 < (shares == 0).float().mean() < 0.4
    hidden = ~kept[0][shares[:, 0] > 0][:, :, 0]
    assert (hidden[:, 1:] != hidden[:, :-1]).sum(1).max() <= 2  # one stretch
    assert hidden.any(0).all()  # anywhere


def test_values_that_were_missing_change_neither_prediction_nor_loss() -> None:
    from mts_fusion.nn import Maestro

    torch.manual_seed(0)
    n_targets = MaskedReconstruction.n_targets(SCHEMA)
    learner = MaskedReconstruction(Maestro(SCHEMA, n_targets, d_model=8), SCHEMA).eval()
    values, observed = batch(6)
    other = [torch.where(o, x, -7.0) for x, o in zip(values, observed, strict=True)]
    one, two = learner(values, observed), learner(other, observed)
    assert torch.equal(one.prediction, two.prediction)
    assert torch.equal(one.loss, two.loss)
    assert one.loss > 0


def test_symbols_are_refused() -> None:
    schema = Schema((Modality("words", 1, 8, vocabulary=Vocabulary(5)),))
    with pytest.raises(ValueError, match="'words' holds symbols"):
        MaskedReconstruction(Spy(), schema)
