import time
import zipfile

import numpy as np
import pytest

from mts_fusion.datasets import fetch_physionet2019

HEADER = (
    "HR|O2Sat|Temp|SBP|MAP|DBP|Resp|EtCO2|BaseExcess|HCO3|FiO2|pH|PaCO2|SaO2|AST|BUN|Alkalinephos|"
    "Calcium|Chloride|Creatinine|Bilirubin_direct|Glucose|Lactate|Magnesium|Phosphate|Potassium|"
    "Bilirubin_total|TroponinI|Hct|Hgb|PTT|WBC|Fibrinogen|Platelets|Age|Gender|Unit1|Unit2|"
    "HospAdmTime|ICULOS|SepsisLabel"
)


def row(hour, label=0, **measured):
    row = {"Age": "83.1", "Gender": "0", "HospAdmTime": "-0.03", "ICULOS": hour}
    row |= {"SepsisLabel": label, **measured}
    return "|".join(str(row.get(name, "NaN")) for name in HEADER.split("|"))


PATIENTS = {
    "p000003": [row(1), row(2, HR=97, Temp=36.5), row(3), row(4, HR=89, Lactate=1.5, pH=7.4)],
    "p000001": [row(5, HR=70, Unit1=1, Unit2=0), row(6, 1, Hct=30), row(7, 1, HR=72)],
    "p100002": [row(1, HR=60)],
}


def write(path, patients=PATIENTS, end="\n"):
    with zipfile.ZipFile(path, "w") as archive:
        for name, rows in patients.items():
            archive.writestr(f"training/{name}.psv", end.join([HEADER, *rows]) + end)
    return path


@pytest.fixture
def home(tmp_path):
    write(tmp_path / "training_setA.zip", {k: v for k, v in PATIENTS.items() if k < "p1"})
    return tmp_path


def test_channels_have_the_names_of_the_variables(home):
    patients = fetch_physionet2019(data_home=home)

    names = {m.name: list(m.channels) for m in patients.data.schema}

    assert names == patients.feature_names
    assert names["vitals"][0] == "HR"


def test_measured_hours_are_timepoints_of_irregular_modalities(home):
    patients = fetch_physionet2019(data_home=home)
    assert patients.groups.tolist() == [1, 3]
    assert patients.target.tolist() == [1, 0]
    np.testing.assert_array_equal(patients.onset, [5 * 3600, np.nan])
    panel = patients.data
    assert [(m.name, m.n_channels, m.irregular) for m in panel.schema] == [
        ("vitals", 8, True),
        ("blood_gas", 6, True),
        ("chemistry", 14, True),
        ("haematology", 6, True),
        ("descriptors", 5, False),
    ]
    np.testing.assert_array_equal(panel.times["vitals"], [[14400, 21600], [3600, 10800]])
    np.testing.assert_array_equal(panel.values["vitals"][:, 0], [[70, 72], [97, 89]])
    np.testing.assert_array_equal(panel.values["vitals"][1, 2], np.float32([36.5, np.nan]))
    assert panel.values["chemistry"][1, patients.feature_names["chemistry"].index("Lactate")] == 1.5
    assert panel.available.tolist() == [[1, 0, 0, 1, 1], [1, 1, 1, 0, 1]]


def test_descriptors_hold_nothing_of_the_label_or_the_hour(home):
    patients = fetch_physionet2019(data_home=home)
    np.testing.assert_array_equal(
        patients.data.values["descriptors"][:, :, 0],
        np.float32([[83.1, 0, 1, 0, -0.03], [83.1, 0, np.nan, np.nan, -0.03]]),
    )
    names = [name for members in patients.feature_names.values() for name in members]
    assert names == HEADER.split("|")[:-2]
    assert "descriptors" not in fetch_physionet2019(data_home=home, static=False).data.schema.names


def test_the_target_is_of_the_whole_record_the_values_of_the_first_hours(home):
    patients = fetch_physionet2019(data_home=home, n_hours=1)
    assert patients.target.tolist() == [1, 0]
    np.testing.assert_array_equal(patients.data.values["vitals"][:, 0], [[70], [np.nan]])
    np.testing.assert_array_equal(
        fetch_physionet2019(data_home=home, n_hours=None).data.values["vitals"][:, 0],
        [[70, 72], [97, 89]],
    )


