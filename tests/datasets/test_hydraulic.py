import zipfile

import numpy as np
import pytest

from mts_fusion.datasets import fetch_hydraulic

SENSORS = [*(f"PS{i}" for i in range(1, 7)), "EPS1", "FS1", "FS2"]
SENSORS += [*(f"TS{i}" for i in range(1, 5)), "VS1", "CE", "CP", "SE"]
PROFILE = ["3\t100\t0\t130\t1", "3\t73\t2\t90\t0", "20\t80\t1\t115\t0", "100\t90\t0\t100\t0"]


def n_values(sensor, averaged):
    if averaged or sensor[:2] in ("TS", "VS", "CE", "CP", "SE"):
        return 60
    return 600 if sensor.startswith("FS") else 6000


def write(path, averaged=True, **other):
    """A zip as the publisher ships it, with fewer cycles; value 10 * cycle + position / 10000."""
    files = {"profile": PROFILE, "documentation": ["Not for us."]}
    for sensor in SENSORS:
        positions = range(n_values(sensor, averaged))
        files[sensor] = [
            "\t".join(f"{10 * cycle + p / 10000:.4f}" for p in positions) for cycle in range(4)
        ]
    with zipfile.ZipFile(path, "w") as archive:
        for name, rows in (files | other).items():
            if rows is not None:
                archive.writestr(f"{name}.txt", "\n".join(rows) + "\n")


def test_sensors_are_modalities_and_their_length_tells_the_rate(tmp_path):
    write(tmp_path / "condition+monitoring+of+hydraulic+systems.zip", averaged=False)
    cycles = fetch_hydraulic(data_home=tmp_path)
    assert list(cycles.data.schema.names) == SENSORS
    assert [(m.n_channels, m.n_timepoints, m.rate) for m in cycles.data.schema] == [
        *[(1, 6000, 100.0)] * 7,
        *[(1, 600, 10.0)] * 2,
        *[(1, 60, 1.0)] * 8,
    ]
    np.testing.assert_allclose(cycles.data.values["PS3"][2, 0, 5998:], [20.5998, 20.5999])
    assert cycles.feature_names["FS1"] == ["volume flow (l/min)"]


def test_channels_say_what_was_measured(tmp_path):
    write(tmp_path / "hydraulic_part.zip")
    cycles = fetch_hydraulic(data_home=tmp_path, modalities=["FS1", "PS1"])

    names = {m.name: list(m.channels) for m in cycles.data.schema}

    assert names == cycles.feature_names
    assert names["FS1"] == ["volume flow (l/min)"]


def test_a_copy_averaged_to_one_hertz_is_read_too(tmp_path):
    write(tmp_path / "hydraulic_part.zip")
    cycles = fetch_hydraulic(data_home=tmp_path, modalities=["TS1", "PS1"])
    assert [(m.name, m.rate) for m in cycles.data.schema] == [("PS1", 1.0), ("TS1", 1.0)]


@pytest.mark.parametrize(
    ("target", "codes", "names"),
    [
        ("cooler", [0, 0, 1, 2], 3),
        ("valve", [3, 0, 1, 2], 4),
        ("pump", [0, 2, 1, 0], 3),
        ("accumulator", [3, 0, 2, 1], 4),
        ("stable", [1, 0, 0, 0], 2),
    ],
)
def test_a_target_counts_its_published_values(tmp_path, target, codes, names):
    write(tmp_path / "hydraulic_part.zip")
    cycles = fetch_hydraulic(data_home=tmp_path, target=target, modalities=["CE"])
    assert cycles.target.tolist() == codes
    assert len(cycles.target_names) == names
    assert cycles.conditions["valve"].tolist() == [100, 73, 80, 90]


@pytest.mark.parametrize("target", ["all", None])
def test_all_targets_are_columns(tmp_path, target):
    write(tmp_path / "hydraulic_part.zip")
    cycles = fetch_hydraulic(data_home=tmp_path, target=target, modalities=["CE"])
    assert cycles.target.tolist() == [
        [0, 3, 0, 3, 1],
        [0, 0, 2, 0, 0],
        [1, 1, 1, 2, 0],
        [2, 2, 0, 1, 0],
    ]
    assert cycles.target_names["cooler"][0] == "close to total failure"


def test_groups_are_blocks_of_neighbours(tmp_path):
    write(tmp_path / "hydraulic_part.zip")
    assert fetch_hydraulic(data_home=tmp_path).groups.tolist() == [0, 0, 0, 0]
    assert fetch_hydraulic(data_home=tmp_path, block_size=2).groups.tolist() == [0, 0, 1, 1]


def test_the_cache_gives_the_same(tmp_path):
    write(tmp_path / "hydraulic_part.zip")
    first, again = (fetch_hydraulic(data_home=tmp_path, cache=True) for _ in range(2))
    np.testing.assert_array_equal(first.data.values["PS6"], again.data.values["PS6"])
    assert first.data.schema == again.data.schema


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"TS1": ["1\t" * 59 + "1", "1\t" * 58 + "1"]}, r"TS1.txt, line 2: 60 numbers .* got 59"),
        ({"TS1": ["1\t" * 59 + "x"] * 4}, r"TS1.txt, line 1: 60 numbers are wanted, got 'x'"),
        ({"TS1": ["1\t" * 59 + "1"] * 3}, r"TS1.txt has 3 rows; 4 are wanted, as in profile.txt"),
        ({"TS1": ["1\t1"] * 4}, r"TS1.txt, line 1: 60, 600 or 6000 values .* are wanted, got 2"),
        ({"TS1": None}, r"lacks \['TS1.txt'\]"),
        ({"profile": [*PROFILE[:3], "50\t90\t0\t100\t0"]}, r"line 4: the cooler is one of .* 50"),
        ({"profile": [*PROFILE[:3], "3\t90\t0\t100"]}, r"profile.txt, line 4: 5 numbers are wan"),
        ({"profile": ["3\t90\tnan\t100\t0"]}, r"profile.txt, line 1: the pump is one of .*got nan"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path, damage, message):
    write(tmp_path / "hydraulic_part.zip", **damage)
    with pytest.raises(ValueError, match=message):
        fetch_hydraulic(data_home=tmp_path)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"target": "oil"}, r"target is one of \['cooler', .*'all' or None, got 'oil'"),
        ({"modalities": ["PS9"]}, r"modalities has \['PS9'\]; the sensors are \['PS1'"),
        ({"modalities": []}, r"modalities has no name; the sensors are"),
        ({"block_size": 0}, "block_size is at least 1, got 0"),
    ],
)
def test_unknown_options_are_named(tmp_path, kwargs, message):
    with pytest.raises(ValueError, match=message):
        fetch_hydraulic(data_home=tmp_path, **kwargs)


@pytest.mark.slow
def test_the_real_files(real_data):
    cycles = real_data(fetch_hydraulic, target="all")
    assert len(cycles.data) % 147 == 0
    assert cycles.data.shape[1] == 17
    assert [len(np.unique(column)) for column in cycles.target.T] == [3, 4, 3, 4, 2]
    oil = cycles.data.values["TS1"].mean(axis=(1, 2))
    by_cooler = [oil[cycles.target[:, 0] == code].mean() for code in range(3)]
    assert by_cooler == sorted(by_cooler, reverse=True)  # a cooler that works cools
