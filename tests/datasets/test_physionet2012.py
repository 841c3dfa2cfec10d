import zipfile

import numpy as np
import pytest

from mts_fusion.datasets import fetch_physionet2012

STAYS = {
    132540: """Time,Parameter,Value
00:00,RecordID,132540
00:00,Age,76
00:00,Gender,1
00:00,Height,175.3
00:00,ICUType,2
00:00,Weight,80.6
00:42,pH,7.45
00:42,PaO2,445
01:11,HR,88
01:11,SysABP,105
01:26,HR,87
47:59,HR,70
48:00,HR,71
""",
    132539: """Time,Parameter,Value
00:00,RecordID,132539
00:00,Age,54
00:00,Gender,-1
00:00,Height,-1
00:00,ICUType,4
00:00,Weight,-1
00:07,HR,73
00:07,HR,74
00:08,NISysABP,-1
00:08,NIDiasABP,-1
00:07,Temp,35.1
""",
    132541: """Time,Parameter,Value
00:00,RecordID,132541
00:00,Age,44
00:00,Gender,0
00:00,Height,-1
00:00,ICUType,3
00:00,Weight,56.7
""",
}
OUTCOMES = """RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death
132541,21,11,19,-1,0
132539,6,1,5,-1,0
132540,16,8,8,7,1
"""


@pytest.fixture
def home(tmp_path):
    with zipfile.ZipFile(tmp_path / "set-a.zip", "w") as archive:
        for stay, text in STAYS.items():
            archive.writestr(f"set-a/{stay}.txt", text)
    (tmp_path / "Outcomes-a.txt").write_text(OUTCOMES)
    return tmp_path


@pytest.mark.parametrize("hourly", [False, True])
@pytest.mark.parametrize("grouping", ["organ", "variable", "single"])
def test_channels_have_the_names_of_the_variables(home, grouping, hourly):
    stays = fetch_physionet2012(data_home=home, grouping=grouping, hourly=hourly)

    names = {m.name: list(m.channels) for m in stays.data.schema}

    assert names == stays.feature_names
    assert names["static"][:2] == ["Age", "Gender"]


def test_organs_are_irregular_modalities(home):
    stays = fetch_physionet2012(data_home=home)
    assert stays.groups.tolist() == [132539, 132540, 132541]
    assert stays.target.tolist() == [0, 1, 0]
    assert stays.outcomes["Length_of_stay"].tolist() == [5, 8, 19]
    panel = stays.data
    np.testing.assert_array_equal(
        panel.times["cardiovascular"][1], [71 * 60, 86 * 60, 2879 * 60, 2880 * 60]
    )
    heart_rate = stays.feature_names["cardiovascular"].index("HR")
    systolic = stays.feature_names["cardiovascular"].index("SysABP")
    np.testing.assert_array_equal(panel.values["cardiovascular"][1, heart_rate], [88, 87, 70, 71])
    np.testing.assert_array_equal(
        panel.values["cardiovascular"][1, systolic], [105, np.nan, np.nan, np.nan]
    )
    assert panel.available[:, panel.schema.names.index("cardiovascular")].tolist() == [1, 1, 0]


def test_the_last_of_two_values_at_one_time_counts(home):
    stays = fetch_physionet2012(data_home=home, grouping="variable")
    np.testing.assert_array_equal(stays.data.values["HR"][0, 0], [74, np.nan, np.nan, np.nan])


def test_descriptors_are_static_and_unknown_ones_missing(home):
    stays = fetch_physionet2012(data_home=home)
    np.testing.assert_allclose(
        stays.data.values["static"][:, :, 0],
        [
            [54, np.nan, np.nan, 0, 0, 0, 1],
            [76, 1, 175.3, 0, 1, 0, 0],
            [44, 0, np.nan, 0, 0, 1, 0],
        ],
        rtol=1e-6,
    )
    weight = fetch_physionet2012(data_home=home, grouping="variable").data.values["Weight"]
    np.testing.assert_allclose(weight[:, 0, 0], [np.nan, 80.6, 56.7], rtol=1e-6)


def test_the_hourly_grid_of_csdi(home):
    stays = fetch_physionet2012(
        data_home=home, grouping="single", variables="csdi", hourly=True, static=False
    )
    assert [(m.name, m.n_channels, m.n_timepoints) for m in stays.data.schema] == [("stay", 35, 48)]
    heart_rate = stays.data.values["stay"][1, stays.feature_names["stay"].index("HR")]
    assert heart_rate[[1, 47]].tolist() == [87, 70]
    assert stays.data.observed["stay"][1].sum() == 5
    assert not {"Weight", "MechVent"} & set(stays.feature_names["stay"])