def test_both_hospitals_where_both_are_there(home):
    write(home / "training_setB.zip", {"p100002": PATIENTS["p100002"]})
    both = fetch_physionet2019(data_home=home)
    assert both.groups.tolist() == [1, 3, 100002]
    assert both.hospital.tolist() == ["A", "A", "B"]
    assert fetch_physionet2019(data_home=home, hospitals="B").groups.tolist() == [100002]
    assert fetch_physionet2019(data_home=home / "training_setB.zip").groups.tolist() == [100002]


def test_a_hospital_that_is_not_there_is_named(home):
    with pytest.raises(FileNotFoundError, match=r"found no 'training_setB.zip'"):
        fetch_physionet2019(data_home=home, hospitals=["A", "B"], download=False)
    with pytest.raises(ValueError, match=r"hold no patient of the hospitals \['B'\]"):
        fetch_physionet2019(data_home=home / "training_setA.zip", hospitals=["B"])


def test_lines_may_end_in_other_ways_and_be_empty(tmp_path):
    write(tmp_path / "training_setA.zip")
    plain = fetch_physionet2019(data_home=tmp_path).data
    write(tmp_path / "training_setA.zip", end="\r\n\r\n")
    again = fetch_physionet2019(data_home=tmp_path).data
    np.testing.assert_array_equal(plain.values["vitals"], again.values["vitals"])


def test_the_cache_gives_the_same(home):
    first, again = (fetch_physionet2019(data_home=home, cache=True) for _ in range(2))
    np.testing.assert_array_equal(first.data.times["vitals"], again.data.times["vitals"])
    assert first.target.tolist() == again.target.tolist()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(1), row(2)[:-4]], r"p000001.psv, line 3: 41 numbers are wanted, got 39"),
        ([row(1), row(2)[:-2], row(3) + "|0"], r"p000001.psv, line 3: 41 numbers .* got 40"),
        ([row(1, HR="98?")], r"p000001.psv, line 2: 41 numbers are wanted, got '98\?'"),
        ([row(1), row(1)], r"p000001.psv, line 3: an hour .*that increases.* got 1 and 0"),
        ([row(1), row(2, 7)], r"p000001.psv, line 3: .*SepsisLabel of 0 or 1 are wanted, got 2 an"),
        ([row(1, "NaN")], r"p000001.psv, line 2: .*SepsisLabel of 0 or 1"),
        ([], r"p000001.psv, line 2: the columns HR\|...\|SepsisLabel and at least one row"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path, rows, message):
    write(tmp_path / "training_setA.zip", {"p000000": PATIENTS["p000001"], "p000001": rows})
    with pytest.raises(ValueError, match=message):
        fetch_physionet2019(data_home=tmp_path)


def test_another_header_is_named(home):
    with zipfile.ZipFile(home / "training_setA.zip", "w") as archive:
        archive.writestr("training/p000009.psv", "HR|Temp\n1|2\n")
    with pytest.raises(ValueError, match=r"training/p000009.psv, line 1: the columns HR"):
        fetch_physionet2019(data_home=home)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"hospitals": ["C"]}, r"hospitals has 'A', 'B' or both, got \['C'\]"),
        ({"hospitals": []}, r"hospitals has 'A', 'B' or both, got \[\]"),
        ({"n_hours": 0}, "n_hours is at least 1, or None for all, got 0"),
    ],
)
def test_unknown_options_are_named(home, kwargs, message):
    with pytest.raises(ValueError, match=message):
        fetch_physionet2019(data_home=home, **kwargs)


@pytest.mark.slow
def test_the_real_files(real_data):
    start = time.perf_counter()
    patients = real_data(fetch_physionet2019, hospitals=["A"])
    assert time.perf_counter() - start < 120
    assert len(patients.data) == 20_336
    assert patients.target.sum() == 1790
    assert patients.data.schema["vitals"].n_timepoints <= 60
    heart_rate = patients.data.values["vitals"][:, 0]
    assert np.nanmedian(heart_rate) == pytest.approx(84, abs=4)
    assert not patients.data.observed["vitals"][:, 7].any()  # hospital A does not give EtCO2
