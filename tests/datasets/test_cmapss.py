import io
import zipfile

import numpy as np
import pytest

from mts_fusion.datasets import fetch_cmapss


def rows(lives=(5, 3)):
    """Engines one after the other; column c of cycle t of engine u is u + t / 100 + c / 10000."""
    return [
        " ".join([str(u), str(t), *(f"{u + t / 100 + c / 10000:.4f}" for c in range(24))]) + "  "
        for u, life in enumerate(lives, start=1)
        for t in range(1, life + 1)
    ]


def write(path, lines, subset="FD001", nested=False):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"train_{subset}.txt", "\n".join(lines) + "\n")
        archive.writestr(f"test_{subset}.txt", "not for us")
    if nested:  # as NASA also ships it: a zip in a zip
        inner, buffer = buffer, io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("6. Turbofan/CMAPSSData.zip", inner.getvalue())
    path.write_bytes(buffer.getvalue())


@pytest.mark.parametrize(
    ("name", "nested"), [("CMAPSSData.zip", False), ("6.+Turbofan+Engine.zip", True)]
)
def test_windows_end_where_their_target_begins(tmp_path, name, nested):
    write(tmp_path / name, rows(), nested=nested)
    engines = fetch_cmapss(data_home=tmp_path, n_cycles=3)
    assert [(m.name, m.n_channels, m.n_timepoints, m.rate) for m in engines.data.schema] == [
        ("settings", 3, 3, 1.0),
        ("temperature", 4, 3, 1.0),
        ("pressure", 5, 3, 1.0),
        ("speed", 6, 3, 1.0),
        ("flow", 4, 3, 1.0),
        ("coolant", 2, 3, 1.0),
    ]
    assert engines.groups.tolist() == [1, 1, 1, 2]
    assert engines.cycle.tolist() == [3, 4, 5, 3]
    assert engines.target.tolist() == [2.0, 1.0, 0.0, 0.0]
    # Ps30 is the 11th sensor, behind three settings
    pressure = engines.data.values["pressure"][1, engines.feature_names["pressure"].index("Ps30")]
    np.testing.assert_allclose(pressure, [1.0213, 1.0313, 1.0413], atol=1e-6)


def test_channels_have_the_names_of_the_sensors(tmp_path):
    write(tmp_path / "CMAPSSData.zip", rows())
    engines = fetch_cmapss(data_home=tmp_path, n_cycles=3)

    names = {m.name: list(m.channels) for m in engines.data.schema}

    assert names == engines.feature_names
    assert "Ps30" in names["pressure"]


def test_each_sensor_is_in_one_modality(tmp_path):
    write(tmp_path / "CMAPSSData.zip", rows())
    names = fetch_cmapss(data_home=tmp_path, n_cycles=3).feature_names
    flat = [channel for channels in names.values() for channel in channels]
    assert len(flat) == len(set(flat)) == 24


def test_windows_are_laid_backwards_from_the_failure(tmp_path):
    write(tmp_path / "CMAPSSData.zip", rows((9,)))
    assert fetch_cmapss(data_home=tmp_path, n_cycles=3, step=4).cycle.tolist() == [5, 9]


def test_an_engine_shorter_than_a_window_begins_with_nan(tmp_path):
    write(tmp_path / "CMAPSSData.zip", rows((6, 3)))
    engines = fetch_cmapss(data_home=tmp_path, n_cycles=5)
    assert engines.groups.tolist() == [1, 1, 2]
    assert engines.data.observed["coolant"][2, 0].tolist() == [False, False, True, True, True]
    np.testing.assert_allclose(engines.data.values["settings"][2, 0, 2:], [2.01, 2.02, 2.03])


def test_long_lives_are_capped_unless_asked_otherwise(tmp_path):
    write(tmp_path / "CMAPSSData.zip", rows((6,)))
    capped = fetch_cmapss(data_home=tmp_path, n_cycles=2, max_life=2)
    assert capped.target.tolist() == [2, 2, 2, 1, 0]
    whole = fetch_cmapss(data_home=tmp_path, n_cycles=2, max_life=None)
    assert whole.target.tolist() == [4, 3, 2, 1, 0]


def test_the_other_subsets(tmp_path):
    write(tmp_path / "CMAPSSData.zip", rows(), subset="FD003")
    assert len(fetch_cmapss(data_home=tmp_path, subset="FD003", n_cycles=3).data) == 4
    with pytest.raises(ValueError, match=r"lacks train_FD001.txt"):
        fetch_cmapss(data_home=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: [*r[:3], r[3].rsplit(maxsplit=1)[0], *r[4:]], r"line 4: 26 numbers .* got 25"),
        (lambda r: [*r[:3], r[3].replace("1.04", "1_04"), *r[4:]], r"line 4: 26 .* got '1_04"),
        (lambda r: [*r[:3], *r[4:]], r"line 4: cycle 4 of an engine is wanted, .* cycle 5"),
        (lambda r: r[5:] + r[:5], r"line 4: cycle 1 of an engine is wanted, .* engine 1, cycle 1"),
        (lambda r: ["1 nan" + r[0][3:], *r[1:]], r"line 1: cycle 1 of an engine is wanted, .* nan"),
        (lambda r: [], r"train_FD001.txt"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path, change, message):
    write(tmp_path / "CMAPSSData.zip", change(rows()))
    with pytest.raises(ValueError, match=message):
        fetch_cmapss(data_home=tmp_path)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"subset": "FD005"}, r"subset is one of \['FD001', .*\], got 'FD005'"),
        ({"n_cycles": 0}, "n_cycles is at least 1, got 0"),
        ({"step": 0}, "step is at least 1, got 0"),
        ({"max_life": 0}, "max_life is above 0, or None for no cap, got 0"),
    ],
)
def test_unknown_options_are_named(tmp_path, kwargs, message):
    with pytest.raises(ValueError, match=message):
        fetch_cmapss(data_home=tmp_path, **kwargs)


@pytest.mark.slow
def test_the_real_files(real_data):
    engines = real_data(fetch_cmapss)
    assert len(np.unique(engines.groups)) == 100
    assert len(engines.data) == 20_631 - 100 * 29
    assert (engines.target.min(), engines.target.max()) == (0, 125)
    # the outlet of the turbine gets hotter as the engine wears out
    hot = engines.data.values["temperature"][:, 3].mean(axis=1)
    assert np.corrcoef(hot, engines.target)[0, 1] < -0.5