def test_every_variable_belongs_to_one_organ(home):
    organ = fetch_physionet2012(data_home=home, static=False).feature_names
    names = [name for members in organ.values() for name in members]
    assert len(names) == len(set(names)) == 37


def test_the_cache_gives_the_same(home):
    first, again = (fetch_physionet2012(data_home=home, cache=True) for _ in range(2))
    np.testing.assert_array_equal(first.data.values["general"], again.data.values["general"])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"subset": "d"}, "subset is 'a', 'b' or 'c', got 'd'"),
        ({"grouping": "cell"}, "grouping is 'organ', 'variable' or 'single', got 'cell'"),
        ({"variables": "most"}, "variables is 'all', 'csdi' or a list of names, got 'most'"),
        ({"variables": ["HR", "Pulse"]}, r"variables has \['Pulse'\]; the variables are"),
    ],
)
def test_unknown_options_are_named(home, kwargs, message):
    with pytest.raises(ValueError, match=message):
        fetch_physionet2012(data_home=home, **kwargs)


def test_a_stay_without_outcome_is_named(home):
    (home / "Outcomes-a.txt").write_text(OUTCOMES.replace("132540", "132549"))
    with pytest.raises(ValueError, match="1 stays have no outcome, the first is 132540"):
        fetch_physionet2012(data_home=home)


def test_minus_one_is_unknown(home):
    stays = fetch_physionet2012(data_home=home)
    of_first = stays.data.observed["cardiovascular"][0]
    assert of_first.sum() == 1
    assert of_first[stays.feature_names["cardiovascular"].index("HR"), 0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("01:00,99,5", r"set-a/132541.txt, line 8: '99' is no parameter of the challenge"),
        ("01:00,Pulse,5", r"set-a/132541.txt, line 8: 'Pulse' is no parameter of the challenge"),
        ("01:00,HR,fast", r"line 8: a row such as 00:07,HR,73 is wanted, got '01:00,HR,fast'"),
        ("01:00,HR", r"set-a/132541.txt, line 8: a row such as .* got '01:00,HR'"),
        ("soon,HR,5", r"set-a/132541.txt, line 8: a row such as .* got 'soon,HR,5'"),
        ("nan:00,HR,5", r"set-a/132541.txt, line 8: a row such as .* got 'nan:00,HR,5'"),
    ],
)
def test_a_damaged_row_is_named(home, row, message):
    with zipfile.ZipFile(home / "set-a.zip", "w") as archive:
        archive.writestr("set-a/132539.txt", STAYS[132539])
        archive.writestr("set-a/132541.txt", STAYS[132541] + row + "\n")
    with pytest.raises(ValueError, match=message):
        fetch_physionet2012(data_home=home)


def test_a_row_without_parameter_is_left_out(home):
    with zipfile.ZipFile(home / "set-a.zip", "w") as archive:
        archive.writestr("set-a/132541.txt", STAYS[132541] + "01:00,,5\n01:01,HR,60\n")
    stays = fetch_physionet2012(data_home=home, grouping="single")
    assert stays.data.observed["stay"].sum() == 2  # the weight and the heart rate


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        ("132539,6,1,5,-1,nan", r"outcomes, line 3: In-hospital_death is a number, got nan"),
        ("132539,6,1,,-1,0", r"outcomes, line 3: Length_of_stay is a number, got nan"),
        ("132539,6,1,5,-1", r"outcomes, line 3: 6 numbers are wanted, got 5"),
    ],
)
def test_an_outcome_that_is_no_number_is_named(home, outcome, message):
    (home / "Outcomes-a.txt").write_text(OUTCOMES.replace("132539,6,1,5,-1,0", outcome))
    with pytest.raises(ValueError, match=message):
        fetch_physionet2012(data_home=home)


@pytest.mark.slow
def test_the_real_files(real_data):
    stays = real_data(fetch_physionet2012)
    assert len(stays.data) == 4000
    assert stays.target.sum() == 554
    grid = real_data(fetch_physionet2012, grouping="single", hourly=True, static=False).data
    assert 1 - grid.observed["stay"].mean() == pytest.approx(0.797, abs=0.001)
