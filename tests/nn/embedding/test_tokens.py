"""Numbers, symbols and times become tokens that show nothing of what was not observed."""

from __future__ import annotations

import pytest
import torch

from mts_fusion.nn.embedding import (
    FourierTimeEncoding,
    PatchEmbedding,
    SymbolEmbedding,
    patch_lengths,
    token_times,
)
from mts_fusion.panel._schema import Modality, Schema

SCHEMA = Schema(
    (Modality("acc", 3, 1920, rate=64.0), Modality("temp", 1, 120, rate=4.0), Modality("x", 1, 3))
)


def test_patch_lengths_keep_the_tokens_few_at_any_rate():
    assert patch_lengths(SCHEMA) == [60, 4, 1]
    assert patch_lengths(SCHEMA, 5) == [5, 5, 5]
    assert patch_lengths(SCHEMA, {"acc": 64}, max_tokens=30) == [64, 4, 1]


def test_patch_lengths_refuse_unknown_names_and_zero():
    with pytest.raises(ValueError, match=r"patch_length names \['gyro'\], but the modalities are"):
        patch_lengths(SCHEMA, {"gyro": 2})
    with pytest.raises(ValueError, match="at least 1 timepoint, got 0 for modality 'acc'"):
        patch_lengths(SCHEMA, 0)


def test_each_modality_has_its_own_patch_weights():
    embed = PatchEmbedding(2, 3, 8, 4)
    x, observed = torch.randn(5, 16, 3), torch.ones(5, 16, 3, dtype=torch.bool)
    tokens, available = embed([x, x], [observed, observed])
    assert tokens.shape == (2, 5, 4, 8)
    assert available.all()
    assert not torch.allclose(tokens[0], tokens[1])


def test_a_patch_is_available_if_one_point_of_it_is():
    embed = PatchEmbedding(1, 2, 8, 4)
    observed = torch.zeros(1, 10, 2, dtype=torch.bool)
    observed[0, 5, 1] = True
    _, available = embed([torch.zeros(1, 10, 2)], [observed])
    assert available.tolist() == [[[False, True, False]]]


def test_symbols_sum_one_vector_for_each_channel_and_place():
    embed = SymbolEmbedding(2, 2, 8, n_tokens=5, patch_length=3)
    x = torch.randint(1, 5, (4, 6, 2))
    observed = torch.ones(4, 6, 2, dtype=torch.bool)
    tokens, _ = embed([x, x], [observed, observed])
    tables = embed.table.view(2, 3, 2, 5, 8)  # modality, position, channel, symbol
    expected = sum(tables[1, p, c, x[3, 3 + p, c]] for p in range(3) for c in range(2))
    torch.testing.assert_close(tokens[1, 3, 1], expected)


def test_symbols_behind_an_unobserved_point_are_the_missing_one():
    embed = SymbolEmbedding(1, 1, 8, n_tokens=5)
    observed = torch.tensor([[[True], [False]]])
    first = embed([torch.tensor([[[2], [3]]])], [observed])[0]
    second = embed([torch.tensor([[[2], [4]]])], [observed])[0]
    assert torch.equal(first, second)


def test_neighbouring_symbols_start_closer_than_distant_ones():
    torch.manual_seed(0)
    table = SymbolEmbedding(1, 1, 64, n_tokens=21).table[1:].detach()
    distance = torch.cdist(table, table)
    assert distance.diagonal(1).mean() < 0.7 * distance.diagonal(10).mean()


def test_token_times_are_the_middle_or_the_mean_of_what_is_observed():
    modality = Modality("acc", 1, 8, rate=2.0)
    torch.testing.assert_close(token_times(modality, 4, 8), torch.tensor([0.75, 2.75]))
    times = torch.tensor([[0.0, 1.0, 5.0, 7.0]])
    observed = torch.tensor([[[True], [True], [False], [True]]])
    given = token_times(modality, 2, 4, times=times, observed=observed)
    torch.testing.assert_close(given, torch.tensor([[0.5, 7.0]]))
    observed[0, 2:] = False
    given = token_times(modality, 2, 4, times=times, observed=observed)
    torch.testing.assert_close(given, torch.tensor([[0.5, 1.25]]))


def test_times_are_told_apart_at_every_scale():
    encode = FourierTimeEncoding.from_schema(SCHEMA, patch_lengths(SCHEMA), 16)
    for step in (1.0, 60.0, 3600.0):
        x = encode(torch.arange(5) * step)
        assert torch.pdist(x).min() > 1e-2
