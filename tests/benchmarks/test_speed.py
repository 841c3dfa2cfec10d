"""The table of speed compares equal networks."""

import copy

import pytest
import torch

from mts_fusion.benchmarks import _speed, _speed_preset
from mts_fusion.benchmarks._reference_maestro import LoopMaestro
from mts_fusion.nn import Maestro
from mts_fusion.panel import Modality, Schema


def test_the_loops_give_the_outputs_of_the_network():
    schema = Schema(
        (Modality("a", 2, 80), Modality("b", 1, 80), Modality("c", 1, 64))
    )  # long enough that both rank
    net = Maestro(schema, 3, d_model=16, patch_length=1, cross_budget=5.0)
    loop = LoopMaestro(net).double().eval()
    net = net.double().eval()
    values = [torch.randn(4, m.n_timepoints, m.n_channels).double() for m in schema]
    observed = [torch.ones_like(x, dtype=torch.bool) for x in values]
    observed[1][2] = False

    torch.testing.assert_close(loop(values, observed), net(values, observed).prediction)


@pytest.fixture
def _small(monkeypatch):
    for module, prefix in ((_speed, "_"), (_speed_preset, "")):
        monkeypatch.setattr(module, prefix + "CHANNELS", (2, 1, 1))
        monkeypatch.setattr(module, prefix + "N_TOKENS", 64)  # so many that all layers rank
        monkeypatch.setattr(module, "_BATCH", 4)


@pytest.mark.slow
@pytest.mark.usefixtures("_small")
def test_the_loops_give_the_outputs_of_the_published_settings():
    net, values, observed = _speed_preset._preset(4)
    loop = LoopMaestro(copy.deepcopy(net))
    assert net.missing is not None
    assert net.budget.largest == 5.0
    assert net.intra[0].inner.weight.shape[-1] == 256
    assert all(x.shape[1] == 64 and x.dtype == torch.int64 and x.min() > 0 for x in values)
    assert _speed_preset._largest_difference({"ours": net, "loop": loop}, values, observed) < 1e-6

    with torch.no_grad():
        loop.intra[1][0].qkv.weight *= 1.1
    with pytest.raises(RuntimeError, match="The loops give other numbers than the network"):
        _speed_preset._largest_difference({"ours": net, "loop": loop}, values, observed)


def test_what_was_reached_is_the_median_of_pairs():
    whats = list(_speed_preset._REQUIRED)
    rows = [{"difference": 0.0, "macs": 1.0, "rate": 1.0 / ours} for ours in (0.3, 0.4, 9.0)]
    for row, ours in zip(rows, (0.3, 0.4, 9.0), strict=True):
        row |= {f"ours, {what}": ours for what in whats} | {f"loop, {what}": 1.0 for what in whats}
    text = "\n".join(_speed_preset.preset_text(rows))
    assert text.count(": reached") == 4
    assert "0.400 (0.300-9.000)" in text

    rows[1] |= {f"ours, {what}": 0.6 for what in whats}
    assert "\n".join(_speed_preset.preset_text(rows)).count("NOT reached") == 3


def test_loops_of_a_network_with_statistics_are_refused():
    with pytest.raises(ValueError, match="no fixed features"):
        LoopMaestro(
            Maestro(
                Schema((Modality("a", 2, 16),)), 3, d_model=16, feature_widths=[{"statistics": [9]}]
            )
        )


def test_the_exponent_of_a_power_is_found():
    assert _speed._exponent([(n, 3.0 * n**1.5) for n in (2, 4, 8)]) == pytest.approx(1.5)


@pytest.mark.usefixtures("_small")
def test_the_speed_table_says_what_was_reached(monkeypatch, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    from mts_fusion.benchmarks.__main__ import main

    monkeypatch.setattr(_speed, "_LENGTHS", (16, 32))
    monkeypatch.setattr(_speed, "_MODALITIES", (2, 4))
    monkeypatch.setattr(_speed, "_same_outputs", lambda: 0.0)
    assert main(["speed", "--out", str(tmp_path), "--quick"]) == 0
    text = capsys.readouterr().out
    assert "training step, batch 64" in text
    assert "required at most 0.35" in text
    assert "required at most 2.5" in text
    assert "Growth as a power of modalities" in text
    assert (tmp_path / "speed.png").exists()
