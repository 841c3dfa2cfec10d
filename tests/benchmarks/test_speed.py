"""The table of speed compares equal networks."""

import pytest
import torch

from mts_fusion.benchmarks import _speed
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


def test_loops_of_a_network_with_statistics_are_refused():
    with pytest.raises(ValueError, match="no fixed features"):
        LoopMaestro(
            Maestro(
                Schema((Modality("a", 2, 16),)), 3, d_model=16, feature_widths=[{"statistics": [9]}]
            )
        )


def test_the_exponent_of_a_power_is_found():
    assert _speed._exponent([(n, 3.0 * n**1.5) for n in (2, 4, 8)]) == pytest.approx(1.5)


def test_the_speed_table_says_what_was_reached(monkeypatch, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    from mts_fusion.benchmarks.__main__ import main

    monkeypatch.setattr(_speed, "_CHANNELS", (2, 1))
    monkeypatch.setattr(_speed, "_BATCH", 2)
    monkeypatch.setattr(_speed, "_N_TOKENS", 16)
    monkeypatch.setattr(_speed, "_LENGTHS", (16, 32))
    monkeypatch.setattr(_speed, "_MODALITIES", (2, 4))
    monkeypatch.setattr(_speed, "_same_outputs", lambda: 0.0)
    assert main(["speed", "--out", str(tmp_path), "--quick"]) == 0
    text = capsys.readouterr().out
    assert "required at most 0.35" in text
    assert "required at most 2.5" in text
    assert "Growth as a power of modalities" in text
    assert (tmp_path / "speed.png").exists()
